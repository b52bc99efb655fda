package source

import (
	"maps"
	"slices"
	"sync"
)

// recentSeqs is the number of announced rows that are remembered for writers who begin to wait only
// after their row was announced: a writer is microseconds behind its commit.
const recentSeqs = 8192

// waiters are the writers who wait for their row to be announced.
type waiters struct {
	mu      sync.Mutex
	waiting map[int64]*waiter // guarded by mu
	recent  [recentSeqs]int64 // guarded by mu: seq at seq % recentSeqs
}

// waiter is one row that somebody waits for.
type waiter struct {
	id    string // the user
	asked bool   // the first lane has claimed the user for it
	done  chan struct{}
	count int // how many wait
}

func newWaiters() *waiters { return &waiters{waiting: make(map[int64]*waiter)} }

// add returns a channel that is closed when c is announced, or nil when it was already.
func (w *waiters) add(c Change) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.recent[c.Seq%recentSeqs] == c.Seq {
		return nil
	}
	one := w.waiting[c.Seq]
	if one == nil {
		one = &waiter{id: c.ID, done: make(chan struct{})}
		w.waiting[c.Seq] = one
	}
	one.count++
	return one.done
}

// ask returns up to limit users for whose rows somebody waits, each row once, without the users
// that skip names.
func (w *waiters) ask(limit int, skip func(id string) bool) (users []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := make(map[string]bool)
	for _, one := range w.waiting {
		if one.asked || skip(one.id) {
			continue
		}
		if !seen[one.id] {
			if len(users) == limit {
				break
			}
			seen[one.id], users = true, append(users, one.id)
		}
		one.asked = true
	}
	return users
}

// seqs lists the rows that somebody waits for.
func (w *waiters) seqs() []int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Keys(w.waiting))
}

// remove ends one wait for seq.
func (w *waiters) remove(seq int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := w.waiting[seq]
	if one == nil {
		return
	}
	if one.count--; one.count == 0 {
		delete(w.waiting, seq)
	}
}

// announced tells the waiters of seq.
func (w *waiters) announced(seq int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.recent[seq%recentSeqs] = seq
	if one := w.waiting[seq]; one != nil {
		close(one.done)
		delete(w.waiting, seq)
	}
}
