package fuel

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// suite returns the folder of the official test suite, which comes inside wazero's module.
var suite = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		return "", fmt.Errorf("find wazero's module: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "internal/integration_test/spectest"), nil
})

// overflow is the outcome of a call that goes too deep.
const overflow = "stack overflow"

// wideStack is deeper than any call of the suite but those that must overflow.
const wideStack = 1 << 20

// wide are limits that nothing in the suite exceeds.
func wide(imports []Import) Limits {
	const much = 1 << 30
	return Limits{
		Imports: imports, Bytes: much, Pages: maxPages, Stack: wideStack, Types: much, Params: much,
		Functions: much, Globals: much, Tables: much, Entries: 1<<32 - 1, Segments: much, Exports: much,
		Body: much, Code: much, Locals: much, Nesting: much, Targets: much, Merges: 1 << 40, AllMerges: 1 << 40,
	}
}

// importsOf lists what a module imports, so that a test can allow it.
func importsOf(wasm []byte) (imports []Import) {
	if len(wasm) < len(header) {
		return nil
	}
	r := &reader{buf: wasm[len(header):]}
	for r.more() {
		id := r.byte()
		part := r.part(int(r.u32()))
		if id != secImport {
			continue
		}
		for range part.u32() {
			if !part.more() {
				break
			}
			imports = append(imports, Import{part.name(), part.name()})
			switch part.byte() {
			case 0:
				part.u32()
			case 1:
				readLimits(part, part.byte(), 1<<32-1)
			case 2:
				readLimits(part, 0, 1<<32-1)
			case 3:
				part.bytes(2)
			}
		}
	}
	return imports
}

// rewriteWide rewrites a module whatever it imports; each charges each instruction by itself.
func rewriteWide(wasm []byte, each bool) (Module, error) {
	m := &module{each: each}
	limits, err := wide(importsOf(wasm)).withDefaults()
	if err != nil {
		return Module{}, err
	}
	if err := m.parse(wasm, limits); err != nil {
		return Module{}, err
	}
	return m.rewrite(), nil
}

// script is a file of the suite: what to do with its modules, in order.
type script struct {
	Commands []command `json:"commands"`
}

type command struct {
	Type       string `json:"type"`
	Line       int    `json:"line"`
	Name       string `json:"name"`
	Filename   string `json:"filename"`
	As         string `json:"as"`
	ModuleType string `json:"module_type"`
	Action     struct {
		Type   string  `json:"type"`
		Field  string  `json:"field"`
		Module string  `json:"module"`
		Args   []value `json:"args"`
	} `json:"action"`
}

type value struct {
	Type     string          `json:"type"`
	LaneType string          `json:"lane_type"`
	Value    json.RawMessage `json:"value"`
}

// words are the 64-bit words that wazero takes for the value.
func (v value) words() []uint64 {
	var lanes []string
	if v.Type != "v128" {
		var s string
		if err := json.Unmarshal(v.Value, &s); err != nil {
			panic(err)
		}
		return []uint64{number(s, v.Type)}
	}
	if err := json.Unmarshal(v.Value, &lanes); err != nil {
		panic(err)
	}
	words := make([]uint64, 2)
	width := 128 / len(lanes)
	for i, lane := range lanes {
		n := number(lane, v.LaneType)
		words[i*width/64] |= n << (i * width % 64)
	}
	return words
}

func number(s, typ string) uint64 {
	if s == "null" {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		signed, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			panic(err)
		}
		n = uint64(signed)
		if strings.HasSuffix(typ, "32") {
			n = uint64(uint32(n))
		}
	}
	if typ == "externref" {
		n++ // wazero takes 0 for null
	}
	return n
}

// world is one runtime with the modules of a script in it.
type world struct {
	t       *testing.T
	runtime wazero.Runtime
	rewrite func([]byte) (Module, error)
	named   map[string]api.Module
	last    api.Module
	// used is the fuel of the last call.
	used int64
}

const budget = int64(1) << 62

func newWorld(t *testing.T, config wazero.RuntimeConfig, rewrite func([]byte) (Module, error)) *world {
	ctx := context.Background()
	w := &world{t: t, runtime: wazero.NewRuntimeWithConfig(ctx, config), rewrite: rewrite,
		named: map[string]api.Module{}}
	t.Cleanup(func() { _ = w.runtime.Close(ctx) })
	dir, err := suite()
	if err != nil {
		t.Fatal(err)
	}
	wasm, err := os.ReadFile(filepath.Join(dir, "testdata", "spectest.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.runtime.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig()); err != nil {
		t.Fatal(err)
	}
	return w
}

// instantiate returns the instance and what became of it and its start function, in one line.
func (w *world) instantiate(wasm []byte, name string) (api.Module, string) {
	ctx := context.Background()
	if w.rewrite != nil {
		out, err := w.rewrite(wasm)
		if err != nil {
			return nil, "refused: " + err.Error()
		}
		wasm = out.Wasm
	}
	mod, err := w.runtime.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithName(name))
	if err != nil {
		return nil, outcome(nil, err)
	}
	if w.rewrite == nil {
		return mod, outcome(nil, nil)
	}
	refuel(mod)
	if start := mod.ExportedFunction(StartFunction); start != nil {
		if _, err := start.Call(ctx); err != nil {
			_ = mod.Close(ctx)
			return nil, outcome(nil, err)
		}
	}
	return mod, outcome(nil, nil)
}

func refuel(mod api.Module) {
	mod.ExportedGlobal(FuelGlobal).(api.MutableGlobal).Set(uint64(budget))
	mod.ExportedGlobal(StackGlobal).(api.MutableGlobal).Set(wideStack)
}

// outcome is what a guest sees of a call: its results, or the kind of its trap.
func outcome(results []uint64, err error) string {
	if err == nil {
		return fmt.Sprintf("%x", results)
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	line = strings.TrimPrefix(line, "module[] function[] failed: ")
	if i := strings.Index(line, "wasm error:"); i >= 0 {
		line = line[i:]
	}
	return line
}

func (w *world) act(c command) string {
	mod := w.last
	if c.Action.Module != "" {
		mod = w.named[c.Action.Module]
	}
	if mod == nil {
		return "no module"
	}
	if c.Action.Type == "get" {
		return outcome([]uint64{mod.ExportedGlobal(c.Action.Field).Get()}, nil)
	}
	var args []uint64
	for _, a := range c.Action.Args {
		args = append(args, a.words()...)
	}
	if w.rewrite != nil {
		refuel(mod)
	}
	results, err := mod.ExportedFunction(c.Action.Field).Call(context.Background(), args...)
	if w.rewrite != nil {
		w.used = budget - int64(mod.ExportedGlobal(FuelGlobal).Get())
		if err != nil && int64(mod.ExportedGlobal(StackGlobal).Get()) < 0 {
			return overflow
		}
	}
	return outcome(results, err)
}
