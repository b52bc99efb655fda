package fuel

// The sections that hold no code. Each reader checks what the rewriter relies on, and that every
// index is below what the module has, because the rewriter adds to it.

func (m *module) readTypes(r *reader) {
	n := r.count(3, m.limits.Types, "types")
	for range n {
		if b := r.byte(); b != 0x60 {
			r.fail(ErrUnsupported, "a type of form %#x", b)
		}
		params := m.readValueTypes(r, "parameters")
		results := m.readValueTypes(r, "results")
		m.types = append(m.types, funcType{params, results})
	}
}

func (m *module) readValueTypes(r *reader, what string) []byte {
	n := r.count(1, m.limits.Params, what)
	types := make([]byte, n)
	for i := range types {
		types[i] = r.valueType()
	}
	return types
}

func (m *module) readImports(r *reader) {
	n := r.count(4, r.left(), "imports")
	for range n {
		i := Import{Module: r.name(), Name: r.name()}
		if r.err == nil && !m.limits.allows(i) {
			r.fail(ErrImport, "%q of module %q", i.Name, i.Module)
		}
		switch kind := r.byte(); kind {
		case 0:
			m.addFunction(r)
			m.importedFuncs++
		case 1:
			m.addTable(r)
			m.importedTables++
		case 2:
			m.addMemory(r)
		case 3:
			m.addGlobal(r)
			m.importedGlobals++
		default:
			r.fail(ErrUnsupported, "an import of kind %d", kind)
		}
	}
}

func (m *module) readFunctions(r *reader) {
	for range r.count(1, m.limits.Functions, "functions") {
		m.addFunction(r)
	}
}

func (m *module) addFunction(r *reader) {
	if len(m.functions) == m.limits.Functions {
		r.fail(ErrLimit, "more than %d functions", m.limits.Functions)
	}
	m.functions = append(m.functions, r.index(len(m.types), "type"))
}

func (m *module) readTables(r *reader) {
	for range r.count(3, m.limits.Tables, "tables") {
		m.addTable(r)
	}
}

func (m *module) addTable(r *reader) {
	if len(m.tables) == m.limits.Tables {
		r.fail(ErrLimit, "more than %d tables", m.limits.Tables)
	}
	t := readLimits(r, r.refType(), 1<<32-1)
	if int64(t.min) > int64(m.limits.Entries) {
		r.fail(ErrLimit, "a table of %d entries, at most %d", t.min, m.limits.Entries)
	}
	m.tables = append(m.tables, t)
}

// readLimits reads the limits of a table or a memory.
func readLimits(r *reader, ref byte, most uint32) table {
	t := table{ref: ref}
	switch flag := r.byte(); flag {
	case 0:
		t.min = r.u32()
	case 1:
		t.bounded, t.min, t.max = true, r.u32(), r.u32()
	case 2, 3:
		r.fail(ErrUnsupported, "shared memory: there are no threads")
	default:
		r.fail(ErrUnsupported, "limits of form %#x", flag)
	}
	if t.min > most || t.max > most || t.bounded && t.min > t.max {
		r.fail(ErrMalformed, "a size of %d to %d, at most %d", t.min, t.max, most)
	}
	return t
}

// capped returns the limits with a maximum of at most what is given. What nothing exceeds stays
// without one.
func (t table) capped(most, natural int64) table {
	if most < natural && (!t.bounded || int64(t.max) > most) {
		t.max, t.bounded = uint32(most), true
	}
	return t
}

func (m *module) readMemories(r *reader) {
	for range r.count(2, r.left(), "memories") {
		t := m.addMemory(r)
		m.memory = &t
	}
}

func (m *module) addMemory(r *reader) table {
	t := readLimits(r, 0, maxPages)
	if m.memories++; m.memories > 1 {
		r.fail(ErrUnsupported, "more than one memory")
	}
	if int64(t.min) > int64(m.limits.Pages) {
		r.fail(ErrLimit, "a memory of %d pages, at most %d", t.min, m.limits.Pages)
	}
	return t
}

func (m *module) readGlobals(r *reader) {
	for range r.count(4, m.limits.Globals, "globals") {
		from := r.pos
		m.addGlobal(r)
		m.readConstant(r)
		if r.err == nil {
			m.globalInits = append(m.globalInits, r.buf[from:r.pos])
		}
	}
}

func (m *module) addGlobal(r *reader) {
	if len(m.globals) == m.limits.Globals {
		r.fail(ErrLimit, "more than %d globals", m.limits.Globals)
	}
	g := global{typ: r.valueType()}
	switch b := r.byte(); b {
	case 0:
	case 1:
		g.mutable = true
	default:
		r.fail(ErrMalformed, "mutability %#x", b)
	}
	m.globals = append(m.globals, g)
}

// readConstant reads a constant expression: one instruction and its end.
func (m *module) readConstant(r *reader) {
	switch op := r.byte(); op {
	case opI32Const:
		r.signed(32)
	case opI64Const:
		r.signed(64)
	case opF32Const:
		r.bytes(4)
	case opF64Const:
		r.bytes(8)
	case opGlobalGet:
		r.index(len(m.globals), "global")
	case opRefNull:
		r.refType()
	case opRefFunc:
		m.declared[r.index(len(m.functions), "function")] = true
	case opVector:
		if b := r.byte(); b != vecConst {
			r.fail(ErrMalformed, "instruction fd %02x in a constant", b)
		}
		r.bytes(16)
	default:
		r.fail(ErrUnsupported, "instruction %02x in a constant", op)
	}
	if b := r.byte(); r.err == nil && b != opEnd {
		r.fail(ErrUnsupported, "a constant of more than one instruction")
	}
}

func (m *module) readExports(r *reader) {
	for range r.count(3, m.limits.Exports, "exports") {
		from := r.pos
		name := r.name()
		if len(name) >= len(ReservedPrefix) && name[:len(ReservedPrefix)] == ReservedPrefix {
			r.fail(ErrReserved, "export %q", name)
		}
		if m.exported[name] {
			r.fail(ErrMalformed, "%q is exported twice", name)
		}
		m.exported[name] = true
		switch kind := r.byte(); kind {
		case 0:
			m.declared[r.index(len(m.functions), "function")] = true
		case 1:
			r.index(len(m.tables), "table")
		case 2:
			r.index(m.memories, "memory")
		case 3:
			r.index(len(m.globals), "global")
		default:
			r.fail(ErrUnsupported, "an export of kind %d", kind)
		}
		if r.err == nil {
			m.exports = append(m.exports, r.buf[from:r.pos])
		}
	}
}

func (m *module) readElements(r *reader) {
	m.elements = r.count(2, m.limits.Segments, "element segments")
	for range m.elements {
		m.readElement(r)
	}
}

// readElement reads a segment, whose flags say three things: 1 that it is not active, 2 that it is
// declarative or else names a table, 4 that it holds expressions instead of functions.
func (m *module) readElement(r *reader) {
	flags := r.u32()
	if flags > 7 {
		r.fail(ErrMalformed, "an element segment of form %d", flags)
	}
	if active := flags&1 == 0; active {
		if flags&2 != 0 {
			r.index(len(m.tables), "table")
		} else if len(m.tables) == 0 {
			r.fail(ErrMalformed, "table 0 of 0")
		}
		m.readConstant(r)
	}
	expressions := flags&4 != 0
	if flags&3 != 0 {
		if expressions {
			r.refType()
		} else {
			r.zero("the kind of elements")
		}
	}
	for range r.count(1, r.left(), "elements") {
		if expressions {
			m.readConstant(r)
		} else {
			m.declared[r.index(len(m.functions), "function")] = true
		}
	}
}

func (m *module) readDatas(r *reader) {
	m.datas = r.count(2, m.limits.Segments, "data segments")
	for range m.datas {
		flags := r.u32()
		switch flags {
		case 0, 2:
			if flags == 2 {
				r.index(m.memories, "memory")
			} else if m.memories == 0 {
				r.fail(ErrMalformed, "memory 0 of 0")
			}
			m.readConstant(r)
		case 1:
		default:
			r.fail(ErrMalformed, "a data segment of form %d", flags)
		}
		r.bytes(int(r.u32()))
	}
}
