package hitratio

import (
	"container/heap"
	"container/list"
	"fmt"
	"math/bits"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/maypok86/otter/v2"
)

// policy is one way to choose what to keep. It returns how many requests were hits, and how many
// misses it offered to its store.
type policy struct {
	name string
	run  func(r recorded, room int) (hits, offers int, err error)
}

func policies() []policy {
	return []policy{
		{"Belady", belady}, {"ideal LRU", lru}, {"otter v2", otterV2}, {"ristretto", bare},
		{"edgecache without the filter", func(r recorded, room int) (int, int, error) { return edgecache(r, room, false) }},
		{"edgecache", func(r recorded, room int) (int, int, error) { return edgecache(r, room, true) }},
	}
}

// lru keeps what was asked for last.
func lru(r recorded, room int) (hits, offers int, err error) {
	order, places := list.New(), make([]*list.Element, r.keys)
	for _, key := range r.requests {
		if e := places[key]; e != nil {
			order.MoveToFront(e)
			hits++
			continue
		}
		offers++
		places[key] = order.PushFront(key)
		if order.Len() > room {
			last := order.Back()
			places[order.Remove(last).(int)] = nil
		}
	}
	return hits, offers, nil
}

// farthest is a heap of keys, the one that is asked for last at the top.
type farthest struct{ next, keys []int }

func (f *farthest) Len() int           { return len(f.keys) }
func (f *farthest) Less(i, j int) bool { return f.next[i] > f.next[j] }
func (f *farthest) Swap(i, j int) {
	f.next[i], f.next[j] = f.next[j], f.next[i]
	f.keys[i], f.keys[j] = f.keys[j], f.keys[i]
}
func (f *farthest) Push(x any) {
	p := x.([2]int)
	f.next, f.keys = append(f.next, p[0]), append(f.keys, p[1])
}
func (f *farthest) Pop() any {
	n := len(f.keys) - 1
	p := [2]int{f.next[n], f.keys[n]}
	f.next, f.keys = f.next[:n], f.keys[:n]
	return p
}

// belady knows the future: what is asked for last goes, and that may be what was just asked for. No
// cache of that size has more hits.
func belady(r recorded, room int) (hits, offers int, err error) {
	next := nextUses(r)
	until, held := make([]int, r.keys), 0 // when a key that is held is asked for again; 0: not held
	var queue farthest
	for i, key := range r.requests {
		if until[key] == i && i > 0 {
			hits++
		} else {
			offers++
			held++
		}
		until[key] = next[i]
		heap.Push(&queue, [2]int{next[i], key})
		for held > room {
			p := heap.Pop(&queue).([2]int)
			if until[p[1]] == p[0] { // else it was asked for since
				until[p[1]] = 0
				held--
			}
		}
	}
	return hits, offers, nil
}

// nextUses returns for each request when its key is asked for again; those that never are come
// after the end, each at another time.
func nextUses(r recorded) []int {
	next, last := make([]int, len(r.requests)), make([]int, r.keys)
	for key := range last {
		last[key] = len(r.requests) + key
	}
	for i := len(r.requests) - 1; i >= 0; i-- {
		key := r.requests[i]
		next[i], last[key] = last[key], i
	}
	return next
}

func otterV2(r recorded, room int) (hits, offers int, err error) {
	cache, err := otter.New(&otter.Options[int, int]{MaximumSize: room, Executor: func(f func()) { f() }})
	if err != nil {
		return 0, 0, fmt.Errorf("otter: %w", err)
	}
	for _, key := range r.requests {
		if _, ok := cache.GetIfPresent(key); ok {
			hits++
			continue
		}
		offers++
		cache.Set(key, key)
	}
	return hits, offers, nil
}

// bare is ristretto as its documentation has it: ten counters an entry.
func bare(r recorded, room int) (hits, offers int, err error) {
	return engine(r, room, 10*room, func(uint64) bool { return true }, func() {})
}

// edgecache is what a node's memory does: ristretto with four counters an entry, and in front of it
// the filter that offers only what was asked for lately, once there is no room.
func edgecache(r recorded, room int, filter bool) (hits, offers int, err error) {
	var full bool
	ghosts := make([]uint32, 1<<bits.Len(uint(2*room)))
	admit := func(h uint64) bool {
		if !filter || !full {
			return true
		}
		ghost, print := &ghosts[h&uint64(len(ghosts)-1)], uint32(h>>32)|1
		if *ghost == print {
			return true
		}
		*ghost = print
		return false
	}
	return engine(r, room, max(1024, 4*room), admit, func() { full = true })
}

// spread makes 64 bits of a key, as a hash does (splitmix64).
func spread(key int) uint64 {
	h := uint64(key) + 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// engine runs ristretto, and waits after each offer: what it drops under load is another question.
func engine(r recorded, room, counters int, admit func(uint64) bool, evicted func()) (hits, offers int, err error) {
	cache, err := ristretto.NewCache(&ristretto.Config[uint64, int]{
		NumCounters: int64(counters), MaxCost: int64(room), BufferItems: 64, IgnoreInternalCost: true,
		KeyToHash: func(h uint64) (uint64, uint64) { return h, 0 },
		OnEvict:   func(*ristretto.Item[int]) { evicted() }, // before Wait returns
	})
	if err != nil {
		return 0, 0, fmt.Errorf("ristretto: %w", err)
	}
	defer cache.Close()
	for _, key := range r.requests {
		h := spread(key)
		if _, ok := cache.Get(h); ok {
			hits++
			continue
		}
		if !admit(h) {
			continue
		}
		offers++
		cache.Set(h, key, 1)
		cache.Wait()
	}
	return hits, offers, nil
}
