package edge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/chatapp-ngomna/edgecache/edge/fuel"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// Names that a module exports, beside its memory.
const (
	exportMemory   = "memory"
	exportAlloc    = "edgecache_alloc"    // (i32) -> i32
	exportDescribe = "edgecache_describe" // () -> i64
	exportView     = "edgecache_view"     // (i32, i32) -> i64
	exportInit     = "_initialize"        // of a WASI reactor
)

// room is the size of the input buffer that an instance has from the start. Longer inputs get one
// of their own.
const room = 4 << 10

// Function is a compiled function. Its methods may be called concurrently.
type Function struct {
	engine   *Engine
	name     string
	sum      [sha256.Size]byte
	size     int
	budget   int64
	about    Description
	module   fuel.Module
	compiled wazero.CompiledModule
	// What an instance holds before each call: its memory, its mutable globals, and where its input
	// buffer is.
	memory  []byte
	globals []uint64
	buffer  uint32

	counters counters

	mu     sync.Mutex
	free   []*instance // guarded by mu
	live   int         // instances that there are; guarded by mu
	closed bool        // guarded by mu
}

// Compile checks a module and makes it ready. budget is its fuel per call, 0 for DefaultFuel. name
// is for messages. Errors wrap ErrModule, and one of package fuel's where it has one.
func (e *Engine) Compile(ctx context.Context, name string, wasm []byte, budget int64) (*Function, error) {
	if budget == 0 {
		budget = min(DefaultFuel, e.cfg.MaxFuel)
	}
	if budget < 1 || budget > e.cfg.MaxFuel {
		return nil, fmt.Errorf("%w: %q has %d units of fuel; want 1 to %d", ErrModule, name, budget, e.cfg.MaxFuel)
	}
	f := &Function{engine: e, name: name, sum: sha256.Sum256(wasm), size: len(wasm), budget: budget}
	err := f.prepare(ctx, wasm)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%w: %q: %w", ErrModule, name, err)
	}
	return f, nil
}

func (f *Function) prepare(ctx context.Context, wasm []byte) (err error) {
	if f.module, err = fuel.Rewrite(wasm, fuel.Limits{Pages: f.engine.cfg.Pages, Imports: wasiImports()}); err != nil {
		return err
	}
	if f.compiled, err = f.compile(ctx); err != nil {
		return fmt.Errorf("compile: %w", err)
	}
	f.module.Wasm = nil
	if err := f.checkExports(); err != nil {
		return err
	}
	if err := f.engine.enter(ctx); err != nil {
		return err
	}
	defer f.engine.leave()
	return f.first(ctx)
}

// compile recovers: a compiler that panics must not end the node.
func (f *Function) compile(ctx context.Context) (c wazero.CompiledModule, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the compiler panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return f.engine.runtime.CompileModule(ctx, f.module.Wasm)
}

func (f *Function) checkExports() error {
	if _, ok := f.compiled.ExportedMemories()[exportMemory]; !ok {
		return fmt.Errorf("it does not export its memory as %q", exportMemory)
	}
	functions := f.compiled.ExportedFunctions()
	i32, i64 := api.ValueTypeI32, api.ValueTypeI64
	for _, want := range []struct {
		name            string
		params, results []api.ValueType
		text            string
	}{
		{exportAlloc, []api.ValueType{i32}, []api.ValueType{i32}, "(i32) -> i32"},
		{exportDescribe, nil, []api.ValueType{i64}, "() -> i64"},
		{exportView, []api.ValueType{i32, i32}, []api.ValueType{i64}, "(i32, i32) -> i64"},
	} {
		got, ok := functions[want.name]
		if !ok {
			return fmt.Errorf("it does not export %q; want %s", want.name, want.text)
		}
		if string(got.ParamTypes()) != string(want.params) || string(got.ResultTypes()) != string(want.results) {
			return fmt.Errorf("its export %q has another type; want %s", want.name, want.text)
		}
	}
	return nil
}

// first makes the first instance and keeps what it holds, from which the others are made. Its
// description is read then.
func (f *Function) first(ctx context.Context) error {
	i, err := f.instantiate(ctx)
	if err != nil {
		return err
	}
	defer i.close(ctx)
	if err := i.begin(ctx, f); err != nil {
		return err
	}
	f.buffer = i.buffer
	memory, _ := i.memory.Read(0, i.memory.Size())
	f.memory = append([]byte(nil), memory...)
	for _, g := range i.globals {
		f.globals = append(f.globals, g.Get())
	}
	text, err := i.describe(ctx, f)
	if err != nil {
		return err
	}
	f.about, err = parseDescription(text)
	return err
}

// Name returns the name that the function was compiled under.
func (f *Function) Name() string { return f.name }

// About returns what the function says of itself. It is shared: read it only.
func (f *Function) About() Description { return f.about }

// Sum returns the SHA-256 of the module as it was given, in hex.
func (f *Function) Sum() string { return hex.EncodeToString(f.sum[:]) }

// Fuel returns the budget of a call.
func (f *Function) Fuel() int64 { return f.budget }

// View calls the function for a profile in msgpack, of which id and version are known, with a tail
// as AppendTail makes it. It returns the profile to show, or nil when that is the one given. The
// fuel that was used comes with either. ctx bounds the wait for a slot, not the call. Errors are a
// *Failure, ErrClosed, or the cause of ctx.
func (f *Function) View(ctx context.Context, p *profile.Profile, packed, tail []byte) (*profile.Profile, int64, error) {
	if err := f.engine.enter(ctx); err != nil {
		return nil, 0, fmt.Errorf("edge: function %q: wait for its turn: %w", f.name, err)
	}
	defer f.engine.leave()
	i, err := f.take(ctx)
	if err != nil {
		return nil, 0, err
	}
	shown, used, err := i.view(f, p, packed, tail)
	broken := err != nil && !errors.Is(err, ErrRefused) && !errors.Is(err, ErrOutput) && !errors.Is(err, ErrIdentity)
	f.give(i, broken)
	f.counters.count(used, err)
	return shown, used, err
}

// take returns an instance that nobody uses, as it was before the first call.
func (f *Function) take(ctx context.Context) (*instance, error) {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil, fmt.Errorf("edge: function %q: %w", f.name, ErrClosed)
	}
	if n := len(f.free); n > 0 {
		i := f.free[n-1]
		f.free = f.free[:n-1]
		f.mu.Unlock()
		return i, nil
	}
	f.live++
	f.mu.Unlock()
	i, err := f.another(context.WithoutCancel(ctx))
	if err != nil {
		f.dropped()
		return nil, f.fail(ErrTrap, "no instance: "+firstLine(err))
	}
	return i, nil
}

// another makes an instance as the first was before its first call.
func (f *Function) another(ctx context.Context) (*instance, error) {
	i, err := f.instantiate(ctx)
	if err != nil {
		return nil, err
	}
	if f.module.Sticky {
		err = i.begin(ctx, f) // what its start left behind is not all in memory and globals
	} else {
		i.buffer, err = f.buffer, i.grow(len(f.memory))
	}
	if err != nil {
		i.close(ctx)
		return nil, err
	}
	i.restore(f)
	return i, nil
}

// give takes an instance back, if its next caller can have it as the first had.
func (f *Function) give(i *instance, broken bool) {
	if !broken && !f.module.Sticky && int(i.memory.Size()) == len(f.memory) {
		i.restore(f)
		f.mu.Lock()
		if !f.closed && len(f.free) < cap(f.engine.slots) {
			f.free = append(f.free, i)
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
	}
	i.close(context.Background())
	f.dropped()
}

// dropped counts an instance that is gone. The last one after Close takes the code with it.
func (f *Function) dropped() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live--
	f.freeCodeLocked()
}

func (f *Function) freeCodeLocked() {
	if f.closed && f.live == 0 && f.compiled != nil {
		_ = f.compiled.Close(context.Background()) // it has no error to return
		f.compiled = nil
	}
}

// Close frees the function. Calls that are under way end as they would. It may be called twice.
func (f *Function) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for _, i := range f.free {
		i.close(context.Background())
		f.live--
	}
	f.free = nil
	f.freeCodeLocked()
}

// firstLine is the part of an error of the engine's that does not tell of its stack.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
