package functions

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/edge/fuel"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// batch is how many calls are timed together.
const batch = 200

// globalsOfC is where a guest in C keeps what it must find as it was, its allocator's place: behind
// the stack of 8 KiB.
const globalsOfC = 10 << 10

// bare is a module as wazero runs it, without fuel, checks, or a pool.
type bare struct {
	memory   api.Memory
	view     api.Function
	fuel     api.MutableGlobal // nil in a module that was not rewritten
	globals  []api.MutableGlobal
	values   []uint64 // of the globals, before a call
	snapshot []byte
	at       uint32
	words    [2]uint64
}

// newBare instantiates a module, whose mutable globals are exported under names.
func newBare(ctx context.Context, r wazero.Runtime, wasm []byte, names []string) (*bare, error) {
	mod, err := r.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		return nil, err
	}
	b := &bare{memory: mod.ExportedMemory("memory"), view: mod.ExportedFunction("edgecache_view")}
	if g := mod.ExportedGlobal(fuel.FuelGlobal); g != nil {
		b.fuel = g.(api.MutableGlobal)
		b.fuel.Set(1 << 40)
	}
	if start := mod.ExportedFunction(fuel.StartFunction); start != nil {
		if _, err := start.Call(ctx); err != nil {
			return nil, err
		}
	}
	at, err := mod.ExportedFunction("edgecache_alloc").Call(ctx, 4096)
	if err != nil {
		return nil, err
	}
	b.at = uint32(at[0])
	memory, _ := b.memory.Read(0, b.memory.Size())
	b.snapshot = append([]byte(nil), memory...)
	for _, name := range names {
		g := mod.ExportedGlobal(name).(api.MutableGlobal)
		b.globals, b.values = append(b.globals, g), append(b.values, g.Get())
	}
	return b, nil
}

// call writes the input, calls, looks at the output, and puts globals and the first bytes of the
// memory back.
func (b *bare) call(ctx context.Context, input []byte, bytes int) error {
	if !b.memory.Write(b.at, input) {
		return errors.New("no room for the input")
	}
	b.words = [2]uint64{uint64(b.at), uint64(len(input))}
	if err := b.view.CallWithStack(ctx, b.words[:]); err != nil {
		return err
	}
	if _, ok := b.memory.Read(uint32(b.words[0]>>32), uint32(b.words[0])); !ok {
		return errors.New("output out of bounds")
	}
	for i, g := range b.globals {
		g.Set(b.values[i])
	}
	memory, _ := b.memory.Read(0, uint32(bytes))
	copy(memory, b.snapshot)
	return nil
}

// rig is one example in one language: compiled as a function, and its input.
type rig struct {
	function *edge.Function
	packed   []byte
	tail     []byte
	wasm     []byte
}

func newRig(ctx context.Context, engine *edge.Engine, e example, language string) (*rig, error) {
	wasm, err := module(e.name, language)
	if err != nil {
		return nil, err
	}
	g := &rig{packed: profile.AppendMsgpack(nil, user()), wasm: wasm}
	if g.function, err = engine.Compile(ctx, e.name, wasm, 0); err != nil {
		return nil, err
	}
	g.tail, err = g.function.AppendTail(nil, e.request)
	return g, err
}

func (g *rig) input() []byte { return append(append([]byte{0x95, 1}, g.packed...), g.tail...) }

// every runs f for each example in each language.
func every(ctx context.Context, f func(name, language string, g *rig) error) error {
	engine, err := edge.NewEngine(edge.Config{})
	if err != nil {
		return err
	}
	defer engine.Close()
	for _, e := range examples() {
		for _, language := range []string{"as", "c"} {
			g, err := newRig(ctx, engine, e, language)
			if err == nil {
				err = f(e.name, language, g)
			}
			if err != nil {
				return fmt.Errorf("%s in %s: %w", e.name, language, err)
			}
		}
	}
	return nil
}

// calls measures calls beside bare ones with the same memory reset.
func calls(ctx context.Context, w io.Writer, rounds int) error {
	fmt.Fprint(w, "\n## A call\n\nBeside wazero alone: the module as it is, the input written, the call, and the memory put back. A call by edgecache "+
		"also decodes and checks the new profile.\n\n| function | bare | edgecache | ratio | fuel | bytes an instance |\n|---|---|---|---|---|---|\n")
	return every(ctx, func(name, language string, g *rig) error {
		r := wazero.NewRuntime(ctx)
		defer r.Close(ctx)
		wasm, names, err := expose(g.wasm)
		if err != nil {
			return err
		}
		b, err := newBare(ctx, r, wasm, names)
		if err != nil {
			return err
		}
		input, p := g.input(), user()
		var used int64
		t, err := turns(rounds, batch, func() error { return b.call(ctx, input, len(b.snapshot)) }, func() (err error) {
			_, used, err = g.function.View(ctx, p, g.packed, g.tail)
			return err
		})
		if err != nil {
			return err
		}
		s := g.function.Stats()
		fmt.Fprintf(w, "| %s.%s | %v | %v | %.2f x | %d | %d |\n", name, language, t[0], t[1], ratio(t[1], t[0]), used, s.Bytes/int64(1+s.Instances))
		return nil
	})
}

// fuels measures rewritten modules beside the same as they were.
func fuels(ctx context.Context, w io.Writer, rounds int) error {
	fmt.Fprint(w, "\n## Fuel\n\nThe module rewritten, beside the module as it is, putting back 10 KiB of the memory.\n\n"+
		"| function | as it is | rewritten | ratio |\n|---|---|---|---|\n")
	return every(ctx, func(name, language string, g *rig) error {
		r := wazero.NewRuntime(ctx)
		defer r.Close(ctx)
		rewritten, err := fuel.Rewrite(g.wasm, fuel.Limits{})
		if err != nil {
			return err
		}
		wasm, names, err := expose(g.wasm)
		if err != nil {
			return err
		}
		plain, err := newBare(ctx, r, wasm, names)
		if err != nil {
			return err
		}
		metered, err := newBare(ctx, r, rewritten.Wasm, rewritten.Globals)
		if err != nil {
			return err
		}
		input := g.input()
		t, err := turns(rounds, batch, func() error { return plain.call(ctx, input, globalsOfC) },
			func() error { return metered.call(ctx, input, globalsOfC) })
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "| %s.%s | %v | %v | %.2f x |\n", name, language, t[0], t[1], ratio(t[1], t[0]))
		return nil
	})
}
