package oracle

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Ack is one acknowledged change of a key.
type Ack struct {
	// Version that was written, or up to which all was removed.
	Version int64
	// Removed is true for a removal.
	Removed bool
	// At is when the writer was told.
	At time.Time
}

// key is what is known of one key.
type key struct {
	name string

	removing atomic.Int64 // removals begun and not acknowledged
	// the highest version whose removal was acknowledged, or is about to be recorded
	removed atomic.Int64

	mu     sync.Mutex              // of writers
	floors atomic.Pointer[[]floor] // by time; what was published is never changed
}

// floor is what binds once the bound has passed after at: the sum of all acknowledgements up to it.
type floor struct {
	at   int64 // nanoseconds since the oracle's origin
	min  int64 // the oldest version that may be returned
	live int64 // the newest version that was acknowledged as there, 0 for none
	ack  Ack
}

// record puts an acknowledgement in its place by time. Readers hold the published slice while the
// writer works: one at the end goes behind their length, any other makes a copy.
func (k *key) record(a Ack, at int64, o *Oracle) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var old []floor
	if p := k.floors.Load(); p != nil {
		old = *p
	}
	i := len(old)
	for i > 0 && old[i-1].at > at {
		i--
	}
	before := old
	if i < len(old) {
		before = old[:i:i]
	}
	added := floor{at: at, ack: a}
	if i > 0 {
		added.min, added.live = old[i-1].min, old[i-1].live
	}
	added.add(a)
	next := append(append(before, added), old[i:]...)
	for j := i + 1; j < len(next); j++ {
		next[j].add(a)
	}
	next = prune(next, o.keep, o.config.History)
	k.floors.Store(&next)
}

// add counts one more acknowledgement into the sum.
func (f *floor) add(a Ack) {
	if a.Removed {
		f.min = max(f.min, a.Version+1)
		return
	}
	f.min, f.live = max(f.min, a.Version), max(f.live, a.Version)
}

// prune copies the newer part once the older half is beyond every bound, so that its cost is spread
// over as many acknowledgements. What is dropped lives on in the sums of what stays.
func prune(fs []floor, keep int64, history int) []floor {
	if len(fs) < 2*history {
		return fs
	}
	half := len(fs) / 2
	if fs[half].at > fs[len(fs)-1].at-keep {
		return fs
	}
	return slices.Clone(fs[half:])
}

// binding returns the newest floor that was acknowledged before cut, nil when none was.
func (k *key) binding(cut int64) *floor {
	p := k.floors.Load()
	if p == nil {
		return nil
	}
	fs := *p
	if last := len(fs) - 1; fs[last].at < cut {
		return &fs[last]
	}
	i, _ := slices.BinarySearchFunc(fs, cut, func(f floor, cut int64) int {
		if f.at < cut {
			return -1
		}
		return 1
	})
	if i == 0 {
		return nil
	}
	return &fs[i-1]
}

// lag returns for how long at least, at start, the answer version had been overtaken: 0 if it had
// not been.
func (k *key) lag(version, start int64) time.Duration {
	p := k.floors.Load()
	if p == nil {
		return 0
	}
	fs := *p
	if fs[len(fs)-1].min <= version {
		return 0
	}
	i, _ := slices.BinarySearchFunc(fs, version, func(f floor, version int64) int {
		if f.min <= version {
			return -1
		}
		return 1
	})
	return max(0, time.Duration(start-fs[i].at))
}

// first returns when the first of the floors came for which f holds. There is one.
func (k *key) first(f func(floor) bool) int64 {
	fs := *k.floors.Load()
	return fs[slices.IndexFunc(fs, f)].at
}

// acks returns what is kept of the key's history, by time.
func (k *key) acks() []Ack {
	p := k.floors.Load()
	if p == nil {
		return nil
	}
	acks := make([]Ack, 0, len(*p))
	for _, f := range *p {
		acks = append(acks, f.ack)
	}
	return acks
}
