package fuel

import (
	"context"
	"testing"
	"time"

	"github.com/tetratelabs/wazero/api"
)

// workloads are small functions of the kind that guests spend their time in.
func workloads() map[string]guest {
	const prime = 16777619
	hash := cat(opLoop, blockEmpty, // FNV-1a over the memory
		get(1), get(0), 0x2d, 0, 0, 0x73, i32(prime), 0x6c, set(1),
		get(0), i32(1), 0x6a, 0x22, 0, i32(4096), 0x48, brIf(0), opEnd)
	// counts quotes and controls up to a zero
	escape := cat(opBlock, blockEmpty, opLoop, blockEmpty,
		get(0), 0x2d, 0, 0, 0x22, 2, 0x45, brIf(1),
		opBlock, blockEmpty, get(2), i32('"'), 0x47, brIf(0), get(1), i32(1), 0x6a, set(1), opEnd,
		opBlock, blockEmpty, get(2), i32(0x20), 0x4f, brIf(0), get(1), i32(5), 0x6a, set(1), opEnd,
		get(0), i32(1), 0x6a, set(0), br(0), opEnd, opEnd)
	fib := cat(get(0), i32(2), 0x48, opIf, typeI32, get(0), opElse,
		get(0), i32(1), 0x6b, call(1), get(0), i32(2), 0x6b, call(1), 0x6a, opEnd)
	words := cat(opLoop, blockEmpty, // copies 16 KiB by eight bytes
		get(0), get(0), 0x29, 3, 0, 0x37, 3, uleb(32768),
		get(0), i32(8), 0x6a, 0x22, 0, i32(16384), 0x48, brIf(0), opEnd)
	text := cat(0, i32(0), opEnd, sized(times(512, `a "text" `)))
	return map[string]guest{
		"hash of 4 KiB":       {pages: 1, fns: []fn{{locals: 2, code: hash}}},
		"escapes in 4.5 KiB":  {pages: 1, datas: [][]byte{text}, fns: []fn{{locals: 3, code: escape}}},
		"fib(20)":             {fns: []fn{{code: cat(i32(20), call(1), 0x1a)}, {params: i32s, results: i32s, code: fib}}},
		"copy by words":       {pages: 1, fns: []fn{{locals: 1, code: words}}},
		"memory.copy, 32 KiB": {pages: 1, fns: []fn{{code: cat(i32(0), i32(32768), i32(32768), misc(miscMemoryCopy, 0, 0))}}},
	}
}

// BenchmarkCost runs each workload as it is and rewritten, in turns, and reports the ratio
// of the shortest runs: what other work on the machine adds is in neither.
func BenchmarkCost(b *testing.B) {
	for name, g := range workloads() {
		b.Run(name, func(b *testing.B) {
			ctx := context.Background()
			wasm := g.wasm()
			plain := instantiateAsIs(b, wasm).ExportedFunction("f0")
			metered := instantiate(b, wasm, Limits{})
			fuel := metered.mod.ExportedFunction("f0")
			run := func(f api.Function) time.Duration {
				start := time.Now()
				if _, err := f.Call(ctx); err != nil {
					b.Fatal(err)
				}
				return time.Since(start)
			}
			without, with := time.Hour, time.Hour
			for b.Loop() {
				metered.fuel.Set(1 << 40)
				without, with = min(without, run(plain)), min(with, run(fuel))
			}
			b.ReportMetric(float64(without.Nanoseconds()), "plain-ns")
			b.ReportMetric(float64(with.Nanoseconds()), "fuel-ns")
			b.ReportMetric(float64(with)/float64(without), "ratio")
			b.ReportMetric(float64(1<<40-int64(metered.fuel.Get())), "units")
		})
	}
}
