package fuel

import "fmt"

// Sections of a module, in the order in which they come.
const (
	secCustom    = 0
	secType      = 1
	secImport    = 2
	secFunction  = 3
	secTable     = 4
	secMemory    = 5
	secGlobal    = 6
	secExport    = 7
	secStart     = 8
	secElement   = 9
	secCode      = 10
	secData      = 11
	secDataCount = 12 // between elements and code
)

func sectionName(id byte) string {
	names := [...]string{"custom", "type", "import", "function", "table", "memory", "global",
		"export", "start", "element", "code", "data", "data count"}
	if int(id) < len(names) {
		return names[id]
	}
	return "unknown"
}

// header begins each module: the magic number and version 1.
const header = "\x00asm\x01\x00\x00\x00"

// funcType is the signature of a function, as value types.
type funcType struct {
	params, results []byte
}

type table struct {
	ref      byte
	min, max uint32
	bounded  bool
}

type global struct {
	typ     byte
	mutable bool
}

// module is what the rewriter knows of a module. Lists of functions, tables and globals begin with
// the imported ones, as indexes do.
type module struct {
	limits Limits
	// raw holds the content of sections that are copied as they are.
	raw [secDataCount + 1][]byte

	types           []funcType
	functions       []uint32 // the type of each
	importedFuncs   int
	tables          []table
	importedTables  int
	memories        int
	memory          *table // the limits of the memory if it is the module's own
	globals         []global
	importedGlobals int
	globalInits     [][]byte
	exports         [][]byte
	exported        map[string]bool
	// declared holds the functions that ref.func may name: those that occur outside of code.
	declared map[uint32]bool
	start    int64 // a function, or -1
	elements int
	datas    int
	// dataCount is what the section of that name says, or -1.
	dataCount int64
	bodies    []*body
	merges    int // of all bodies
	// leaving finds the type without parameters that has these results.
	leaving map[string]int64
	// sticky is Module.Sticky.
	sticky bool
	// each has every instruction charged by itself: tests compare.
	each bool
}

func (m *module) parse(wasm []byte, limits Limits) error {
	m.limits, m.start, m.dataCount = limits, -1, -1
	m.exported, m.declared = make(map[string]bool), make(map[uint32]bool)
	if len(wasm) > limits.Bytes {
		return fmt.Errorf("module: %w: %d bytes, at most %d", ErrLimit, len(wasm), limits.Bytes)
	}
	r := &reader{buf: wasm}
	switch head := r.bytes(len(header)); {
	case r.err != nil || string(head[:4]) != header[:4]:
		return fmt.Errorf("module: %w: this is no WebAssembly module", ErrMalformed)
	case string(head) != header:
		return fmt.Errorf("module: %w: version %x, only 01000000 (components are not)",
			ErrUnsupported, head[4:])
	}
	last := 0
	for r.more() {
		id := r.byte()
		part := r.part(int(r.u32()))
		if order := sectionOrder(id); id != secCustom {
			if order <= last {
				part.fail(ErrMalformed, "section %d is out of order or twice there", id)
			}
			last = order
		}
		m.section(id, part)
		if part.err != nil {
			return fmt.Errorf("%s section: %w", sectionName(id), part.err)
		}
	}
	if r.err != nil {
		return fmt.Errorf("module: %w", r.err)
	}
	return m.check()
}

func sectionOrder(id byte) int {
	if id == secDataCount {
		return 2*secElement + 1
	}
	return 2 * int(id)
}

func (m *module) section(id byte, r *reader) {
	switch id {
	case secCustom: // dropped
		r.name()
		return
	case secType:
		m.readTypes(r)
	case secImport:
		m.readImports(r)
	case secFunction:
		m.readFunctions(r)
	case secTable:
		m.readTables(r)
	case secMemory:
		m.readMemories(r)
	case secGlobal:
		m.readGlobals(r)
	case secExport:
		m.readExports(r)
	case secStart:
		m.start = int64(r.index(len(m.functions), "function"))
	case secElement:
		m.readElements(r)
	case secDataCount:
		m.dataCount = int64(r.u32())
	case secCode:
		m.readCode(r)
	case secData:
		m.readDatas(r)
	default:
		r.fail(ErrUnsupported, "section %d", id)
	}
	r.end("the section")
	m.raw[min(id, secDataCount)] = r.buf
}

// check looks at what takes more than one section to see.
func (m *module) check() error {
	if own := len(m.functions) - m.importedFuncs; own != len(m.bodies) {
		return fmt.Errorf("code section: %w: %d bodies for %d functions",
			ErrMalformed, len(m.bodies), own)
	}
	if m.dataCount >= 0 && m.dataCount != int64(m.datas) {
		return fmt.Errorf("data count section: %w: %d of %d segments", ErrMalformed, m.dataCount, m.datas)
	}
	if m.start >= 0 {
		if t := m.typeOf(uint32(m.start)); len(t.params)+len(t.results) != 0 {
			return fmt.Errorf("start section: function %d: %w: it takes or returns something",
				m.start, ErrMalformed)
		}
	}
	return nil
}

func (m *module) typeOf(function uint32) funcType { return m.types[m.functions[function]] }

// restorable reports whether a host can put the global back through an export.
func (g global) restorable() bool {
	switch g.typ {
	case typeI32, typeI64, typeF32, typeF64:
		return g.mutable
	}
	return false
}
