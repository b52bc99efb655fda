package fuel

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// units is the budget of a call in these tests: the default of a function.
const units = 100_000

// instance is a rewritten module that runs.
type instance struct {
	mod         api.Module
	fuel, stack api.MutableGlobal
	module      Module
}

func instantiate(t testing.TB, wasm []byte, limits Limits) *instance {
	t.Helper()
	out, err := Rewrite(wasm, limits)
	if err != nil {
		t.Fatal(err)
	}
	mod := instantiateAsIs(t, out.Wasm)
	return &instance{
		mod: mod, module: out,
		fuel:  mod.ExportedGlobal(FuelGlobal).(api.MutableGlobal),
		stack: mod.ExportedGlobal(StackGlobal).(api.MutableGlobal),
	}
}

func instantiateAsIs(t testing.TB, wasm []byte) api.Module {
	t.Helper()
	ctx := context.Background()
	r := wazero.NewRuntime(ctx)
	t.Cleanup(func() { _ = r.Close(ctx) })
	mod, err := r.Instantiate(ctx, wasm)
	if err != nil {
		t.Fatal(err)
	}
	return mod
}

// call runs a function with a budget, as a host does, and returns how long it took.
func (i *instance) call(budget int64, name string, args ...uint64) (time.Duration, error) {
	i.fuel.Set(uint64(budget))
	i.stack.Set(uint64(i.module.Stack))
	start := time.Now()
	_, err := i.mod.ExportedFunction(name).Call(context.Background(), args...)
	return time.Since(start), err
}

func (i *instance) outOfFuel() bool  { return int64(i.fuel.Get()) < 0 }
func (i *instance) outOfStack() bool { return int64(i.stack.Get()) < 0 }

// best is the shortest of some runs: what the work takes when nothing else disturbs it.
func (i *instance) best(budget int64, name string) (time.Duration, error) {
	shortest, err := i.call(budget, name)
	for range 9 {
		d, _ := i.call(budget, name)
		shortest = min(shortest, d)
	}
	return shortest, err
}

func misc(op int, args ...any) []byte { return cat(opMisc, uleb(op), cat(args...)) }

// fill fills memory, from address 0.
func fill(bytes int) []byte { return cat(i32(0), i32(1), i32(bytes), misc(miscMemoryFill, 0)) }

func forever(code ...any) []fn { return []fn{{locals: 2, code: loop(0, 0, code...)}} }

// hostiles are modules whose f0 never ends, or wants more than there is.
func hostiles() map[string]guest {
	anyTable := [][]byte{cat(typeFunc, 0, uleb(1000))}
	self := [][]byte{cat(0, i32(0), opEnd, vec(uleb(0)))}
	jump := cat(opBlock, blockEmpty, opBlock, blockEmpty, opBlock, blockEmpty,
		get(0), opBrTable, uleb(2), 0, 1, 2, opEnd, opEnd, opEnd)
	return map[string]guest{
		"endless loop":          {fns: forever()},
		"endless loop of br_if": {fns: []fn{{code: cat(opLoop, blockEmpty, i32(1), brIf(0), opEnd)}}},
		"endless loop of br_table": {fns: []fn{{code: cat(opLoop, blockEmpty, i32(7),
			opBrTable, uleb(1), 0, 0, opEnd)}}},
		"loops inside loops":   {fns: []fn{{code: cat(times(1000, opLoop, blockEmpty), br(999), times(1000, opEnd))}}},
		"br_table over blocks": {fns: forever(jump)},
		"loop around if and else": {fns: []fn{{locals: 1, code: cat(opLoop, blockEmpty, get(0), opIf, blockEmpty,
			br(1), opElse, br(1), opEnd, opEnd)}}},
		"exponential recursion": {fns: []fn{{code: cat(i32(60), call(1))},
			{params: i32s, code: cat(get(0), opIf, blockEmpty, times(2, get(0), i32(1), 0x6b, call(1)), opEnd)}}},
		"infinite recursion": {fns: []fn{{code: call(0)}}},
		"infinite recursion with operands": {fns: []fn{{code: cat(i64(1), call(1), 0x1a)},
			{params: i64s, results: i64s, code: cat(get(0), get(0), i64(1), opI64Add, call(1), opI64Add)}}},
		"infinite recursion with 2,000 locals": {fns: []fn{{locals: 2000, code: cat(
			times(1, call(0)), times(100, get(1), get(2), 0x6a, set(3)))}}},
		"two that call one another": {fns: []fn{{code: call(1)}, {code: call(0)}}},
		"recursion through a table": {fns: []fn{{code: cat(i32(0), opCallIndirect, 0, 0)}},
			tables: anyTable, elements: self},
		"memory.fill, forty times 250 MiB":    {pages: 64, fns: []fn{{code: times(40, fill(250<<20))}}},
		"memory.fill of all pages":            {pages: 64, fns: forever(fill(64 << 16))},
		"memory.copy of all pages":            {pages: 64, fns: forever(i32(1), i32(0), i32(64<<16-1), misc(miscMemoryCopy, 0, 0))},
		"memory.fill of 4 GiB":                {pages: 64, fns: forever(fill(-1))},
		"memory.fill of 64 KiB":               {pages: 64, fns: forever(fill(64 << 10))},
		"recursion with operands of 128 bits": {fns: []fn{{code: cat(times(200, get(0), opVector, 17), call(0), times(199, opVector, 81), 0x1a), locals: 1}}},
		"memory.fill of nothing":              {pages: 64, fns: forever(fill(0))},
		"memory.init of all pages": {pages: 1, datas: [][]byte{cat(1, sized(times(60000, 1)))},
			fns: forever(i32(0), i32(0), i32(60000), misc(miscMemoryInit, 0, 0))},
		"memory.grow by one page":        {pages: 1, fns: forever(i32(1), opMemoryGrow, 0, 0x1a)},
		"memory.grow to the limit":       {pages: 1, fns: forever(i32(63), opMemoryGrow, 0, 0x1a)},
		"memory.grow by 4 billion pages": {pages: 1, fns: forever(i32(-1), opMemoryGrow, 0, 0x1a)},
		"table.grow": {tables: [][]byte{cat(typeFunc, 0, 0)},
			fns: forever(opRefNull, typeFunc, i32(1000), misc(miscTableGrow, 0), 0x1a)},
		"table.fill": {tables: anyTable, fns: forever(i32(0), opRefNull, typeFunc, i32(1000), misc(miscTableFill, 0))},
		"table.copy": {tables: anyTable, fns: forever(i32(0), i32(1), i32(999), misc(miscTableCopy, 0, 0))},
		"table.init": {tables: anyTable, elements: [][]byte{cat(1, 0, uleb(1000), times(1000, 0))},
			fns: forever(i32(0), i32(0), i32(999), misc(miscTableInit, 0, 0))},
		"references to functions": {fns: forever(times(100, opRefFunc, 0, 0xd1, set(0)))},
		"numbers that are denormal": {fns: forever(times(100,
			opF64Const, "\x01\x00\x00\x00\x00\x00\x00\x00", opF64Const, "\x00\x00\x00\x00\x00\x00\xe0\x3f", 0xa2, 0xb0, 0xa7, set(1)))},
		"divisions": {fns: forever(times(100, i64(1<<62), get(1), opExtendU, i64(1), opI64Or, 0x80, 0xa7, set(1)))},
		"reads all over the memory": {pages: 64, fns: forever(times(100, get(1), i32(0x3ffffc), 0x71, 0x28, 2, 0,
			get(1), 0x6a, i32(1664525), 0x6c, i32(1013904223), 0x6a, set(1)))},
	}
}

// canaries measures two modules that are not hostile, on this machine at this time: additions for
// as long as the fuel lasts, and calls as deep as the stack allows, where the guest traps by
// itself.
func canaries(t *testing.T) time.Duration {
	additions := instantiate(t, guest{fns: forever(times(8, get(1), i32(3), 0x6a, set(1)))}.wasm(), Limits{})
	adding, _ := additions.best(units, "f0")
	deep := instantiate(t, guest{fns: []fn{{code: cat(i32(5500), call(1))}, {params: i32s, code: cat(
		get(0), 0x45, opIf, blockEmpty, opUnreachable, opEnd, get(0), i32(1), 0x6b, call(1))}}}.wasm(), Limits{})
	calling, err := deep.best(units, "f0")
	if err == nil || deep.outOfFuel() || deep.outOfStack() {
		t.Fatalf("the canary ended with fuel %d: %v", int64(deep.fuel.Get()), err)
	}
	t.Logf("canaries: %v for additions, %v for a trap after deep calls", adding, calling)
	return max(adding, calling)
}

// TestHostile runs modules that would not end. Each ends for want of fuel or of stack, and takes no
// more than a small multiple of what honest modules take for the same budget.
func TestHostile(t *testing.T) {
	const most = 20
	measure := canaries(t)
	for name, g := range hostiles() {
		t.Run(name, func(t *testing.T) {
			i := instantiate(t, g.wasm(), Limits{})
			before := allocated()
			took, err := i.best(units, "f0")
			runs := 10
			// something else may have had the processor
			for ; took > most*measure && runs < 200; runs += 10 {
				again, _ := i.best(units, "f0")
				took = min(took, again)
			}
			grown := (allocated() - before) / uint64(runs)
			if grown > 8<<20 {
				t.Errorf("allocated %d MiB for a run", grown>>20)
			}
			if err == nil || !strings.Contains(err.Error(), "unreachable") || !i.outOfFuel() && !i.outOfStack() {
				t.Fatalf("ended with fuel %d and stack %d: %v", int64(i.fuel.Get()), int64(i.stack.Get()), err)
			}
			t.Logf("%-40s %9s %5.2f x, %d KiB a run", name, took, float64(took)/float64(measure), grown>>10)
			if took > most*measure {
				t.Errorf("took %v, honest modules take %v", took, measure)
			}
			if _, err := i.call(0, "f0"); err == nil || !i.outOfFuel() && !i.outOfStack() {
				t.Errorf("runs without fuel: %v", err)
			}
		})
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
