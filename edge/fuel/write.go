package fuel

import bin "encoding/binary"

// writer writes the code of one function anew.
type writer struct {
	*body
	fuel uint64 // the global; that of the stack comes after it
	// result is the type of the block around a function that takes part in the count of the stack,
	// or nil.
	result []byte
	out    []byte
}

// write returns the locals and the code. A function that takes part in the count of the stack is
//
//	take its slots; block  the code, returns as branches out of the block  end; give them back
func (w *writer) write() []byte {
	groups := w.groups
	if w.bulk {
		groups++
	}
	w.out = bin.AppendUvarint(nil, uint64(groups))
	w.out = append(w.out, w.locals...)
	if w.bulk {
		w.out = append(w.out, 1, typeI32)
	}
	w.enter()
	done := 0
	for _, e := range w.edits {
		w.out = append(w.out, w.code[done:e.at]...)
		done = e.at + w.edit(e)
	}
	w.out = append(w.out, w.code[done:]...)
	if w.result != nil {
		w.add(w.fuel+1, int64(w.slots()), opI64Add)
		w.out = append(w.out, opEnd)
	}
	return w.out
}

// edit makes one change, and returns how many bytes of the code it stands for.
func (w *writer) edit(e edit) int {
	switch e.kind {
	case editReturn:
		if w.result != nil {
			w.op(opBr, uint64(e.arg))
			return 1
		}
	case editBulk:
		w.payLength(e.arg)
	case editCharge:
		if n := w.segments[e.arg].charge(); n > 0 && e.arg > 0 {
			w.add(w.fuel, int64(n), opI64Sub)
			w.op(opGlobalGet, w.fuel)
			w.trapBelowZero()
		}
	}
	return 0
}

// enter pays for the first segment and, in the same breath, for the stack.
func (w *writer) enter() {
	w.add(w.fuel, int64(w.segments[0].charge()+entryCost+w.total/localsPerUnit), opI64Sub)
	if w.result == nil {
		w.op(opGlobalGet, w.fuel)
		w.trapBelowZero()
		return
	}
	w.add(w.fuel+1, int64(w.slots()), opI64Sub)
	w.op(opGlobalGet, w.fuel)
	w.op(opGlobalGet, w.fuel+1)
	w.out = append(w.out, opI64Or)
	w.trapBelowZero()
	w.out = append(w.out, opBlock)
	w.out = append(w.out, w.result...)
}

// payLength pays for the length on top of the operands, which 32 bits hold, in 64 bits.
func (w *writer) payLength(op int) {
	length := uint64(w.total)
	w.op(opLocalSet, length)
	w.op(opGlobalGet, w.fuel)
	w.op(opLocalGet, length)
	w.out = append(w.out, opExtendU)
	switch op {
	case opMemoryGrow:
		w.out = append(w.out, opMemorySize, 0, opExtendU, opI64Add)
		w.shift(pageShift, opI64Shl)
	case miscMemoryInit, miscMemoryCopy, miscMemoryFill:
		w.shift(bytesShift, opI64ShrU)
	}
	w.out = append(w.out, opI64Sub)
	w.op(opGlobalSet, w.fuel)
	w.op(opGlobalGet, w.fuel)
	w.trapBelowZero()
	w.op(opLocalGet, length)
}

func (w *writer) shift(by int64, op byte) {
	w.out = append(appendSigned(append(w.out, opI64Const), by), op)
}

// add adds to a global, or takes off it.
func (w *writer) add(global uint64, n int64, op byte) {
	w.op(opGlobalGet, global)
	w.out = append(appendSigned(append(w.out, opI64Const), n), op)
	w.op(opGlobalSet, global)
}

func (w *writer) op(op byte, arg uint64) {
	w.out = bin.AppendUvarint(append(w.out, op), arg)
}

// trapBelowZero ends the run if the number on top is negative. The trap is in the else branch: so
// wazero's compiler leaves the usual way straight, and short loops are up to 1.5 x as fast.
func (w *writer) trapBelowZero() {
	w.out = append(w.out, opI64Const, 0, opI64GeS, opIf, blockEmpty, opElse, opUnreachable, opEnd)
}
