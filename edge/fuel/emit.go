package fuel

import (
	bin "encoding/binary"
	"slices"
	"strconv"
)

// rewrite puts the module together again.
func (m *module) rewrite() Module {
	fuel := len(m.globals)
	out := Module{Start: m.start >= 0, Stack: int64(m.limits.Stack), Sticky: m.sticky}
	code := m.emitCode(fuel)
	exports := m.emitExports(fuel, &out)

	w := append([]byte(nil), header...)
	w = appendSection(w, secType, m.emitTypes())
	w = appendSection(w, secImport, m.raw[secImport])
	w = appendSection(w, secFunction, m.raw[secFunction])
	w = appendSection(w, secTable, m.emitTables())
	w = appendSection(w, secMemory, m.emitMemory())
	w = appendSection(w, secGlobal, m.emitGlobals())
	w = appendSection(w, secExport, exports)
	w = appendSection(w, secElement, m.raw[secElement])
	w = appendSection(w, secDataCount, m.raw[secDataCount])
	w = appendSection(w, secCode, code)
	w = appendSection(w, secData, m.raw[secData])
	out.Wasm = w
	return out
}

func appendSection(out []byte, id byte, content []byte) []byte {
	if len(content) == 0 {
		return out
	}
	out = append(out, id)
	out = bin.AppendUvarint(out, uint64(len(content)))
	return append(out, content...)
}

func appendName(out []byte, name string) []byte {
	out = bin.AppendUvarint(out, uint64(len(name)))
	return append(out, name...)
}

func (m *module) emitTypes() []byte {
	out := bin.AppendUvarint(nil, uint64(len(m.types)))
	for _, t := range m.types {
		out = append(out, 0x60)
		out = appendName(out, string(t.params))
		out = appendName(out, string(t.results))
	}
	return out
}

func (m *module) emitTables() []byte {
	own := m.tables[m.importedTables:]
	if len(own) == 0 {
		return nil
	}
	out := bin.AppendUvarint(nil, uint64(len(own)))
	for _, t := range own {
		out = append(out, t.ref)
		out = t.capped(int64(m.limits.Entries), 1<<32-1).append(out)
	}
	return out
}

func (m *module) emitMemory() []byte {
	if m.memory == nil {
		return nil
	}
	return m.memory.capped(int64(m.limits.Pages), maxPages).append([]byte{1})
}

func (t table) append(out []byte) []byte {
	if !t.bounded {
		return bin.AppendUvarint(append(out, 0), uint64(t.min))
	}
	out = bin.AppendUvarint(append(out, 1), uint64(t.min))
	return bin.AppendUvarint(out, uint64(t.max))
}

// emitGlobals adds those of fuel and stack behind the module's own.
func (m *module) emitGlobals() []byte {
	out := bin.AppendUvarint(nil, uint64(len(m.globalInits)+2))
	for _, g := range m.globalInits {
		out = append(out, g...)
	}
	for _, v := range []int64{0, int64(m.limits.Stack)} {
		out = append(out, typeI64, 1, opI64Const)
		out = append(appendSigned(out, v), opEnd)
	}
	return out
}

func (m *module) emitExports(fuel int, to *Module) []byte {
	type export struct {
		name  string
		kind  byte
		index int
	}
	added := []export{{FuelGlobal, 3, fuel}, {StackGlobal, 3, fuel + 1}}
	if m.start >= 0 {
		added = append(added, export{StartFunction, 0, int(m.start)})
	}
	for i, g := range m.globals[m.importedGlobals:] {
		i += m.importedGlobals
		switch {
		case g.restorable():
			name := GlobalPrefix + strconv.Itoa(i)
			to.Globals = append(to.Globals, name)
			added = append(added, export{name, 3, i})
		case g.mutable:
			to.Sticky = true
		}
	}
	out := bin.AppendUvarint(nil, uint64(len(m.exports)+len(added)))
	for _, e := range m.exports {
		out = append(out, e...)
	}
	for _, e := range added {
		out = append(appendName(out, e.name), e.kind)
		out = bin.AppendUvarint(out, uint64(e.index))
	}
	return out
}

func (m *module) emitCode(fuel int) []byte {
	if len(m.bodies) == 0 {
		return nil
	}
	out := bin.AppendUvarint(nil, uint64(len(m.bodies)))
	for _, b := range m.bodies {
		b.merge()
		w := &writer{fuel: uint64(fuel), body: b, result: m.resultType(b)}
		code := w.write()
		out = bin.AppendUvarint(out, uint64(len(code)))
		out = append(out, code...)
	}
	return out
}

// resultType returns the type of a block that takes nothing and leaves what the function returns,
// encoded. It may add to the types.
func (m *module) resultType(b *body) []byte {
	results := b.typ.results
	switch {
	case !b.counted():
		return nil
	case len(results) == 0:
		return []byte{blockEmpty}
	case len(results) == 1:
		return results
	}
	if m.leaving == nil {
		m.leaving = make(map[string]int64)
		for i, t := range slices.Backward(m.types) {
			if len(t.params) == 0 {
				m.leaving[string(t.results)] = int64(i)
			}
		}
	}
	i, ok := m.leaving[string(results)]
	if !ok {
		i = int64(len(m.types))
		m.types = append(m.types, funcType{results: results})
		m.leaving[string(results)] = i
	}
	return appendSigned(nil, i)
}
