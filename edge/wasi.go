package edge

import (
	"context"
	"errors"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/chatapp-ngomna/edgecache/edge/fuel"
)

// Guests in Go and some in C import WASI, whatever they do. They get a world in which there is
// nothing: no arguments, no environment, no files; a clock that stands still, and randomness that
// is always the same, so that what a function answers depends on its input alone. What they write
// is taken and forgotten.
const wasiModule = "wasi_snapshot_preview1"

// Error numbers of WASI.
const (
	wasiSuccess = 0
	wasiBadFile = 8
	wasiFault   = 21
	wasiNoCall  = 52
)

// maxWASI is how many bytes or vectors one call of the host is good for: its work is not paid by
// fuel.
const maxWASI = 1 << 10

var errExit = errors.New("the guest exited")

// wasiCall is a function of WASI: how many parameters of which types it has, in letters, and what
// it does.
type wasiCall struct {
	name, params string // i for i32, I for i64
	do           func(mem api.Memory, params []uint64) uint64
}

func answers(errno uint64) func(api.Memory, []uint64) uint64 {
	return func(api.Memory, []uint64) uint64 { return errno }
}

// wasiCalls returns what may be imported.
func wasiCalls() []wasiCall {
	badFile, noCall := answers(wasiBadFile), answers(wasiNoCall)
	return []wasiCall{
		{"args_get", "ii", answers(wasiSuccess)}, {"args_sizes_get", "ii", twoZeros},
		{"environ_get", "ii", answers(wasiSuccess)}, {"environ_sizes_get", "ii", twoZeros},
		{"clock_time_get", "iIi", clock}, {"clock_res_get", "ii", resolution}, {"random_get", "ii", random},
		{"sched_yield", "", answers(wasiSuccess)}, {"poll_oneoff", "iiii", noCall},
		{"fd_write", "iiii", swallow}, {"fd_read", "iiii", badFile}, {"fd_close", "i", badFile}, {"fd_seek", "iIii", badFile},
		{"fd_fdstat_get", "ii", badFile}, {"fd_fdstat_set_flags", "ii", badFile},
		{"fd_filestat_get", "ii", badFile}, {"fd_prestat_get", "ii", badFile}, {"fd_prestat_dir_name", "iii", badFile},
	}
}

func wasiImports() []fuel.Import {
	list := []fuel.Import{{Module: wasiModule, Name: "proc_exit"}}
	for _, c := range wasiCalls() {
		list = append(list, fuel.Import{Module: wasiModule, Name: c.name})
	}
	return list
}

func instantiateWASI(ctx context.Context, r wazero.Runtime) error {
	b := r.NewHostModuleBuilder(wasiModule)
	for _, c := range wasiCalls() {
		do := c.do
		b = b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, m api.Module, stack []uint64) {
			stack[0] = do(m.Memory(), stack)
		}), wasiTypes(c.params), []api.ValueType{api.ValueTypeI32}).Export(c.name)
	}
	b = b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(context.Context, api.Module, []uint64) {
		panic(errExit)
	}), wasiTypes("i"), nil).Export("proc_exit")
	_, err := b.Instantiate(ctx)
	return err
}

func wasiTypes(letters string) (types []api.ValueType) {
	for _, l := range letters {
		if l == 'I' {
			types = append(types, api.ValueTypeI64)
		} else {
			types = append(types, api.ValueTypeI32)
		}
	}
	return types
}

// fault is the answer to a pointer that leads nowhere.
func fault(ok bool) uint64 {
	if !ok {
		return wasiFault
	}
	return wasiSuccess
}

// twoZeros tells that a list has no elements, which take no bytes.
func twoZeros(mem api.Memory, params []uint64) uint64 {
	return fault(mem != nil && mem.WriteUint32Le(uint32(params[0]), 0) && mem.WriteUint32Le(uint32(params[1]), 0))
}

// clock always says one second after its beginning: Go's runtime refuses a zero.
func clock(mem api.Memory, params []uint64) uint64 {
	return fault(mem != nil && mem.WriteUint64Le(uint32(params[2]), 1_000_000_000))
}

func resolution(mem api.Memory, params []uint64) uint64 {
	return fault(mem != nil && mem.WriteUint64Le(uint32(params[1]), 1))
}

// random fills with the same bytes each time.
func random(mem api.Memory, params []uint64) uint64 {
	if uint32(params[1]) > maxWASI || mem == nil {
		return wasiFault
	}
	b, ok := mem.Read(uint32(params[0]), uint32(params[1]))
	for i := range b {
		b[i] = byte(i*167 + 13)
	}
	return fault(ok)
}

// swallow says that everything was written.
func swallow(mem api.Memory, params []uint64) uint64 {
	vectors, n := uint32(params[1]), uint32(params[2])
	if n > maxWASI || mem == nil {
		return wasiFault
	}
	total := uint32(0)
	for i := range n {
		size, ok := mem.ReadUint32Le(vectors + 8*i + 4)
		if !ok {
			return wasiFault
		}
		total += size
	}
	return fault(mem.WriteUint32Le(uint32(params[3]), total))
}
