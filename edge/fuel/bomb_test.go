package fuel

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
)

// each calls a function with 0 to n-1 and joins what it returns.
func each(n int, part func(i int) []byte) []byte {
	var out []byte
	for i := range n {
		out = append(out, part(i)...)
	}
	return out
}

// loopsOverLocals has loops that may change locals, so that an engine has to work out what each
// local is in each loop.
func loopsOverLocals(loops, locals int) guest {
	return guest{fns: []fn{{locals: locals, code: cat(
		each(locals, func(i int) []byte { return cat(i32(i), set(i)) }),
		times(loops, opLoop, blockEmpty, get(0), brIf(0), opEnd),
		each(locals, func(i int) []byte { return cat(get(i), 0x1a) }))}}}
}

// branchesWithOperands has br_tables of n labels that carry as many operands as a type may have.
func branchesWithOperands(tables, n int) guest {
	results := strings.Repeat(i32s, 128)
	values := times(128, i32(1))
	one := cat(opBlock, 1, values, get(0), opBrTable, uleb(n), times(n+1, 0), opEnd, times(128, 0x1a))
	return guest{fns: []fn{{locals: 1, code: times(tables, one)}, {results: results, code: values}}}
}

// TestCompileBombs shows that modules which take minutes to compile are refused, and how long the
// worst that are let in take.
func TestCompileBombs(t *testing.T) {
	wide := fn{params: strings.Repeat(i32s, 128), results: strings.Repeat(i32s, 128), code: each(128, get)}
	for name, g := range map[string]guest{
		"2,048 loops over 2,048 locals":          loopsOverLocals(2048, 2048),
		"30 br_tables of 8,000 times 128 values": branchesWithOperands(30, 8000),
		"1,500 calls of 256 values":              {fns: []fn{{code: cat(times(128, i32(1)), times(1500, call(1)), times(128, 0x1a))}, wide}},
		"60,000 loops":                           {fns: []fn{{code: times(60000, opLoop, blockEmpty, opEnd)}}},
	} {
		if _, err := Rewrite(g.wasm(), Limits{}); !errors.Is(err, ErrLimit) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, g := range map[string]guest{
		"200 loops over 250 locals":          loopsOverLocals(200, 250),
		"a br_table of 470 times 128 values": branchesWithOperands(1, 470),
		"2 br_tables of 8,000":               {fns: []fn{{locals: 1, code: times(2, opBlock, blockEmpty, get(0), opBrTable, uleb(8000), times(8001, 0), opEnd)}}},
		"2,000 blocks inside one another":    {fns: []fn{{code: cat(times(2000, opBlock, blockEmpty), times(2000, opEnd))}}},
		"900 loops inside one another":       {fns: []fn{{code: cat(times(900, opLoop, blockEmpty), times(900, opEnd))}}},
		"900 loops":                          {fns: []fn{{code: times(900, opLoop, blockEmpty, opEnd)}}},
		"5,000 blocks that are left":         {fns: []fn{{locals: 1, code: times(5000, opBlock, blockEmpty, get(0), brIf(0), opEnd)}}},
		"60,000 additions":                   {fns: []fn{{locals: 1, code: cat(get(0), times(60000, get(0), 0x6a), set(0))}}},
		"40,000 operands":                    {fns: []fn{{locals: 1, code: cat(times(40000, get(0), i32(1), 0x6a), times(40000, 0x1a))}}},
		"60,000 operands that are used":      {fns: []fn{{locals: 1, code: cat(times(60000, get(0)), times(60000, 0x6a)[1:], set(0))}}},
		"250 calls of 256 values":            {fns: []fn{{code: cat(times(128, i32(1)), times(250, call(1)), times(128, 0x1a))}, wide}},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := Rewrite(g.wasm(), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			ctx := context.Background()
			r := wazero.NewRuntime(ctx)
			defer r.Close(ctx)
			start := time.Now()
			if _, err := r.CompileModule(ctx, out.Wasm); err != nil {
				t.Fatal(err)
			}
			t.Logf("%-40s %d bytes of code compile in %v", name, len(g.fns[0].code), time.Since(start))
		})
	}
}
