package prewarm

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

const (
	// pollMin to pollMax is the pause between two looks for a run.
	pollMin = 500 * time.Millisecond
	pollMax = time.Second
	// pollPlan is that pause while a plan is being made.
	pollPlan = 100 * time.Millisecond
	// beatEvery is how often a node that takes part tells so.
	beatEvery = 500 * time.Millisecond
	// pauseAfter is how old the last beat that Redis has taken may be while a node asks the origin:
	// the others may soon count without it, and it may not know of others.
	pauseAfter = 1500 * time.Millisecond
	// leastSettle is how long it takes, at most, until all nodes that still ask have heard of a new
	// one through Redis.
	leastSettle = pauseAfter + 2*beatEvery
	// redisTimeout bounds what has to be told when all else has ended.
	redisTimeout = 2 * time.Second
)

// watch takes part in whatever run there is, one after another.
func (r *Runner) watch(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; {
		rec, err := r.store.read(ctx)
		switch {
		case err == nil:
			attempt = 0
			r.takePart(ctx, rec)
		case errors.Is(err, ErrNoRun):
			attempt = 0
		case ctx.Err() == nil:
			attempt++
			r.conf.Logger.WarnContext(ctx, "prewarm: look for a run", "link", "prewarm", "attempt", attempt, "error", err, "pause", pollMax)
		}
		r.members(0, time.Now())
		next := pollMin + rand.N(pollMax-pollMin)
		if err == nil && rec.state == Planning {
			next = pollPlan
		}
		pause := time.NewTimer(next)
		select {
		case <-pause.C:
		case <-r.nudge:
		case <-ctx.Done():
		}
		pause.Stop()
	}
}

// takePart does this node's part of a run, unless it has done it before. Of a run that is over
// there is still the memory to fill, on a node that was not there.
func (r *Runner) takePart(ctx context.Context, rec *record) {
	if rec.state != Running && rec.state != Done {
		return
	}
	p := r.newPart(rec)
	if p == nil {
		return
	}
	state := rec.state
	if state == Running {
		state = p.work(ctx)
	}
	if state == Done && ctx.Err() == nil {
		state = p.fill(ctx)
	}
	p.conclude(ctx, state)
}

// newPart returns this node's part in a run, nil when it had one.
func (r *Runner) newPart(rec *record) *part {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now != nil && r.now.rec.id == rec.id {
		return nil
	}
	p := &part{r: r, rec: rec, state: Running, kick: make(chan struct{}, 1), queue: queue{pause: r.again}}
	for n := range p.gone {
		p.gone[n] = rec.state == Done
	}
	r.now = p
	return p
}

// members asks who is alive, by Membership and by Redis, and returns which ranges are this node's
// and by how many to divide the budget.
func (r *Runner) members(inRedis int, now time.Time) (owned *[profile.Ranges]bool, live int) {
	if r.conf.Members != nil {
		owned, live = r.conf.Members.Owned()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return owned, r.share.observe(max(live, inRedis), now)
}

// settled reports whether the other members have heard of this one.
func (r *Runner) settled(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conf.Members == nil || now.Sub(r.started) >= r.conf.Settle
}

// changed returns the channel of the membership; nil, for never, without one.
func (r *Runner) changed() <-chan struct{} {
	if r.conf.Members == nil {
		return nil
	}
	return r.conf.Members.Changed()
}
