package fuel

// frame is a block, loop, if or else that is open, or the function itself.
type frame struct {
	op     byte // opBlock, opLoop, opIf, opElse
	dead   bool // nothing gets to its start
	outer  int  // the segment before it
	typ    funcType
	base   int // operands below its own
	target bool
	// then reports whether the first arm of an if gets to its end.
	then bool
	// reach is the outermost frame that a branch inside leads to.
	reach int
}

// walker decodes the code of a function. Where nothing gets to, segment is -1, and operands are not
// counted.
type walker struct {
	*reader
	*module
	*body
	frames  []frame
	segment int
	height  int
}

func (w *walker) walk() {
	w.begin(-1)
	w.push(frame{op: opBlock, typ: funcType{results: w.typ.results}, outer: 0})
	for w.more() && len(w.frames) > 0 {
		if w.each && w.segment >= 0 {
			w.begin(-1)
		}
		w.instruction()
	}
	if len(w.frames) > 0 {
		w.fail(ErrMalformed, "the code ends inside a block")
	}
	w.end("the code")
}

// begin begins a segment at the next instruction.
func (w *walker) begin(parent int) {
	w.segment = len(w.segments)
	w.segments = append(w.segments, segment{at: w.pos, parent: parent})
	w.edits = append(w.edits, edit{w.pos, editCharge, w.segment})
}

func (w *walker) pay(cost int) {
	if w.segment >= 0 {
		w.segments[w.segment].cost += cost
	}
}

// operands takes operands off and puts others on. The engine checks their types; how many there are
// is checked here, so that no wrong count makes a frame look small.
func (w *walker) operands(pops, pushes int) {
	if w.segment < 0 || w.err != nil {
		return
	}
	if w.height-pops < w.frames[len(w.frames)-1].base {
		w.fail(ErrMalformed, "too few operands")
	}
	w.height += pushes - pops
	w.most = max(w.most, w.height)
}

// whole checks that a block that is left at its end leaves its results and nothing else.
func (w *walker) whole(f frame) {
	if w.segment >= 0 && w.height != f.base+len(f.typ.results) {
		w.fail(ErrMalformed, "%d operands at the end of a block of %d results",
			w.height-f.base, len(f.typ.results))
	}
}

func (w *walker) push(f frame) {
	if len(w.frames) == w.limits.Nesting {
		w.fail(ErrLimit, "more than %d blocks inside one another", w.limits.Nesting)
	}
	f.reach = len(w.frames)
	f.base = w.height - len(f.typ.params)
	w.frames = append(w.frames, f)
	weight := labelMerges
	if f.op == opLoop {
		weight = loopMerges
	}
	w.join(weight + w.total + len(f.typ.params) + len(f.typ.results))
}

// What a label and a branch cost to compile even if no values come together, and how many values a
// call passes free of that.
const (
	callMerges   = 16
	labelMerges  = 8
	loopMerges   = 64
	branchMerges = 4
)

// join counts values that come together at a label.
func (w *walker) join(values int) {
	if w.body.merges += values; w.body.merges > w.limits.Merges {
		w.fail(ErrLimit, "more than %d values at the labels of a function", w.limits.Merges)
	}
}

func (w *walker) instruction() {
	at := w.pos
	op := w.byte()
	s := plain[op]
	switch {
	case op == opMisc:
		w.misc(at)
	case op == opVector:
		w.vector()
	case s.immediate == immControl: // opMisc and opVector are above
		w.pay(controlCost(op))
		w.control(op, at)
	default:
		if op == opMemoryGrow {
			w.charge(at, opMemoryGrow)
		}
		if op == opTableSet {
			w.sticky = true
		}
		w.immediate(s.immediate, op)
		w.operands(s.pops, s.pushes)
		w.pay(plainCost(op))
	}
}

// charge has a bulk operation paid for.
func (w *walker) charge(at, op int) {
	if w.segment >= 0 {
		w.bulk = true
		w.edits = append(w.edits, edit{at, editBulk, op})
	}
}

func (w *walker) immediate(kind immediate, op byte) {
	switch kind {
	case immNone:
	case immLocal:
		w.index(w.total, "local")
	case immGlobal:
		w.index(len(w.globals), "global")
	case immTable:
		w.index(len(w.tables), "table")
	case immMemory, immMemLane:
		w.memArg()
		if kind == immMemLane {
			w.byte()
		}
	case immPage:
		w.zero("the memory of an instruction")
	case immI32:
		w.signed(32)
	case immI64:
		w.signed(64)
	case imm4:
		w.bytes(4)
	case imm8:
		w.bytes(8)
	case imm16:
		w.bytes(16)
	case immRef:
		w.refType()
	case immFunc:
		w.refFunc()
	case immTypes:
		if n := w.byte(); n != 1 {
			w.fail(ErrUnsupported, "select with %d types", n)
		}
		w.valueType()
	case immLane:
		w.byte()
	default:
		w.fail(ErrUnsupported, "instruction %02x: %s", op, beyond(op))
	}
}

// beyond names the proposal that an opcode is of.
func beyond(op byte) string {
	switch {
	case op == 0xfe:
		return "there are no threads"
	case op == 0x12 || op == 0x13:
		return "there are no tail calls"
	case op >= 0x06 && op <= 0x0a || op == 0x18 || op == 0x19 || op == 0x1f:
		return "there are no exceptions"
	default:
		return "it is not of core WebAssembly 2.0"
	}
}

func (w *walker) memArg() {
	if align := w.u32(); align >= 32 {
		w.fail(ErrUnsupported, "alignment 2^%d: there is one memory", align)
	}
	w.u32()
}

// refFunc checks the function itself: once the start function is exported, an engine would let any
// code refer to it.
func (w *walker) refFunc() {
	if f := w.index(len(w.functions), "function"); w.err == nil && !w.declared[f] {
		w.fail(ErrMalformed, "ref.func of function %d, which is declared nowhere", f)
	}
}

// vector decodes what follows opVector. Opcodes from 128 take two bytes, the second of which is 1:
// wazero reads the first alone, and takes the second for a nop.
func (w *walker) vector() {
	op := w.byte()
	if op >= 0x80 {
		if b := w.byte(); b != 1 {
			w.fail(ErrUnsupported, "instruction fd %02x %02x", op, b)
		}
	}
	s := vector[op]
	if s.immediate == immRefused {
		w.fail(ErrUnsupported, "instruction fd %02x: it is not of core WebAssembly 2.0", op)
		return
	}
	w.immediate(s.immediate, op)
	w.operands(s.pops, s.pushes)
	w.pay(vectorCostOf(op))
}

// misc decodes what follows opMisc: conversions, and bulk operations.
func (w *walker) misc(at int) {
	op := w.u32()
	s := shape{pops: 3}
	switch op {
	case 0, 1, 2, 3, 4, 5, 6, 7:
		s = unary
	case miscMemoryInit:
		w.dataIndex()
		w.zero("the memory of an instruction")
	case miscDataDrop:
		w.dataIndex()
		s = nullary
	case miscMemoryCopy:
		w.zero("the memory of an instruction")
		w.zero("the memory of an instruction")
	case miscMemoryFill:
		w.zero("the memory of an instruction")
	case miscTableInit:
		w.index(w.elements, "element segment")
		w.index(len(w.tables), "table")
	case miscElemDrop:
		w.index(w.elements, "element segment")
		s = nullary
	case miscTableCopy:
		w.index(len(w.tables), "table")
		w.index(len(w.tables), "table")
	case miscTableGrow:
		w.index(len(w.tables), "table")
		s = binary
	case miscTableSize:
		w.index(len(w.tables), "table")
		s = shape{pushes: 1}
	case miscTableFill:
		w.index(len(w.tables), "table")
	default:
		w.fail(ErrUnsupported, "instruction fc %d: it is not of core WebAssembly 2.0", op)
	}
	if bulk(int(op)) {
		w.charge(at, int(op))
	}
	w.sticky = w.sticky || sticky(op)
	w.operands(s.pops, s.pushes)
	w.pay(miscCost(op))
}

// dataIndex refers to a section that comes later, so there must be one that counts its segments.
func (w *walker) dataIndex() {
	w.index(int(w.dataCount), "data segment")
}

// sticky reports whether an instruction after opMisc changes what a host cannot put back.
func sticky(op uint32) bool {
	switch op {
	case miscDataDrop, miscTableInit, miscElemDrop, miscTableCopy, miscTableGrow, miscTableFill:
		return true
	}
	return false
}
