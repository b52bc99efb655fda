package fuel

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// seeds gives some modules of the suite and all hostile ones to a fuzz target.
func seeds(f *testing.F) {
	dir, err := suite()
	if err != nil {
		f.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "v2", "testdata", "*.wasm"))
	if err != nil || len(files) == 0 {
		f.Fatalf("%d modules: %v", len(files), err)
	}
	for i, file := range files {
		if i%40 != 0 {
			continue
		}
		wasm, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if len(wasm) < 1<<14 {
			f.Add(wasm)
		}
	}
	for _, g := range hostiles() {
		f.Add(g.wasm())
	}
	for _, g := range workloads() {
		f.Add(g.wasm())
	}
}

// small are limits under which nothing takes long to compile.
func small(imports []Import) Limits {
	return Limits{Imports: imports, Bytes: 1 << 16, Pages: 16, Body: 1 << 12, Code: 1 << 14,
		Locals: 128, Nesting: 128, Merges: 1 << 12, AllMerges: 1 << 13, Entries: 1000}
}

// hasCustom reports whether a module has custom sections, which we drop. wazero reads names, and
// refuses an empty section at the end.
func hasCustom(wasm []byte) bool {
	r := &reader{buf: wasm, pos: min(len(wasm), len(header))}
	for r.more() {
		id := r.byte()
		r.part(int(r.u32()))
		if id == secCustom {
			return true
		}
	}
	return false
}

// FuzzRewrite checks that what wazero accepts it accepts after rewriting, that what it refuses it
// does not accept then, that the same bytes come out each time, and that nothing panics.
func FuzzRewrite(f *testing.F) {
	seeds(f)
	ctx := context.Background()
	runtime := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	accepts := func(wasm []byte) error {
		m, err := runtime.CompileModule(ctx, wasm)
		if err == nil {
			err = m.Close(ctx)
		}
		return err
	}
	f.Fuzz(func(t *testing.T, wasm []byte) {
		limits := small(importsOf(wasm))
		out, err := Rewrite(wasm, limits)
		if err != nil {
			for _, kind := range []error{ErrMalformed, ErrUnsupported, ErrLimit, ErrImport, ErrReserved} {
				if errors.Is(err, kind) {
					return
				}
			}
			t.Fatalf("an error of no kind: %v", err)
		}
		again, err := Rewrite(wasm, limits)
		if err != nil || string(again.Wasm) != string(out.Wasm) {
			t.Fatalf("another result: %v", err)
		}
		before, after := accepts(wasm), accepts(out.Wasm)
		if before == nil && after != nil {
			t.Fatalf("was valid: %v", after)
		}
		if before != nil && after == nil && !hasCustom(wasm) {
			t.Fatalf("was invalid: %v", before)
		}
	})
}

// FuzzRun runs everything that a module exports with little fuel, once as it is and once with each
// instruction charged by itself. Every call ends, the same way in both unless one of them ran out,
// and the first has paid at least for what was executed.
func FuzzRun(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, wasm []byte) {
		if len(importsOf(wasm)) > 0 {
			return
		}
		ctx := context.Background()
		var runs [2][]outcomeOf
		for i := range runs {
			out, err := rewriteSmall(wasm, i == 1)
			if err != nil {
				return
			}
			r := wazero.NewRuntime(ctx)
			mod, err := r.Instantiate(ctx, out.Wasm)
			if err == nil {
				runs[i] = runAll(t, mod, out.Stack)
			}
			_ = r.Close(ctx)
		}
		compare(t, runs)
	})
}

// compare looks at a module's calls, rewritten as it is and with each instruction charged by
// itself.
func compare(t *testing.T, runs [2][]outcomeOf) {
	for i := range min(len(runs[0]), len(runs[1])) {
		merged, each := runs[0][i], runs[1][i]
		if merged.used < each.used && !merged.over {
			t.Errorf("%s: paid %d for %d", merged.name, merged.used, each.used)
		}
		if merged.over || each.over {
			return // what they left behind differs from here on
		}
		if merged.result != each.result {
			t.Errorf("%s: %s and %s", merged.name, merged.result, each.result)
		}
	}
}

func rewriteSmall(wasm []byte, each bool) (Module, error) {
	limits, err := small(nil).withDefaults()
	if err != nil {
		return Module{}, err
	}
	m := &module{each: each}
	if err := m.parse(wasm, limits); err != nil {
		return Module{}, err
	}
	return m.rewrite(), nil
}

type outcomeOf struct {
	name, result string
	used         int64
	over         bool
}

// runAll calls what a module exports, in the order of the names, and panics if a call does not end.
func runAll(t *testing.T, mod api.Module, stack int64) (all []outcomeOf) {
	const budget = 20_000
	fuel := mod.ExportedGlobal(FuelGlobal).(api.MutableGlobal)
	slots := mod.ExportedGlobal(StackGlobal).(api.MutableGlobal)
	for _, name := range exportedFunctions(mod) {
		f := mod.ExportedFunction(name)
		args := make([]uint64, 0, 8)
		for _, p := range f.Definition().ParamTypes() {
			if args = append(args, 1); p == typeV128 {
				args = append(args, 1)
			}
		}
		for i, p := range f.Definition().ParamTypes() {
			if p == typeFunc && i < len(args) {
				return all // no function can be made up
			}
		}
		fuel.Set(budget)
		slots.Set(uint64(stack))
		watchdog := time.AfterFunc(20*time.Second, func() { panic("a call of " + name + " does not end") })
		results, err := f.Call(context.Background(), args...)
		for i, typ := range f.Definition().ResultTypes() {
			if typ == typeFunc && i < len(results) {
				results[i] = 0 // where it lies is another matter
			}
		}
		result := outcome(results, err)
		watchdog.Stop()
		left := int64(fuel.Get())
		if left > budget || left < -1<<43 {
			t.Fatalf("%s: %d units remain of %d", name, left, budget)
		}
		all = append(all, outcomeOf{name, result, budget - left, left < 0 || int64(slots.Get()) < 0})
		if len(all) == 20 {
			break
		}
	}
	return all
}

func exportedFunctions(mod api.Module) (names []string) {
	for name := range mod.ExportedFunctionDefinitions() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
