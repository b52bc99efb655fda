package origin

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/life"
)

// outcome is what became of one user's changes in a cycle.
type outcome struct {
	id   string
	done []int64 // rows announced, in order
	err  error   // why the next one was not; nil when all were, or when the relay closed before
}

// announceAll announces the changes of several users at once, those of one user one after another.
func (r *Relay) announceAll(users [][]Change) []outcome {
	outcomes := make([]outcome, len(users))
	var next atomic.Int64
	var wg sync.WaitGroup
	worker := func() {
		for i := next.Add(1) - 1; i < int64(len(users)); i = next.Add(1) - 1 {
			outcomes[i] = r.announceUser(users[i])
		}
	}
	for range min(r.cfg.Concurrency, len(users)) - 1 {
		wg.Go(worker)
	}
	worker() // most cycles have one user, who needs no goroutine
	wg.Wait()
	return outcomes
}

// announceUser stops at the first change that fails: the user's later ones must not overtake it.
func (r *Relay) announceUser(changes []Change) outcome {
	o := outcome{id: changes[0].ID}
	for _, c := range changes {
		if r.ctx.Err() != nil {
			return o
		}
		if o.err = r.announce(c); o.err != nil {
			return o
		}
		o.done = append(o.done, c.Seq)
		r.waiters.announced(c.Seq)
	}
	return o
}

// announce calls the Announcer, detached from Close: cut off in the middle, a change would only be announced twice.
func (r *Relay) announce(c Change) (err error) {
	if c.fault != nil {
		return c.fault
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), r.cfg.Timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("announcer panicked: %v", p)
		}
	}()
	return r.cfg.Announcer.Announce(ctx, c)
}

// settle takes the outcomes of a cycle into the relay's state and returns the rows that were announced.
func (r *Relay) settle(outcomes []outcome) (done []int64) {
	now := time.Now()
	for _, o := range outcomes {
		done = append(done, o.done...)
		if o.err == nil && len(o.done) > 0 {
			delete(r.blocked, o.id)
		}
	}
	if len(done) > 0 {
		r.resume(now)
	}
	for _, o := range outcomes {
		if o.err != nil {
			r.block(o, len(done) > 0, now)
		}
	}
	r.stats.announced.Add(int64(len(done)))
	r.stats.blocked.Store(int64(len(r.blocked)))
	r.stats.down.Store(r.outage > 1)
	return done
}

// resume ends an outage: who was blocked in its course need not wait any longer.
func (r *Relay) resume(now time.Time) {
	if r.outage > 1 {
		r.cfg.Logger.Info("origin: relay: announcing works again", "failures", r.outage)
		for _, b := range r.blocked {
			b.until = now
		}
	}
	r.outage, r.lastFailed = 0, ""
}

// block has a user wait after a failure. Failures of different users with no success between them are an outage.
func (r *Relay) block(o outcome, othersWork bool, now time.Time) {
	b := r.blocked[o.id]
	if b == nil {
		b = new(blockedUser)
		r.blocked[o.id] = b
	}
	b.failures++
	pause := life.Backoff(b.failures, minPause, r.cfg.MaxPause)
	b.until = now.Add(pause)
	if !othersWork && o.id != r.lastFailed {
		r.outage++
	}
	r.lastFailed = o.id
	r.stats.failures.Add(1)
	r.cfg.Logger.Warn("origin: relay: announce", "user", o.id, "attempt", b.failures, "error", o.err, "pause", pause)
}

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
