package fuel

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/tetratelabs/wazero"
)

// program makes valid code of a random string: blocks, loops and ifs inside one another, branches
// to all of them, calls, lengths, and work of different size between them.
type program struct {
	bytes []byte
	out   []byte
	open  []int // opcodes of the blocks that are open
}

func (p *program) next(n int) int {
	if len(p.bytes) == 0 {
		return 0
	}
	b := int(p.bytes[0])
	p.bytes = p.bytes[1:]
	return b % n
}

func (p *program) add(parts ...any) { p.out = append(p.out, cat(parts...)...) }

// condition depends on what was executed so far.
func (p *program) condition() []byte { return cat(get(0), i32(1<<p.next(5)), 0x71) }

func (p *program) code() []byte {
	for len(p.bytes) > 0 {
		p.step()
	}
	for range p.open {
		p.add(opEnd)
	}
	return p.out
}

func (p *program) step() {
	labels := len(p.open) + 1
	switch p.next(12) {
	case 0:
		p.push(opBlock)
	case 1:
		p.push(opLoop)
	case 2:
		p.add(p.condition())
		p.push(opIf)
	case 3:
		if n := len(p.open); n > 0 && p.open[n-1] == opIf {
			p.open[n-1] = opElse
			p.add(opElse)
		}
	case 4, 5:
		if n := len(p.open); n > 0 {
			p.open = p.open[:n-1]
			p.add(opEnd)
		}
	case 6:
		p.add(p.condition(), brIf(p.next(labels)))
	case 7:
		p.add(br(p.next(labels)))
	case 8:
		p.add(p.condition(), opBrTable, uleb(2), uleb(p.next(labels)), uleb(p.next(labels)), uleb(p.next(labels)))
	case 9:
		p.add(call(p.next(2)))
	case 10:
		p.add(fill(p.next(200)), opReturn)
	case 11:
		p.add(times(p.next(12)+1, get(0), i32(3), 0x6a, set(0)))
	}
}

func (p *program) push(op int) {
	if len(p.open) < 20 {
		p.open = append(p.open, op)
		p.add(op, blockEmpty)
		return
	}
	if op == opIf {
		p.add(0x1a) // the condition
	}
}

// runProgram runs the program as it is rewritten and with each instruction charged by itself.
func runProgram(t *testing.T, random []byte) {
	ctx := context.Background()
	half := len(random) / 2
	first, second := program{bytes: random[:half]}, program{bytes: random[half:]}
	wasm := guest{pages: 1, fns: []fn{{locals: 1, code: first.code()}, {locals: 1, code: second.code()}}}.wasm()
	var runs [2][]outcomeOf
	for i := range runs {
		out, err := rewriteSmall(wasm, i == 1)
		if err != nil {
			if errors.Is(err, ErrLimit) {
				return
			}
			t.Fatal(err)
		}
		r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
		mod, err := r.Instantiate(ctx, out.Wasm)
		if err != nil {
			t.Fatal(err)
		}
		runs[i] = runAll(t, mod, out.Stack)
		_ = r.Close(ctx)
	}
	compare(t, runs)
}

// TestControl runs 1,000 random programs. FuzzControl goes on from there.
func TestControl(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		b := make([]byte, 20+random.IntN(100))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		if runProgram(t, b); t.Failed() {
			t.Fatalf("the program is %x", b)
		}
	}
}

func FuzzControl(f *testing.F) {
	f.Add([]byte{1, 6, 2, 0, 4, 1, 6, 0, 0, 4, 2, 1, 11, 7, 3, 9, 4})
	f.Fuzz(func(t *testing.T, random []byte) {
		if len(random) < 400 {
			runProgram(t, random)
		}
	})
}
