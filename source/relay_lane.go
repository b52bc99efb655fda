package source

import (
	"sync/atomic"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/life"
)

const (
	// patience is how long an attempt may hold up the first lane; it goes on beside it then.
	patience = 20 * time.Millisecond
	// probeBatch is the number of rows tried after a wake while nobody can be announced, probeEvery
	// the time between.
	probeBatch = 4
	probeEvery = 100 * time.Millisecond
)

// loop is the first lane: it takes up what is new.
func (r *Relay) loop() {
	prune := time.NewTicker(pruneEvery)
	defer prune.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	woken := true
	for failed := 0; r.ctx.Err() == nil; {
		n, pause, err := r.cycle(woken)
		if err != nil && r.ctx.Err() == nil {
			failed++
			pause = life.Backoff(failed, minPause, r.cfg.MaxPause)
			r.cfg.Logger.Error("source: relay: read outbox", "attempt", failed, "error", err, "pause", pause)
		} else if failed = 0; n > 0 {
			woken = true
			continue
		}
		woken = r.idle(pause, timer, prune)
	}
}

// idle waits until there is something to do, and reports whether it was told so: not within a pause
// after failures.
func (r *Relay) idle(pause time.Duration, timer *time.Timer, prune *time.Ticker) (woken bool) {
	if pause > 0 && !life.Wait(r.ctx, pause) {
		return false
	}
	timer.Reset(r.cfg.Poll)
	select {
	case <-r.ctx.Done():
	case <-r.cfg.Outbox.Wake():
		return true
	case <-r.again:
		return true
	case <-timer.C:
	case <-prune.C:
		r.prune()
	}
	return false
}

// want says what the first lane takes next: while users are stuck those first for which a writer
// waits. Where attempts came to nothing and none succeeds it is a few of these, or of the newest
// changes: if the Announcer is down for some users only, others are likely among them. pause is how
// long to wait after it.
func (r *Relay) want(woken bool) (w Want, pause time.Duration) {
	stuck, spent := r.stuck.ids()
	w = Want{Limit: r.cfg.Batch, Except: stuck}
	switch {
	case len(stuck) >= maxStuck:
		return Want{}, probeEvery
	case spent >= r.cfg.Batch:
		r.served = false // nobody else has a turn while writers wait
		if w.Users = r.awaited(probeBatch); w.Users != nil {
			return w, probeEvery
		}
		w.Newest, w.Limit = true, 1
		if woken {
			w.Limit = probeBatch
		}
		return w, probeEvery
	case len(stuck) > 0: // more may be: a short round, so that nobody waits long behind them
		w.Limit = min(w.Limit, 2*r.cfg.Concurrency)
		w.Users = r.awaited(w.Limit)
	}
	return w, 0
}

// awaited returns users for whose changes a writer waits, but not twice in a row: others have a
// turn in between.
func (r *Relay) awaited(limit int) (users []string) {
	if !r.served {
		users = r.waiters.ask(limit, r.stuck.has)
	}
	if r.served = users != nil; r.served {
		note(r.again)
	}
	return users
}

// cycle takes what waits in the outbox, announces it and notes what succeeded. It returns how many
// rows were announced or left behind, and how long to wait if there were none.
func (r *Relay) cycle(woken bool) (n int, pause time.Duration, err error) {
	w, pause := r.want(woken)
	if w.Limit == 0 {
		return 0, pause, nil
	}
	claim, err := r.cfg.Outbox.Claim(r.ctx, w)
	if err != nil {
		return 0, 0, err
	}
	users := perUser(claim.Changes())
	done := r.round(users)
	r.succeeded(len(done))
	if len(done) > 0 || pause == 0 {
		n = len(users)
	}
	return n, pause, r.finish(claim, done)
}

// round announces the changes of users, and returns the rows that were announced. It waits for none
// of them longer than patience: an attempt that takes longer goes on by itself, and the user is
// stuck meanwhile.
func (r *Relay) round(users [][]Change) (done []int64) {
	outcomes := make(chan outcome, len(users))
	slots := make(chan struct{}, r.cfg.Concurrency)
	begun := 0
	for _, changes := range users {
		slots <- struct{}{}
		if r.ctx.Err() != nil {
			break
		}
		begun++
		r.attempts.Go(func() { r.attempt(changes, slots, outcomes) })
	}
	for range begun {
		o := <-outcomes
		done = append(done, o.done...)
		if o.err != nil {
			r.failed(o)
			note(r.retry)
		}
	}
	return done
}

// attempt announces the changes of one user. Its outcome is sent within patience, of an attempt
// that lags an empty one.
func (r *Relay) attempt(changes []Change, slots <-chan struct{}, outcomes chan<- outcome) {
	var over atomic.Bool
	stuck := make(chan struct{}) // closed once the user is
	lag := time.AfterFunc(patience, func() {
		if r.ctx.Err() != nil || !over.CompareAndSwap(false, true) {
			return // Close waits for it
		}
		r.stuck.lag(changes[0].ID)
		close(stuck)
		outcomes <- outcome{id: changes[0].ID}
		<-slots
	})
	defer lag.Stop()
	o := r.announceUser(changes)
	if over.CompareAndSwap(false, true) {
		outcomes <- o
		<-slots
		return
	}
	<-stuck
	r.lagged(o)
}

// lagged ends an attempt that the first lane did not wait for.
func (r *Relay) lagged(o outcome) {
	r.stuck.lagged()
	if o.err != nil {
		r.failed(o)
	} else {
		r.stuck.tell(o)
		r.succeeded(len(o.done))
	}
	note(r.retry)
}

// succeeded is told of rows that were announced.
func (r *Relay) succeeded(n int) {
	if n > 0 && r.stuck.succeeded() {
		r.cfg.Logger.Info("source: relay: announcing works again")
		note(r.retry)
		note(r.again)
	}
}

// prune forgets rows announced long ago. That it failed is worth a line, nothing more: it comes
// again.
func (r *Relay) prune() {
	if _, err := r.cfg.Outbox.Prune(r.ctx, time.Now().Add(-r.cfg.Keep)); err != nil && r.ctx.Err() == nil {
		r.cfg.Logger.Warn("source: relay: prune outbox", "error", err)
	}
}
