package fuel

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
)

// tally counts what the suite showed.
type tally struct{ modules, refused, actions, invalid int }

// TestSpec runs the official test suite of WebAssembly three times side by side: each module as it
// is, rewritten, and with each instruction charged by itself. All must do the same at each
// step, and the rewritten one must have paid at least for each instruction.
func TestSpec(t *testing.T) {
	dir, err := suite()
	if err != nil {
		t.Fatal(err)
	}
	var sum tally
	for _, v := range []struct {
		folder string
		config wazero.RuntimeConfig
		each   []bool // the rewritten forms beside the plain one
	}{
		{"v1", wazero.NewRuntimeConfigInterpreter(), []bool{false}},
		{"v2", wazero.NewRuntimeConfig(), []bool{false, true}},
	} {
		files, err := filepath.Glob(filepath.Join(dir, v.folder, "testdata", "*.json"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%d scripts in %s: %v", len(files), v.folder, err)
		}
		for _, file := range files {
			name := strings.TrimSuffix(filepath.Base(file), ".json")
			t.Run(v.folder+"/"+name, func(t *testing.T) {
				run := &scriptRun{dir: filepath.Dir(file), sum: &sum, worlds: []*world{newWorld(t, v.config, nil)}}
				for _, each := range v.each {
					if each && straight(name) {
						continue
					}
					rewrite := func(b []byte) (Module, error) { return rewriteWide(b, each) }
					run.worlds = append(run.worlds, newWorld(t, v.config, rewrite))
				}
				run.script(t, file)
			})
		}
	}
	t.Logf("%d modules rewritten, %d actions the same, %d invalid modules stay invalid (%d of them refused here)",
		sum.modules, sum.actions, sum.invalid, sum.refused)
}

// straight reports whether a script has many or long functions in which nothing branches, so that
// charging each instruction shows nothing and takes long to compile.
func straight(script string) bool {
	return strings.HasPrefix(script, "simd_") || script == "skip-stack-guard-page"
}

type scriptRun struct {
	t      *testing.T
	dir    string
	worlds []*world
	sum    *tally
}

// script runs a file of the suite.
func (r *scriptRun) script(t *testing.T, file string) {
	r.t = t
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var s script
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	for i, c := range s.Commands {
		as := ""
		if i+1 < len(s.Commands) && s.Commands[i+1].Type == "register" {
			as = s.Commands[i+1].As
		}
		r.step(c, as)
	}
}

func (r *scriptRun) step(c command, as string) {
	switch c.Type {
	case "register":
	case "module":
		r.sum.modules++
		wasm := r.read(c)
		r.same(c, func(w *world) string {
			mod, result := w.instantiate(wasm, as)
			if w.last = mod; c.Name != "" {
				w.named[c.Name] = mod
			}
			return result
		})
	case "assert_exhaustion":
		r.sum.actions++
		for _, w := range r.worlds[1:] { // the plain one would take 400 MB to get there
			if got := w.act(c); !strings.HasSuffix(got, overflow) {
				r.t.Errorf("line %d: %s: %s", c.Line, c.Action.Field, got)
			}
		}
	case "assert_return", "action", "assert_trap":
		r.sum.actions++
		r.same(c, func(w *world) string { return w.act(c) })
		if merged, last := r.worlds[1].used, r.worlds[len(r.worlds)-1].used; merged < last {
			r.t.Errorf("line %d: %s paid %d for %d", c.Line, c.Action.Field, merged, last)
		}
	case "assert_uninstantiable", "assert_unlinkable":
		r.sum.modules++
		wasm := r.read(c)
		r.same(c, func(w *world) string {
			_, result := w.instantiate(wasm, "")
			return result
		})
	case "assert_invalid", "assert_malformed":
		if c.ModuleType == "binary" {
			r.invalid(c, r.read(c))
		}
	default:
		r.t.Fatalf("line %d: unknown command %q", c.Line, c.Type)
	}
}

func (r *scriptRun) read(c command) []byte {
	wasm, err := os.ReadFile(filepath.Join(r.dir, c.Filename))
	if err != nil {
		r.t.Fatal(err)
	}
	return wasm
}

func (r *scriptRun) same(c command, do func(*world) string) {
	plain := do(r.worlds[0])
	for _, w := range r.worlds[1:] {
		if got := do(w); got != plain {
			r.t.Errorf("line %d: %s %s %s: %s, unchanged it is %s", c.Line, c.Type, c.Filename, c.Action.Field, got, plain)
		}
	}
}

// invalid checks that a module that wazero refuses is refused here, or still by wazero afterwards.
func (r *scriptRun) invalid(c command, wasm []byte) {
	ctx := context.Background()
	compile := func(b []byte) (wazero.CompiledModule, error) { return r.worlds[0].runtime.CompileModule(ctx, b) }
	if m, err := compile(wasm); err == nil {
		_ = m.Close(ctx) // v1 calls invalid what v2 has
		return
	}
	r.sum.invalid++
	out, err := rewriteWide(wasm, false)
	if err != nil {
		r.sum.refused++
		return
	}
	if m, err := compile(out.Wasm); err == nil {
		_ = m.Close(ctx)
		r.t.Errorf("line %d: %s was invalid and is no longer", c.Line, c.Filename)
	}
}
