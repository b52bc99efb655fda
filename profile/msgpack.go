package profile

import (
	"encoding/binary"
	"fmt"
	"slices"
	"unsafe"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// The msgpack layout is an array, so that it carries no field names:
//
//	[1, id, nom, prenom, fullName, avatar, matricule, ministere, sexe, updatedAt, {attribute: value, …}]
//
// The first element is the layout's version. A reader refuses versions and lengths that it does not
// know: for a cache that is a miss, and the next fill writes what it knows.
const (
	layoutVersion = 1
	layoutLen     = 11
	// maxAttrs bounds the map that is allocated before its entries are read.
	maxAttrs = 1024
)

// AppendMsgpack appends the msgpack encoding of p to dst: see the layout in the package's
// documentation of encodings. A profile that passed Check encodes to at most MaxSize bytes.
func AppendMsgpack(dst []byte, p *Profile) []byte {
	dst = slices.Grow(dst, p.msgpackSize())
	dst = append(dst, msgpcode.FixedArrayLow|layoutLen, layoutVersion)
	for _, s := range p.texts() {
		dst = appendStr(dst, *s)
	}
	dst = appendUint(dst, uint64(p.UpdatedAt))
	return appendAttrs(dst, p.Attrs)
}

// Pack returns the msgpack encoding of p and makes p's strings point into it, so that p keeps
// nothing else alive. Neither may change afterwards. p must have passed Check.
func Pack(p *Profile) []byte {
	b := AppendMsgpack(nil, p)
	if len(p.Attrs) > 0 { // their keys have moved as well: a new map
		if err := DecodeMsgpackInto(p, b); err != nil {
			panic("profile: a checked profile does not decode: " + err.Error())
		}
		return b
	}
	rest := b[2:]
	for _, s := range p.texts() {
		n := len(*s)
		rest = rest[strSize(*s)-n:]
		*s = unsafe.String(unsafe.SliceData(rest), n)
		rest = rest[n:]
	}
	return b
}

// msgpackSize returns at least the number of bytes that AppendMsgpack appends, at most 12 too many.
func (p *Profile) msgpackSize() int {
	n := 2 + 9 + 5
	for _, s := range p.texts() {
		n += strSize(*s)
	}
	for k, v := range p.Attrs {
		n += strSize(k) + strSize(v)
	}
	return n
}

// strSize returns the number of bytes that appendStr appends.
func strSize(s string) int {
	switch n := len(s); {
	case n < 32:
		return n + 1
	case n < 1<<8:
		return n + 2
	case n < 1<<16:
		return n + 3
	default:
		return n + 5
	}
}

func appendStr(dst []byte, s string) []byte {
	switch n := len(s); {
	case n < 32:
		dst = append(dst, msgpcode.FixedStrLow|byte(n))
	case n < 1<<8:
		dst = append(dst, msgpcode.Str8, byte(n))
	case n < 1<<16:
		dst = append(dst, msgpcode.Str16, byte(n>>8), byte(n))
	default:
		dst = append(dst, msgpcode.Str32, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(dst, s...)
}

func appendUint(dst []byte, v uint64) []byte {
	if v <= uint64(msgpcode.PosFixedNumHigh) {
		return append(dst, byte(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, msgpcode.Uint64), v)
}

// appendAttrs writes the keys in sorted order, so that equal profiles have equal bytes.
func appendAttrs(dst []byte, attrs map[string]string) []byte {
	if n := len(attrs); n < 16 {
		dst = append(dst, msgpcode.FixedMapLow|byte(n))
	} else {
		dst = append(dst, msgpcode.Map16, byte(n>>8), byte(n))
	}
	if len(attrs) == 0 {
		return dst
	}
	keys := make([]string, 0, len(attrs))
	for k := range attrs {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		dst = appendStr(appendStr(dst, k), attrs[k])
	}
	return dst
}

// DecodeMsgpack decodes what AppendMsgpack wrote. The profile's strings point into b, which must
// not change afterwards. Errors wrap ErrMalformed or ErrTooLarge; whatever b holds, no more is
// allocated than the profile and its attributes.
func DecodeMsgpack(b []byte) (*Profile, error) {
	p := new(Profile)
	if err := DecodeMsgpackInto(p, b); err != nil {
		return nil, err
	}
	return p, nil
}

// DecodeMsgpackInto is DecodeMsgpack into memory of the caller's. It overwrites the whole of p, or
// on an error nothing.
func DecodeMsgpackInto(p *Profile, b []byte) error {
	r := reader{rest: b}
	r.header(layoutLen)
	var q Profile
	for _, s := range q.texts() {
		*s = r.str()
	}
	q.UpdatedAt = r.version()
	q.Attrs = r.attrs()
	if err := r.end(len(b)); err != nil {
		return err
	}
	if err := CheckID(q.ID); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	*p = q
	return nil
}

// reader takes msgpack values off the front of rest. The first fault sticks in why, and everything
// after reads as zero, so that callers check once, in end. It never recurses: no value of the
// layouts nests deeper than the attributes' map.
type reader struct {
	rest []byte
	why  string
}

func (r *reader) fail(why string) {
	if r.why == "" {
		r.why = why
	}
	r.rest = nil
}

// end returns the first fault, or one for bytes left over.
func (r *reader) end(total int) error {
	switch {
	case total > MaxSize:
		return fmt.Errorf("%w: %d bytes of msgpack; at most %d", ErrTooLarge, total, MaxSize)
	case r.why != "":
		return fmt.Errorf("%w: msgpack of %d bytes: %s", ErrMalformed, total, r.why)
	case len(r.rest) > 0:
		return fmt.Errorf("%w: msgpack of %d bytes: %d bytes after the end", ErrMalformed, total, len(r.rest))
	}
	return nil
}

func (r *reader) header(length int) {
	if len(r.rest) > MaxSize {
		r.fail("too large")
		return
	}
	if n := r.array(); n != length {
		r.fail("not an array of the known length")
	}
	if v := r.uint(); v != layoutVersion {
		r.fail("unknown layout version")
	}
}

func (r *reader) array() int {
	return r.length(msgpcode.FixedArrayLow, msgpcode.Array16, msgpcode.Array32)
}

// take returns the next n bytes.
func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.fail("ends too early")
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.fail("ends too early")
		return 0
	}
	c := r.rest[0]
	r.rest = r.rest[1:]
	return c
}

// big reads an unsigned big-endian integer of n bytes.
func (r *reader) big(n int) (v uint64) {
	for _, c := range r.take(n) {
		v = v<<8 | uint64(c)
	}
	return v
}

// length reads the header of an array or map: fix is the code of the short form, whose low 4 bits
// are the length.
func (r *reader) length(fix, code16, code32 byte) int {
	switch c := r.byte(); {
	case c&0xf0 == fix:
		return int(c & 0x0f)
	case c == code16:
		return int(r.big(2))
	case c == code32:
		return int(r.big(4))
	}
	r.fail("not an array or map where one belongs")
	return 0
}

func (r *reader) str() string {
	b := r.take(r.strLen())
	return unsafe.String(unsafe.SliceData(b), len(b))
}

func (r *reader) strLen() int {
	switch c := r.byte(); {
	case msgpcode.IsFixedString(c):
		return int(c & msgpcode.FixedStrMask)
	case c == msgpcode.Str8, c == msgpcode.Bin8:
		return int(r.big(1))
	case c == msgpcode.Str16, c == msgpcode.Bin16:
		return int(r.big(2))
	case c == msgpcode.Str32, c == msgpcode.Bin32:
		return int(r.big(4))
	case c == msgpcode.Nil:
		return 0
	}
	r.fail("not a string where one belongs")
	return 0
}

func (r *reader) uint() uint64 {
	switch c := r.byte(); {
	case c <= msgpcode.PosFixedNumHigh:
		return uint64(c)
	case c >= msgpcode.Uint8 && c <= msgpcode.Uint64:
		return r.big(1 << (c - msgpcode.Uint8))
	case c >= msgpcode.Int8 && c <= msgpcode.Int64:
		n := 1 << (c - msgpcode.Int8)
		if v := r.big(n); v>>(8*n-1) == 0 {
			return v
		}
	}
	r.fail("not an unsigned integer where one belongs")
	return 0
}

func (r *reader) version() int64 {
	v := r.uint()
	if v > MaxVersion {
		r.fail("updatedAt is above 2^53-1")
		return 0
	}
	return int64(v)
}

func (r *reader) attrs() map[string]string {
	n := r.length(msgpcode.FixedMapLow, msgpcode.Map16, msgpcode.Map32)
	if n > len(r.rest)/2 || n > maxAttrs {
		r.fail("more attributes than bytes, or than 1024")
		return nil
	}
	if n == 0 {
		return nil
	}
	attrs := make(map[string]string, n)
	for range n {
		k := r.str()
		attrs[k] = r.str()
	}
	if len(attrs) != n && r.why == "" {
		r.fail("an attribute twice")
	}
	return attrs
}
