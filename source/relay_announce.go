package source

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// logEvery is the time between two lines about users who cannot be announced.
const logEvery = 10 * time.Second

// outcome is what became of one user's changes in an attempt.
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
	for range min(r.cfg.Concurrency, len(users)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(users)); i = next.Add(1) - 1 {
				outcomes[i] = r.announceUser(users[i])
			}
		})
	}
	wg.Wait()
	return outcomes
}

// announceUser stops at the first change that fails: the user's later ones must not overtake it.
// Changes that an attempt announced after its claim was over are done already.
func (r *Relay) announceUser(changes []Change) outcome {
	o := outcome{id: changes[0].ID}
	told := r.stuck.told(o.id)
	for _, c := range changes {
		if c.Seq > told {
			if r.ctx.Err() != nil {
				return o
			}
			if o.err = r.announce(c); o.err != nil {
				return o
			}
			r.stats.announced.Add(1)
			r.waiters.announced(c.Seq)
		}
		o.done = append(o.done, c.Seq)
	}
	return o
}

// announce calls the Announcer, detached from Close: cut off in the middle, a change would only be
// announced twice.
func (r *Relay) announce(c Change) (err error) {
	if c.Fault != nil {
		return c.Fault
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

// failed has a user wait after an attempt, and says so if nothing was said lately.
func (r *Relay) failed(o outcome) {
	f := r.stuck.failed(o)
	r.stats.failures.Add(1)
	now := time.Now().UnixMilli()
	last := r.stats.logged.Load()
	if now-last >= logEvery.Milliseconds() && r.stats.logged.CompareAndSwap(last, now) {
		r.cfg.Logger.Warn("source: relay: users cannot be announced", "users", f.stuck, "such as", o.id,
			"attempt", f.attempt, "error", o.err, "pause", f.pause)
	}
}

// finish notes what was announced and gives the claim back.
func (r *Relay) finish(claim Claim, done []int64) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), closeGrace)
	defer cancel()
	if len(done) > 0 {
		err = claim.Done(ctx, done)
	}
	if closed := claim.Close(); err == nil {
		err = closed
	}
	return err
}
