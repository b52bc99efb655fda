package fuel

import (
	"fmt"
	"unicode/utf8"
)

// reader reads one part of a module. The first failure stays: what is read after it is zero, and a
// loop over a count ends because the count was checked against the bytes that remain.
type reader struct {
	buf []byte
	pos int
	// base is where buf begins in the module, for messages.
	base int
	err  error
}

func (r *reader) fail(kind error, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("offset %#x: %w: %s", r.base+r.pos, kind, fmt.Sprintf(format, args...))
	}
}

func (r *reader) left() int { return len(r.buf) - r.pos }

// more reports whether there is something to read and nothing failed so far.
func (r *reader) more() bool { return r.err == nil && r.left() > 0 }

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

// bytes returns the next n bytes of the module itself, or nil if there are not as many.
func (r *reader) bytes(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > r.left() {
		r.fail(ErrMalformed, "%d bytes are announced, %d remain", n, r.left())
		return nil
	}
	r.pos += n
	return r.buf[r.pos-n : r.pos : r.pos]
}

// part returns a reader over the next n bytes.
func (r *reader) part(n int) *reader {
	p := &reader{base: r.base + r.pos}
	p.buf = r.bytes(n)
	p.err = r.err
	return p
}

// end fails if something remains.
func (r *reader) end(what string) {
	if r.err == nil && r.left() > 0 {
		r.fail(ErrMalformed, "%d bytes too many in %s", r.left(), what)
	}
}

// u32 reads an unsigned LEB128 number of at most 32 bits and five bytes.
func (r *reader) u32() uint32 {
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if v>>32 != 0 {
				break
			}
			return uint32(v)
		}
	}
	r.fail(ErrMalformed, "a number over 32 bits")
	return 0
}

// signed reads a signed LEB128 number of at most the given bits. Bits of the last byte beyond them
// must repeat the sign.
func (r *reader) signed(bits int) int64 {
	var v int64
	for shift := 0; shift < bits; shift += 7 {
		b := r.byte()
		v |= int64(b&0x7f) << shift
		if b >= 0x80 {
			continue
		}
		if used := bits - shift; used < 7 {
			if rest := int8(b<<1) >> used; rest != 0 && rest != -1 {
				break
			}
		}
		if shift+7 < 64 && b&0x40 != 0 {
			v |= -1 << (shift + 7)
		}
		return v
	}
	r.fail(ErrMalformed, "a number over %d bits", bits)
	return 0
}

// count reads the length of a vector whose items have at least size bytes each, and checks it
// against a limit.
func (r *reader) count(size, limit int, what string) int {
	n := int(r.u32())
	if n < 0 || n > r.left()/size {
		r.fail(ErrMalformed, "%d %s are announced in %d bytes", n, what, r.left())
		return 0
	}
	if n > limit {
		r.fail(ErrLimit, "%d %s, at most %d", n, what, limit)
		return 0
	}
	return n
}

// index reads an index into a list of n things.
func (r *reader) index(n int, what string) uint32 {
	i := r.u32()
	if int64(i) >= int64(n) {
		r.fail(ErrMalformed, "%s %d of %d", what, i, n)
		return 0
	}
	return i
}

func (r *reader) name() string {
	b := r.bytes(int(r.u32()))
	if !utf8.Valid(b) {
		r.fail(ErrMalformed, "a name that is no UTF-8")
		return ""
	}
	return string(b)
}

// zero reads a byte that names the only memory, or a flag that has no other value.
func (r *reader) zero(what string) {
	if b := r.byte(); b != 0 {
		r.fail(ErrUnsupported, "%s is %#x, not 0", what, b)
	}
}

// Value types of core WebAssembly 2.0.
const (
	typeI32    = 0x7f
	typeI64    = 0x7e
	typeF32    = 0x7d
	typeF64    = 0x7c
	typeV128   = 0x7b
	typeFunc   = 0x70
	typeExtern = 0x6f
)

func (r *reader) valueType() byte {
	b := r.byte()
	switch b {
	case typeI32, typeI64, typeF32, typeF64, typeV128, typeFunc, typeExtern:
		return b
	}
	r.fail(ErrUnsupported, "value type %#x", b)
	return typeI32
}

func (r *reader) refType() byte {
	b := r.byte()
	if b != typeFunc && b != typeExtern {
		r.fail(ErrUnsupported, "reference type %#x", b)
	}
	return b
}

// appendSigned appends a signed LEB128 number, in as few bytes as it takes.
func appendSigned(out []byte, v int64) []byte {
	for {
		b := byte(v & 0x7f)
		v >>= 7
		if v == 0 && b&0x40 == 0 || v == -1 && b&0x40 != 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}
