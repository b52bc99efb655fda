package edge

import "encoding/binary"

// A tiny assembler: cat joins opcodes (int), and parts.
func cat(parts ...any) []byte {
	var out []byte
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			out = append(out, byte(p))
		case string:
			out = append(out, p...)
		case []byte:
			out = append(out, p...)
		default:
			panic(p)
		}
	}
	return out
}

func uleb(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

// sleb is what follows i32.const and i64.const.
func sleb(n int64) []byte {
	var out []byte
	for {
		b := byte(n & 0x7f)
		n >>= 7
		if n == 0 && b&0x40 == 0 || n == -1 && b&0x40 != 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}

func i32(n int) []byte   { return cat(0x41, sleb(int64(int32(n)))) }
func i64(n int64) []byte { return cat(0x42, sleb(n)) }

// span is the i64 that points to bytes.
func span(at, length int) []byte { return i64(int64(at)<<32 | int64(length)) }

func sized(b []byte) []byte   { return cat(uleb(len(b)), b) }
func named(s string) []byte   { return sized([]byte(s)) }
func local(n int) []byte      { return cat(0x20, uleb(n)) }
func loop(code ...any) []byte { return cat(0x03, 0x40, cat(code...), 0x0c, 0, 0x0b) }

func section(id int, items ...[]byte) []byte {
	body := uleb(len(items))
	for _, i := range items {
		body = append(body, i...)
	}
	return cat(id, sized(body))
}

// guest is a module that speaks the ABI: its three functions are types 0 to 2, more may follow. Its
// text is at 16, its input buffer at 1024.
type guest struct {
	about       string // the description; without it one that declares nothing
	view        []byte // (i32, i32) -> i64
	alloc       []byte // (i32) -> i32; without it 1024
	start       []byte // () -> (); none without it
	fourth      []byte // (i32) -> i32
	pages       int
	globals     [][]byte
	imports     [][]byte // each with type 3, () -> ()
	noExport    string
	exportExtra [][]byte
	tables      [][]byte
	elements    [][]byte
}

const (
	textAt  = 16
	inputAt = 1024
)

func (g guest) wasm() []byte {
	if g.about == "" {
		g.about = `{"abi":1}`
	}
	if g.alloc == nil {
		g.alloc = i32(inputAt)
	}
	if g.start == nil {
		g.start = cat()
	}
	if g.fourth == nil {
		g.fourth = local(0)
	}
	types := section(1, cat(0x60, 1, 0x7f, 1, 0x7f), cat(0x60, 0, 1, 0x7e), cat(0x60, 2, 0x7f, 0x7f, 1, 0x7e), cat(0x60, 0, 0))
	functions := section(3, cat(0), cat(1), cat(2), cat(3), cat(0))
	n := len(g.imports)
	exports := [][]byte{cat(named("memory"), 2, 0)}
	for i, name := range []string{exportAlloc, exportDescribe, exportView} {
		if name != g.noExport {
			exports = append(exports, cat(named(name), 0, uleb(n+i)))
		}
	}
	body := func(code []byte) []byte { return sized(cat(1, 4, 0x7f, code, 0x0b)) }
	out := cat("\x00asm\x01\x00\x00\x00", types)
	if n > 0 {
		out = cat(out, section(2, g.imports...))
	}
	out = cat(out, functions)
	if g.tables != nil {
		out = cat(out, section(4, g.tables...))
	}
	out = cat(out, section(5, cat(0, uleb(max(g.pages, 1)))))
	if g.globals != nil {
		out = cat(out, section(6, g.globals...))
	}
	out = cat(out, section(7, append(exports, g.exportExtra...)...), cat(8, sized(uleb(n+3))))
	if g.elements != nil {
		out = cat(out, section(9, g.elements...))
	}
	out = cat(out, section(10, body(g.alloc), body(span(textAt, len(g.about))), body(g.view), body(g.start), body(g.fourth)))
	return cat(out, section(11, cat(0, i32(textAt), 0x0b, sized([]byte(g.about)))))
}

// same is a function that shows every profile as it is.
func same() guest { return guest{view: i64(0)} }

// echo returns the profile of its input, as bytes of its own: the input begins with two bytes, and
// ends with 90 90 c0 when nothing is declared.
func echo() guest {
	return guest{view: cat(local(0), i32(2), 0x6a, 0xad, i64(32), 0x86, local(1), i32(5), 0x6b, 0xad, 0x84)}
}
