package fuel

// control decodes the rest of a control instruction, which was paid for.
func (w *walker) control(op byte, at int) {
	switch op {
	case opBlock, opLoop, opIf:
		w.open(op)
	case opElse:
		w.turn()
	case opEnd:
		w.close()
	case opBr:
		w.branch()
		w.segment = -1
	case opBrIf:
		w.operands(1, 0)
		w.branch()
		if w.segment >= 0 {
			w.begin(w.segment)
		}
	case opBrTable:
		for range w.count(1, w.limits.Targets, "labels") + 1 {
			w.branch()
		}
		w.segment = -1
	case opUnreachable:
		w.segment = -1
	case opReturn:
		w.leave(0)
		if w.segment >= 0 {
			w.edits = append(w.edits, edit{at, editReturn, len(w.frames) - 1})
		}
		w.segment = -1
	case opCall, opCallIndirect:
		w.call(op)
	default:
		w.fail(ErrUnsupported, "instruction %02x: %s", op, beyond(op))
	}
}

func (w *walker) open(op byte) {
	f := frame{op: op, typ: w.blockType(), outer: w.segment, dead: w.segment < 0}
	if op == opIf {
		w.operands(1, 0)
	}
	w.operands(len(f.typ.params), len(f.typ.params))
	w.push(f)
	switch {
	case f.dead:
	case op == opLoop:
		w.begin(-1)
		w.pay(1)
	case op == opIf:
		w.begin(w.segment)
	}
}

func (w *walker) blockType() funcType {
	switch v := w.signed(33); {
	case v == blockEmpty-0x80:
		return funcType{}
	case v >= 0 && v < int64(len(w.types)):
		return w.types[v]
	case v >= 0:
		w.fail(ErrMalformed, "type %d of %d", v, len(w.types))
		return funcType{}
	default:
		t := &reader{buf: []byte{byte(v & 0x7f)}}
		result := t.valueType()
		if v < -0x40 || t.err != nil {
			w.fail(ErrUnsupported, "a block of type %d", v)
		}
		return funcType{results: []byte{result}}
	}
}

// turn goes from the first arm of an if to the second.
func (w *walker) turn() {
	f := &w.frames[len(w.frames)-1]
	if f.op != opIf {
		w.fail(ErrMalformed, "an else without if")
	}
	w.whole(*f)
	f.op, f.then = opElse, w.segment >= 0
	w.segment = -1
	if !f.dead {
		w.height = f.base + len(f.typ.params)
		w.begin(f.outer)
	}
}

// close ends a frame, and says which segment the code after it is of.
func (w *walker) close() {
	i := len(w.frames) - 1
	f := w.frames[i]
	w.whole(f)
	w.frames = w.frames[:i]
	live := w.segment >= 0 || f.then || f.target && f.op != opLoop || f.op == opIf
	w.segment = -1
	if i == 0 {
		return
	}
	w.frames[i-1].reach = min(w.frames[i-1].reach, f.reach)
	switch {
	case f.dead || !live:
	case f.reach >= i:
		// No branch leads out of the frame: who was before it comes here, once.
		w.segment = f.outer
		w.height = f.base
		w.operands(0, len(f.typ.results))
	default:
		w.height = f.base
		w.begin(f.outer)
		w.operands(0, len(f.typ.results))
	}
}

// branch reads a label.
func (w *walker) branch() {
	l := w.index(len(w.frames), "label")
	if w.err != nil {
		return
	}
	target := len(w.frames) - 1 - int(l)
	if f := w.frames[target]; f.op == opLoop {
		w.join(branchMerges + len(f.typ.params))
	} else {
		w.join(branchMerges + len(f.typ.results))
	}
	w.leave(target)
}

// leave notes that a branch leads to the end, or as a loop to the start, of a frame.
func (w *walker) leave(target int) {
	if w.segment < 0 {
		return
	}
	w.frames[target].target = true
	inner := &w.frames[len(w.frames)-1]
	inner.reach = min(inner.reach, target)
}

func (w *walker) call(op byte) {
	t := funcType{}
	if op == opCallIndirect {
		i := w.index(len(w.types), "type")
		w.index(len(w.tables), "table")
		w.operands(1, 0)
		w.pay(indirectCost)
		if w.err == nil {
			t = w.types[i]
		}
	} else if f := w.index(len(w.functions), "function"); w.err == nil {
		t = w.typeOf(f)
	}
	if w.segment >= 0 {
		w.calls = true
	}
	w.join(max(0, len(t.params)+len(t.results)-callMerges))
	w.operands(len(t.params), len(t.results))
	w.pay(callCost)
}
