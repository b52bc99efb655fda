package fuel

import "fmt"

// body is the code of one function, and what a walk over it found.
type body struct {
	typ    funcType
	groups int    // of locals
	locals []byte // the groups, as they are encoded
	total  int    // of parameters and locals
	wide   int    // of those, the ones of 128 bits
	code   []byte

	segments []segment
	edits    []edit
	merges   int // see Limits.Merges
	most     int // operands at once
	calls    bool
	bulk     bool
}

// edit changes the code at one place. Edits are in the order of the code.
type edit struct {
	at   int
	kind editKind
	// arg is a segment, the number of blocks around a return, or the opcode of a bulk operation.
	arg int
}

type editKind uint8

const (
	editCharge editKind = iota // before at: pay for a segment
	editReturn                 // at: a return becomes a branch to the end of the function
	editBulk                   // before at: pay for the length on top of the operands
)

func (m *module) readCode(r *reader) {
	n := r.count(2, m.limits.Functions, "bodies")
	if r.left() > m.limits.Code {
		r.fail(ErrLimit, "%d bytes of code, at most %d", r.left(), m.limits.Code)
	}
	for i := range n {
		index := m.importedFuncs + i
		if index >= len(m.functions) {
			r.fail(ErrMalformed, "more bodies than functions")
		}
		size := int(r.u32())
		if size > m.limits.Body {
			r.fail(ErrLimit, "function %d: %d bytes, at most %d", index, size, m.limits.Body)
		}
		part := r.part(size)
		if r.err != nil {
			return
		}
		m.bodies = append(m.bodies, m.readBody(part, m.typeOf(uint32(index))))
		if part.err != nil {
			r.err = fmt.Errorf("function %d: %w", index, part.err)
			return
		}
	}
}

func (m *module) readBody(r *reader, typ funcType) *body {
	b := &body{typ: typ, total: len(typ.params)}
	for _, t := range typ.params {
		b.widen(t, 1)
	}
	b.groups = r.count(2, r.left(), "groups of locals")
	from := r.pos
	for range b.groups {
		n := int(r.u32())
		if n < 0 || n > m.limits.Locals-b.total {
			r.fail(ErrLimit, "more than %d parameters and locals", m.limits.Locals)
			return b
		}
		b.total += n
		b.widen(r.valueType(), n)
	}
	b.locals = r.buf[from:r.pos]
	b.code = r.buf[r.pos:]
	w := &walker{module: m, body: b, reader: &reader{buf: b.code, base: r.base + r.pos, err: r.err}}
	w.walk()
	if m.merges += b.merges; m.merges > m.limits.AllMerges {
		w.fail(ErrLimit, "more than %d values at the labels of all functions", m.limits.AllMerges)
	}
	r.err = w.err
	return b
}

func (b *body) widen(t byte, n int) {
	if t == typeV128 {
		b.wide += n
	}
}

// leafSlots is the frame up to which a function that calls nothing takes no part in the count of
// the stack: there is at most one such frame at a time.
const leafSlots = 64

// slots is what a call of the function takes of the stack.
func (b *body) slots() int { return b.total + b.wide + b.most + FrameSlots }

// counted reports whether the function takes part in the count of the stack.
func (b *body) counted() bool { return b.calls || b.slots() > leafSlots }
