package tier

import (
	"runtime"
	"strconv"
	"testing"
)

// TestCostMatchesTheHeap holds the account of L1, on which its budget rests, against what the heap
// really grew by.
func TestCostMatchesTheHeap(t *testing.T) {
	const users = 100_000
	l, err := newL1(256 << 20)
	if err != nil {
		t.Fatal(err)
	}
	before := heap()
	for i := range users {
		id := strconv.Itoa(i)
		e, h := newEntry(user(id, int64(i+1))), l.hash(id)
		e.check, e.pair = h.check, l.stamps.of(h)
		l.set(h, e)
		if i%1000 == 0 {
			l.engine.Wait()
		}
	}
	l.engine.Wait()
	grown, account := heap()-before, l.used()
	held := 0
	for i := range users {
		if l.peek(l.hash(strconv.Itoa(i))) != nil {
			held++
		}
	}
	t.Logf("%d entries: heap %d bytes each, account %d", held, grown/int64(held), account/int64(held))
	if held < users*99/100 {
		t.Errorf("%d of %d entries are held, though the budget has room for all", held, users)
	}
	if ratio := float64(account) / float64(grown); ratio < 0.9 || ratio > 1.3 {
		t.Errorf("the account is %.2f x the heap's growth, want 0.9 to 1.3", ratio)
	}
	l.close()
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
