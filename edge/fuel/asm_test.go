package fuel

import (
	bin "encoding/binary"
)

// A tiny assembler: a part of a module is bytes, and cat joins opcodes (int), numbers that were
// encoded before, and parts.

func cat(parts ...any) []byte {
	var out []byte
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			out = append(out, byte(p))
		case byte:
			out = append(out, p)
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

func uleb(n int) []byte    { return bin.AppendUvarint(nil, uint64(n)) }
func i32(n int) []byte     { return appendSigned([]byte{opI32Const}, int64(n)) }
func i64(n int) []byte     { return appendSigned([]byte{opI64Const}, int64(n)) }
func get(local int) []byte { return cat(opLocalGet, uleb(local)) }
func set(local int) []byte { return cat(opLocalSet, uleb(local)) }

func sized(b []byte) []byte      { return cat(uleb(len(b)), b) }
func named(s string) []byte      { return sized([]byte(s)) }
func vec(items ...[]byte) []byte { return cat(uleb(len(items)), join(items)) }

func join(items [][]byte) (out []byte) {
	for _, i := range items {
		out = append(out, i...)
	}
	return out
}

// times repeats a part.
func times(n int, part ...any) []byte {
	one := cat(part...)
	out := make([]byte, 0, n*len(one))
	for range n {
		out = append(out, one...)
	}
	return out
}

func section(id int, items ...[]byte) []byte { return cat(id, sized(vec(items...))) }

// fn is a function: its type, and its locals of i32.
type fn struct {
	params, results string
	locals          int
	code            []byte
}

// guest is a module whose functions are exported as f0, f1 and so on. The first is to be run.
type guest struct {
	imports [][]byte
	fns     []fn
	tables  [][]byte
	// pages is the memory, if it is not 0; mostPages is its maximum, if it is not 0.
	pages, mostPages int
	globals          [][]byte
	exports          [][]byte
	start            int // a function above 0
	elements         [][]byte
	datas            [][]byte
}

func (g guest) wasm() []byte {
	var types, fns, exports, bodies [][]byte
	for i, f := range g.fns {
		types = append(types, cat(0x60, named(f.params), named(f.results)))
		fns = append(fns, uleb(i))
		exports = append(exports, cat(named("f"+string(rune('0'+i))), 0, uleb(i+len(g.imports))))
		locals := vec()
		if f.locals > 0 {
			locals = vec(cat(uleb(f.locals), typeI32))
		}
		bodies = append(bodies, sized(cat(locals, f.code, opEnd)))
	}
	out := cat(header, section(secType, types...), section(secImport, g.imports...),
		section(secFunction, fns...), section(secTable, g.tables...))
	if g.pages > 0 || g.mostPages > 0 {
		memory := cat(0, uleb(g.pages))
		if g.mostPages > 0 {
			memory = cat(1, uleb(g.pages), uleb(g.mostPages))
		}
		out = cat(out, section(secMemory, memory))
	}
	out = cat(out, section(secGlobal, g.globals...), section(secExport, append(exports, g.exports...)...))
	if g.start > 0 {
		out = cat(out, secStart, sized(uleb(g.start)))
	}
	out = cat(out, section(secElement, g.elements...))
	if len(g.datas) > 0 {
		out = cat(out, secDataCount, sized(uleb(len(g.datas))))
	}
	return cat(out, section(secCode, bodies...), section(secData, g.datas...))
}

const (
	i32s = "\x7f"
	i64s = "\x7e"
	f64s = "\x7c"
)

func call(f int) []byte { return cat(opCall, uleb(f)) }
func br(l int) []byte   { return cat(opBr, uleb(l)) }
func brIf(l int) []byte { return cat(opBrIf, uleb(l)) }

// loop runs a part n times, counting in a local; n of 0 is for ever.
func loop(local, n int, part ...any) []byte {
	if n == 0 {
		return cat(opLoop, blockEmpty, cat(part...), br(0), opEnd)
	}
	return cat(i32(n), set(local), opLoop, blockEmpty, cat(part...),
		get(local), i32(1), 0x6b, 0x22, uleb(local), brIf(0), opEnd)
}
