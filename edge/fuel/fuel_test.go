package fuel

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
)

// refusal is a module that is refused, and what the error says.
type refusal struct {
	name   string
	wasm   []byte
	limits Limits
	kind   error
	text   string
}

func (r refusal) check(t *testing.T) {
	t.Helper()
	_, err := Rewrite(r.wasm, r.limits)
	if !errors.Is(err, r.kind) || err != nil && !strings.Contains(err.Error(), r.text) {
		t.Errorf("%s: %v\nwant %v with %q", r.name, err, r.kind, r.text)
	}
}

func one(code ...any) guest { return guest{fns: []fn{{locals: 1, code: cat(code...)}}} }

// TestBeyond refuses what is malformed or of a proposal that there is not.
func TestBeyond(t *testing.T) {
	host := func(kind ...any) guest {
		return guest{fns: []fn{{}}, imports: [][]byte{cat(named("env"), named("clock"), cat(kind...))}}
	}
	env := Limits{Imports: []Import{{"env", "clock"}}}
	for _, r := range []refusal{
		{"nothing", nil, Limits{}, ErrMalformed, "no WebAssembly module"},
		{"text", []byte("(module)"), Limits{}, ErrMalformed, "no WebAssembly module"},
		{"a component", []byte("\x00asm\x0d\x00\x01\x00"), Limits{}, ErrUnsupported, "components are not"},
		{"a section cut short", cat(header, secType, 9, 1), Limits{}, ErrMalformed, "type section: "},
		{"sections out of order", cat(header, secFunction, 1, 0, secType, 1, 0), Limits{}, ErrMalformed, "type section"},
		{"a section of exceptions", cat(header, 13, 1, 0), Limits{}, ErrUnsupported, "section 13"},
		{"a count that is not there", cat(header, secType, 5, 0xff, 0xff, 0xff, 0xff, 0x0f), Limits{}, ErrMalformed, "4294967295 types"},
		{"an import", host(0, 0).wasm(), Limits{}, ErrImport, `import section: offset 0x1b: import refused: "clock" of module "env"`},
		{"shared memory", host(2, 3, 1, 1).wasm(), env, ErrUnsupported, "no threads"},
		{"two memories", cat(header, secMemory, 5, 2, 0, 1, 0, 1), Limits{}, ErrUnsupported, "more than one memory"},
		{"atomics", one(0xfe, 3, 0).wasm(), Limits{}, ErrUnsupported, "function 0: offset 0x2e: unsupported: instruction fe: there are no threads"},
		{"a tail call", one(0x12, 0).wasm(), Limits{}, ErrUnsupported, "no tail calls"},
		{"a throw", one(0x08, 0).wasm(), Limits{}, ErrUnsupported, "no exceptions"},
		{"two memories in code", guest{pages: 1, fns: []fn{{code: cat(0x3f, 1, 0x1a)}}}.wasm(), Limits{}, ErrUnsupported, "memory of an instruction is 0x1"},
		{"another name for fuel", guest{fns: []fn{{}}, exports: [][]byte{cat(named(FuelGlobal), 0, 0)}}.wasm(), Limits{}, ErrReserved, FuelGlobal},
		{"the global of fuel", one(0x23, 0, 0x1a).wasm(), Limits{}, ErrMalformed, "function 0: offset 0x2f: malformed: global 0 of 0"},
		{"writing the global of fuel", one(i64(1<<40), 0x24, 0).wasm(), Limits{}, ErrMalformed, "global 0 of 0"},
		{"the local behind a length", guest{pages: 1, fns: []fn{{locals: 1, code: cat(fill(1), get(1), 0x1a)}}}.wasm(), Limits{}, ErrMalformed, "local 1 of 1"},
		{"a branch out of the function", one(br(1)).wasm(), Limits{}, ErrMalformed, "label 1 of 1"},
		{"too few operands", one(0x6a).wasm(), Limits{}, ErrMalformed, "too few operands"},
		{"an operand too many", one(i32(1)).wasm(), Limits{}, ErrMalformed, "1 operands at the end of a block of 0"},
		{"the start function by reference", guest{start: 1, fns: []fn{{code: cat(opRefFunc, 9, 0x1a)}, {}}}.wasm(), Limits{}, ErrMalformed, "function 9 of 2"},
		{"a start function with a parameter", guest{start: 1, fns: []fn{{}, {params: i32s}}}.wasm(), Limits{}, ErrMalformed, "start section: function 1"},
		{"a setting below 0", nil, Limits{Pages: -1}, nil, ""},
	} {
		if r.kind == nil {
			if _, err := Rewrite(r.wasm, r.limits); err == nil {
				t.Errorf("%s is accepted", r.name)
			}
			continue
		}
		r.check(t)
	}
}

// TestLimits has modules that are one beyond a limit; with the limit one higher they are accepted.
func TestLimits(t *testing.T) {
	empty := fn{}
	for _, c := range []struct {
		name       string
		wasm       []byte
		below, fit Limits
	}{
		{"Bytes", guest{fns: []fn{empty}}.wasm(), Limits{Bytes: 46}, Limits{Bytes: 47}},
		{"Pages", guest{pages: 65}.wasm(), Limits{}, Limits{Pages: 65}},
		{"Types", guest{fns: []fn{empty, empty}}.wasm(), Limits{Types: 1}, Limits{Types: 2}},
		{"Params", guest{fns: []fn{{params: "\x7f\x7f"}}}.wasm(), Limits{Params: 1}, Limits{Params: 2}},
		{"Functions", guest{fns: []fn{empty, empty}}.wasm(), Limits{Functions: 1}, Limits{Functions: 2}},
		{"Globals", guest{globals: [][]byte{cat(typeI32, 0, i32(1), opEnd), cat(typeI32, 0, i32(1), opEnd)}}.wasm(),
			Limits{Globals: 1}, Limits{Globals: 2}},
		{"Tables", guest{tables: [][]byte{cat(typeFunc, 0, 1), cat(typeFunc, 0, 1)}}.wasm(), Limits{Tables: 1}, Limits{Tables: 2}},
		{"Entries", guest{tables: [][]byte{cat(typeFunc, 0, 2)}}.wasm(), Limits{Entries: 1}, Limits{Entries: 2}},
		{"Segments", guest{pages: 1, datas: [][]byte{cat(1, 0), cat(1, 0)}}.wasm(), Limits{Segments: 1}, Limits{Segments: 2}},
		{"Segments of elements", guest{elements: [][]byte{cat(1, 0, 0), cat(1, 0, 0)}}.wasm(), Limits{Segments: 1}, Limits{Segments: 2}},
		{"Exports", guest{fns: []fn{empty, empty}}.wasm(), Limits{Exports: 1}, Limits{Exports: 2}},
		{"Body", one(0x01, 0x01).wasm(), Limits{Body: 5}, Limits{Body: 6}},
		{"Code", one(0x01, 0x01).wasm(), Limits{Code: 6}, Limits{Code: 7}},
		{"Locals", guest{fns: []fn{{params: i32s, locals: 2}}}.wasm(), Limits{Locals: 2}, Limits{Locals: 3}},
		{"Nesting", one(opBlock, blockEmpty, opEnd).wasm(), Limits{Nesting: 1}, Limits{Nesting: 2}},
		{"Targets", one(i32(0), opBrTable, 2, 0, 0, 0).wasm(), Limits{Targets: 1}, Limits{Targets: 2}},
		{"Merges", one().wasm(), Limits{Merges: 8}, Limits{Merges: 9}},
		{"AllMerges", guest{fns: []fn{empty, empty}}.wasm(), Limits{AllMerges: 15}, Limits{AllMerges: 16}},
	} {
		refusal{c.name, c.wasm, c.below, ErrLimit, "over a limit"}.check(t)
		if _, err := Rewrite(c.wasm, c.fit); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestGrowthIsCapped shows that a memory and a table without a maximum, or with a high one, grow to
// the limit and not beyond.
func TestGrowthIsCapped(t *testing.T) {
	for _, most := range []int{0, 60000} {
		g := guest{pages: 1, mostPages: most, tables: [][]byte{cat(typeFunc, 0, 1)}, fns: []fn{
			{params: i32s, results: i32s, code: cat(get(0), opMemoryGrow, 0)},
			{params: i32s, results: i32s, code: cat(opRefNull, typeFunc, get(0), misc(miscTableGrow, 0))},
		}}
		i := instantiate(t, g.wasm(), Limits{Pages: 8, Entries: 100})
		for name, most := range map[string]uint64{"f0": 7, "f1": 99} {
			for _, step := range []struct {
				by   uint64
				want int32
			}{{most + 1, -1}, {most, 1}, {1, -1}, {0, int32(most) + 1}} {
				i.fuel.Set(1 << 40)
				got, err := i.mod.ExportedFunction(name).Call(context.Background(), step.by)
				if err != nil || int32(got[0]) != step.want {
					t.Errorf("%s by %d: %v, %v", name, step.by, got, err)
				}
			}
		}
	}
}

// TestStart has a start function that never ends: the module is instantiated all the same, and the
// function ends once the host has called it with what fuel it gives.
func TestStart(t *testing.T) {
	g := guest{start: 1, fns: []fn{{}, {code: loop(0, 0), locals: 1}}}
	i := instantiate(t, g.wasm(), Limits{})
	if !i.module.Start {
		t.Fatal("no start function")
	}
	if _, err := i.call(units, StartFunction); err == nil || !i.outOfFuel() || i.outOfStack() {
		t.Errorf("%v with fuel %d", err, int64(i.fuel.Get()))
	}
	if _, err := i.call(units, "f0"); err != nil || i.outOfFuel() {
		t.Errorf("afterwards: %v", err)
	}
}

// TestOwnTrap tells a guest's own trap from those for want of fuel or stack.
func TestOwnTrap(t *testing.T) {
	i := instantiate(t, one(opUnreachable).wasm(), Limits{})
	if _, err := i.call(units, "f0"); err == nil || i.outOfFuel() || i.outOfStack() {
		t.Errorf("%v with fuel %d", err, int64(i.fuel.Get()))
	}
}

// TestStackComesBack calls, returns and branches out of functions in every way, many times: the
// stack is whole afterwards.
func TestStackComesBack(t *testing.T) {
	leave := fn{params: i32s, results: i32s + i64s, code: cat(call(2),
		opBlock, blockEmpty, opBlock, blockEmpty, get(0), opBrTable, uleb(1), 0, 1, opEnd,
		i32(1), i64(2), opReturn, opEnd, i32(3), i64(4), br(0))}
	g := guest{fns: []fn{
		{locals: 1, code: cat(loop(0, 1000, i32(0), call(1), 0x1a, 0x1a, i32(1), call(1), 0x1a, 0x1a))},
		leave, {},
	}}
	i := instantiate(t, g.wasm(), Limits{Stack: 100})
	if _, err := i.call(1<<30, "f0"); err != nil || i.stack.Get() != 100 {
		t.Errorf("%v with stack %d of 100", err, int64(i.stack.Get()))
	}
}

// TestStackBoundsMemory lets calls go as deep as the stack allows, with all fuel there is.
func TestStackBoundsMemory(t *testing.T) {
	word := func(i int) []byte { return cat(i32(0), 0x28, 2, uleb(4*i)) }
	pair := func(i int) []byte { return cat(i32(0), opVector, 0, 4, uleb(16*i)) }
	for name, g := range map[string]guest{
		"small frames": {fns: []fn{{code: call(0)}}},
		"2,000 locals": {pages: 1, fns: []fn{{locals: 2000, code: cat(
			each(2000, func(i int) []byte { return cat(word(i), set(i)) }), call(0),
			each(2000, func(i int) []byte { return cat(i32(0), get(i), 0x36, 2, uleb(4*i)) }))}}},
		"many operands": {pages: 1, fns: []fn{{code: cat(i32(0), each(500, word), call(0),
			times(499, 0x6a), 0x36, 2, 0)}}},
		"128 bits": {pages: 1, fns: []fn{{code: cat(i32(0), each(200, pair), call(0),
			times(199, opVector, 81), opVector, 11, 4, 0)}}},
		"many parameters": {fns: []fn{{code: cat(times(100, i64(1)), call(1))},
			{params: strings.Repeat(i64s, 100), code: cat(each(100, get), call(1))}}},
	} {
		i := instantiate(t, g.wasm(), Limits{})
		before := allocated()
		_, err := i.call(1<<40, "f0")
		grown := allocated() - before
		if err == nil || !i.outOfStack() || i.outOfFuel() {
			t.Errorf("%s: stack %d: %v", name, int64(i.stack.Get()), err)
		}
		t.Logf("%s: %d KiB", name, grown>>10)
		if grown > 6<<20 {
			t.Errorf("%s: %d KiB", name, grown>>10)
		}
	}
}

// TestState shows what a host can put back after a call, and what it is told it cannot.
func TestState(t *testing.T) {
	number := cat(typeI32, 1, i32(7), opEnd)
	i := instantiate(t, guest{globals: [][]byte{cat(typeI32, 0, i32(1), opEnd), number},
		fns: []fn{{code: cat(i32(9), opGlobalSet, 1)}}}.wasm(), Limits{})
	if got := i.module.Globals; len(got) != 1 || got[0] != GlobalPrefix+"1" || i.module.Sticky {
		t.Fatalf("globals %v, sticky %v", got, i.module.Sticky)
	}
	if _, err := i.call(units, "f0"); err != nil || i.mod.ExportedGlobal(GlobalPrefix+"1").Get() != 9 {
		t.Errorf("the global is not what was set: %v", err)
	}
	table := [][]byte{cat(typeFunc, 0, 9)}
	for name, g := range map[string]guest{
		"table.set":          {tables: table, fns: []fn{{code: cat(i32(0), opRefNull, typeFunc, opTableSet, 0)}}},
		"table.fill":         {tables: table, fns: []fn{{code: cat(i32(0), opRefNull, typeFunc, i32(1), misc(miscTableFill, 0))}}},
		"data.drop":          {pages: 1, datas: [][]byte{cat(1, 0)}, fns: []fn{{code: misc(miscDataDrop, 0)}}},
		"a global reference": {globals: [][]byte{cat(typeFunc, 1, opRefNull, typeFunc, opEnd)}},
	} {
		if out, err := Rewrite(g.wasm(), Limits{}); err != nil || !out.Sticky || len(out.Globals) > 0 {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
	}
}

// TestRealModules rewrites what real toolchains made, with their imports and the default limits:
// TinyGo, Rust, Zig, C and AssemblyScript, as wazero's examples have them.
func TestRealModules(t *testing.T) {
	dir, err := suite()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, "../../..")
	ctx := context.Background()
	for _, file := range []string{
		"examples/allocation/rust/testdata/greet.wasm", "examples/allocation/tinygo/testdata/greet.wasm",
		"examples/allocation/zig/testdata/greet.wasm", "examples/cli/testdata/cli.wasm",
		"imports/assemblyscript/example/testdata/index.wasm", "imports/emscripten/testdata/grow.wasm",
		"imports/wasi_snapshot_preview1/example/testdata/cargo-wasi/cat.wasm",
		"imports/wasi_snapshot_preview1/example/testdata/zig-cc/cat.wasm",
		"internal/integration_test/bench/testdata/case.wasm",
	} {
		wasm, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		out, err := Rewrite(wasm, Limits{Imports: importsOf(wasm), Pages: 512})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		r := wazero.NewRuntime(ctx)
		if _, err := r.CompileModule(ctx, out.Wasm); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		_ = r.Close(ctx)
		t.Logf("%s: %d bytes, rewritten %d", file, len(wasm), len(out.Wasm))
	}
}
