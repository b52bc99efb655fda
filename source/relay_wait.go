package source

import "sync"

// recentSeqs is the number of announced rows that are remembered for writers who begin to wait only after their row was
// announced: a writer is microseconds behind its commit.
const recentSeqs = 8192

// waiters are the writers who wait for their row to be announced.
type waiters struct {
	mu      sync.Mutex
	waiting map[int64]*waiter // guarded by mu
	recent  [recentSeqs]int64 // guarded by mu: seq at seq % recentSeqs
}

// waiter is one row that somebody waits for.
type waiter struct {
	done  chan struct{}
	count int // how many wait
}

func newWaiters() *waiters { return &waiters{waiting: make(map[int64]*waiter)} }

// add returns a channel that is closed when seq is announced, or nil when it was already.
func (w *waiters) add(seq int64) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.recent[seq%recentSeqs] == seq {
		return nil
	}
	one := w.waiting[seq]
	if one == nil {
		one = &waiter{done: make(chan struct{})}
		w.waiting[seq] = one
	}
	one.count++
	return one.done
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
