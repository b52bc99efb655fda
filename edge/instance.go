package edge

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/chatapp-ngomna/edgecache/edge/fuel"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// instance is one guest. One goroutine at a time uses it.
type instance struct {
	module      api.Module
	memory      api.Memory
	run, alloc  api.Function
	fuel, stack api.MutableGlobal
	globals     []api.MutableGlobal // those of the module's own that change
	buffer      uint32              // where the input goes, if it fits into room
	words       [2]uint64           // parameters and results of a call
}

// background is the context of all calls: guests are ended by fuel, and their engine looks nothing
// up in it.
var background = context.Background()

func (f *Function) instantiate(ctx context.Context) (*instance, error) {
	conf := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	mod, err := f.engine.runtime.InstantiateModule(ctx, f.compiled, conf)
	if err != nil {
		return nil, fmt.Errorf("instantiate: %s", firstLine(err))
	}
	i := &instance{
		module: mod, memory: mod.ExportedMemory(exportMemory),
		run: mod.ExportedFunction(exportView), alloc: mod.ExportedFunction(exportAlloc),
		fuel:  mod.ExportedGlobal(fuel.FuelGlobal).(api.MutableGlobal),
		stack: mod.ExportedGlobal(fuel.StackGlobal).(api.MutableGlobal),
	}
	for _, name := range f.module.Globals {
		i.globals = append(i.globals, mod.ExportedGlobal(name).(api.MutableGlobal))
	}
	return i, nil
}

// begin runs what a module wants to have run once, and makes the input buffer.
func (i *instance) begin(ctx context.Context, f *Function) error {
	i.budget(f, f.engine.cfg.InitFuel)
	if f.module.Start {
		if err := i.once(ctx, f, fuel.StartFunction); err != nil {
			return err
		}
	}
	if i.module.ExportedFunction(exportInit) != nil {
		if err := i.once(ctx, f, exportInit); err != nil {
			return err
		}
	}
	var err error
	i.buffer, err = i.allocate(f, room)
	return err
}

func (i *instance) once(ctx context.Context, f *Function, name string) error {
	if err := i.module.ExportedFunction(name).CallWithStack(ctx, i.words[:]); err != nil {
		return fmt.Errorf("%s: %w", name, i.why(f, err))
	}
	return nil
}

// describe returns the text that the module says of itself. It is the guest's memory.
func (i *instance) describe(ctx context.Context, f *Function) ([]byte, error) {
	if err := i.once(ctx, f, exportDescribe); err != nil {
		return nil, err
	}
	text, ok := i.memory.Read(uint32(i.words[0]>>32), uint32(i.words[0]))
	if !ok {
		return nil, fmt.Errorf("%s: its text lies outside of the memory", exportDescribe)
	}
	return text, nil
}

// budget is what the next calls may use together.
func (i *instance) budget(f *Function, units int64) {
	i.fuel.Set(uint64(units))
	i.stack.Set(uint64(f.module.Stack))
}

// allocate returns where the guest wants size bytes of input.
func (i *instance) allocate(f *Function, size int) (uint32, error) {
	i.words[0] = uint64(size)
	if err := i.alloc.CallWithStack(background, i.words[:]); err != nil {
		return 0, i.why(f, err)
	}
	at := uint32(i.words[0])
	if at == 0 || uint64(at)+uint64(size) > uint64(i.memory.Size()) {
		return 0, f.fail(ErrOutput, fmt.Sprintf("%s(%d) returned %#x, outside of a memory of %d bytes",
			exportAlloc, size, at, i.memory.Size()))
	}
	return at, nil
}

// view calls the function. The instance holds what the guest left in it when it returns.
func (i *instance) view(f *Function, p *profile.Profile, packed, tail []byte) (*profile.Profile, int64, error) {
	i.budget(f, f.budget)
	output, err := i.call(f, packed, tail)
	used := f.budget - max(int64(i.fuel.Get()), 0)
	if err != nil || output == nil {
		return nil, used, err
	}
	shown, err := f.decode(output, p.ID, p.UpdatedAt)
	return shown, used, err
}

// call returns the guest's output, in the guest's memory; nil when the profile is to be shown as it
// is.
func (i *instance) call(f *Function, packed, tail []byte) ([]byte, error) {
	size := 2 + len(packed) + len(tail)
	at := i.buffer
	if size > room {
		var err error
		if at, err = i.allocate(f, size); err != nil {
			return nil, err
		}
	}
	input, _ := i.memory.Read(at, uint32(size)) // allocate has looked
	input[0], input[1] = codeArray5, inputVersion
	copy(input[2+copy(input[2:], packed):], tail)
	i.words[0], i.words[1] = uint64(at), uint64(size)
	if err := i.run.CallWithStack(background, i.words[:]); err != nil {
		return nil, i.why(f, err)
	}
	if i.words[0] == 0 {
		return nil, nil
	}
	start, length := uint32(i.words[0]>>32), uint32(i.words[0])
	output, ok := i.memory.Read(start, length)
	if !ok || length == 0 {
		return nil, f.fail(ErrOutput, fmt.Sprintf("%d bytes at %#x, in a memory of %d", length, start, i.memory.Size()))
	}
	return output, nil
}

// why tells what ended a guest. Its globals say whether it was the host.
func (i *instance) why(f *Function, err error) *Failure {
	switch {
	case int64(i.fuel.Get()) < 0:
		return f.fail(ErrFuel, fmt.Sprintf("more than %d units", f.budget))
	case int64(i.stack.Get()) < 0:
		return f.fail(ErrDepth, "")
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return f.fail(ErrTrap, firstLine(err))
}

// grow gives a new instance as much memory as the first had.
func (i *instance) grow(size int) error {
	const page = 1 << 16
	more := (size - int(i.memory.Size())) / page
	if more <= 0 {
		return nil
	}
	if _, ok := i.memory.Grow(uint32(min(more, math.MaxUint16+1))); !ok {
		return fmt.Errorf("memory of %d bytes", size)
	}
	return nil
}

// restore puts memory and globals back to what they were before the first call.
func (i *instance) restore(f *Function) {
	memory, _ := i.memory.Read(0, uint32(len(f.memory)))
	copy(memory, f.memory)
	for n, g := range i.globals {
		g.Set(f.globals[n])
	}
}

// it has no file system that could fail
func (i *instance) close(ctx context.Context) { _ = i.module.Close(ctx) }
