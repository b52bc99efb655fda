package prewarm

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/life"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

const (
	// atOnce is how many batches of one node are under way: while the origin works on one, Redis
	// does on another.
	atOnce = 4
	// idlePause is how long a loader waits that finds nothing to load.
	idlePause = 10 * time.Millisecond
	// rangesPerReport bounds one script call.
	rangesPerReport = 128
	// maxReason is the longest reason of a failure, in bytes.
	maxReason = 200
)

// part is one node's part in one run.
type part struct {
	r    *Runner
	rec  *record
	kick chan struct{} // holds one element when there is something to report

	// gone are the ranges that need no look: done, by any node, or without users. Only the
	// goroutine of work uses it.
	gone [profile.Ranges]bool

	mu     sync.Mutex
	state  State
	queue  queue
	pace   pace
	slow   slowdown
	asked  int64
	filled int64
	batch  int       // the size of the last batch
	beatAt time.Time // when the last beat began that Redis took
	live   int
	ended  time.Time
}

// work loads this node's ranges until the run is over, and returns its state then; "" when it is
// not the run any more, or when ctx has ended.
func (p *part) work(ctx context.Context) State {
	loading, stop := context.WithCancel(ctx)
	var loaders sync.WaitGroup
	for range atOnce {
		loaders.Go(func() { p.loadForEver(loading) })
	}
	state := p.steer(ctx)
	stop()
	loaders.Wait()
	return state
}

// steer reports to Redis and follows the members, each time that something happens and every
// beatEvery.
func (p *part) steer(ctx context.Context) State {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for attempt := 0; ; {
		changed := p.r.changed() // before the members are looked at
		state, err := p.turn(ctx)
		if err != nil && ctx.Err() == nil {
			attempt++
			p.r.conf.Logger.WarnContext(ctx, "prewarm: report", "link", "prewarm", "run", p.rec.id, "attempt", attempt, "error", err, "pause", beatEvery)
		} else if err == nil && state != Running {
			return state
		} else if err == nil {
			attempt = 0
		}
		select {
		case <-tick.C:
		case <-p.kick:
		case <-changed:
		case <-ctx.Done():
			return ""
		}
	}
}

// turn tells Redis what is done, and that this node is alive, then takes on the ranges that have
// become this node's and drops those that are no longer.
func (p *part) turn(ctx context.Context) (State, error) {
	for {
		p.mu.Lock()
		done := p.queue.done(rangesPerReport)
		p.mu.Unlock()
		if len(done) == 0 {
			break
		}
		if _, err := p.r.store.done(ctx, p.rec, done); err != nil {
			return "", err
		}
		p.mu.Lock()
		p.queue.report(done)
		p.mu.Unlock()
		for _, d := range done {
			p.gone[d.number] = true
		}
	}
	state, inRedis, err := p.beat(ctx)
	if err != nil || state != Running {
		return state, err
	}
	owned, live := p.r.members(inRedis, time.Now())
	p.mu.Lock()
	p.live = live
	p.mu.Unlock()
	return state, p.follow(ctx, owned)
}

// beat reports to Redis.
func (p *part) beat(ctx context.Context) (State, int, error) {
	began := time.Now()
	report, err := p.report(began)
	if err != nil {
		return "", 0, err
	}
	state, live, err := p.r.store.beat(ctx, p.rec, report)
	if err == nil {
		p.mu.Lock()
		p.beatAt = began
		p.mu.Unlock()
	}
	return state, live, err
}

// follow makes the queue hold the ranges that are this node's and not done. nil stands for all.
func (p *part) follow(ctx context.Context, owned *[profile.Ranges]bool) error {
	gained := p.gained(owned)
	if len(gained) == 0 {
		return nil
	}
	done, err := p.r.store.finished(ctx, p.rec.id)
	if err != nil {
		return err
	}
	gained = slices.DeleteFunc(gained, func(n int) bool {
		p.gone[n] = done[n]
		return done[n]
	})
	plan, err := p.r.store.readPlan(ctx, p.rec.id, gained)
	if err != nil {
		return err
	}
	p.without(ctx, gained, plan)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue.gain(plan)
	return nil
}

// without sees to the ranges for which the plan has no users. Those that never had any are gone; of
// those that Redis has lost nobody is left to load, so that they are done.
func (p *part) without(ctx context.Context, gained []int, plan map[int][]ranked) {
	lost := 0
	for _, n := range gained {
		switch _, there := plan[n]; {
		case there:
		case p.rec.filled.has(n):
			plan[n] = nil
			lost++
		default:
			p.gone[n] = true
		}
	}
	if lost > 0 {
		p.r.conf.Logger.WarnContext(ctx, "prewarm: Redis has lost a part of the plan", "run", p.rec.id, "ranges", lost)
	}
}

// gained drops what is not owned any more and returns what is owned and not held.
func (p *part) gained(owned *[profile.Ranges]bool) (gained []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := range profile.Ranges {
		mine := owned == nil || owned[n]
		switch held := p.queue.held[n] != nil; {
		case held && !mine:
			p.queue.drop(n)
		case mine && !held && !p.gone[n]:
			gained = append(gained, n)
		}
	}
	return gained
}

// loadForEver loads one batch after another until ctx ends.
func (p *part) loadForEver(ctx context.Context) {
	for ctx.Err() == nil {
		items, t, pause := p.next(time.Now())
		if len(items) == 0 {
			life.Wait(ctx, pause)
			continue
		}
		if p.load(ctx, items, t) {
			select {
			case p.kick <- struct{}{}:
			default:
			}
		}
	}
}

// next takes a batch when its turn has come, else it says how long to wait.
func (p *part) next(now time.Time) ([]item, *turn, time.Duration) {
	settled := p.r.settled(now)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !settled || p.queue.ready(now) == 0 || now.Sub(p.beatAt) > pauseAfter {
		return nil, nil, idlePause
	}
	if !p.rec.options.Unlimited {
		p.pace.share = p.budgetLocked()
	}
	n := min(p.pace.size(p.rec.options.BatchSize), p.queue.ready(now))
	t, pause := p.pace.begin(n, now)
	if t == nil {
		return nil, nil, min(pause, beatEvery)
	}
	items := p.queue.take(n, now)
	if len(items) == 0 {
		p.pace.end(t, 0, now)
		return nil, nil, time.Millisecond
	}
	if n > 2*p.batch || 2*n < p.batch {
		p.slow.resized()
		p.batch = n
	}
	return items, t, 0
}

// budgetLocked is how many users a second this node may ask for.
func (p *part) budgetLocked() float64 {
	return p.rec.options.Rate / float64(max(1, p.live)) * p.slow.factor()
}

// load loads a batch and reports whether there is something to tell: nothing is left to load.
func (p *part) load(ctx context.Context, items []item, t *turn) (tell bool) {
	ids := make([]string, len(items))
	for i, it := range items {
		ids[i] = it.id
	}
	var want tier.Want
	if items[0].tries > 0 {
		want.MaxAge = 1 // what memory has since the first try may not be in Redis
	}
	began, before := time.Now(), unfilled(p.r.conf.Cache)
	b, err := p.r.conf.Cache.BatchGet(ctx, ids, want)
	now := time.Now()
	became, asked := judge(ids, b, err)
	after := unfilled(p.r.conf.Cache)
	doubted := after != before && doubt(ids, b, became)
	p.mu.Lock()
	defer p.mu.Unlock()
	if doubted && after.L2Errors != before.L2Errors {
		p.beatAt = time.Time{} // nothing more before Redis takes a beat again
	}
	p.pace.end(t, asked, now)
	p.asked += int64(asked)
	if ctx.Err() != nil {
		return false // what the context cut short has not failed
	}
	if asked > 0 && !p.rec.options.Unlimited {
		p.slow.note(now.Sub(began), now)
	}
	p.queue.finish(items, became, now)
	return p.queue.idle()
}

// judge says what became of ids, and how many of them the origin was asked for. A user who neither
// tier answered counts as asked, also when Redis knew that he does not exist.
func judge(ids []string, b tier.Batch, err error) (became []outcome, asked int) {
	became = make([]outcome, len(ids))
	missing := make(map[string]bool, len(b.Missing))
	for _, id := range b.Missing {
		missing[id] = true
	}
	for i, id := range ids {
		r, found := b.Found[id]
		switch {
		case found && r.Tier != look.FromStale:
			became[i].cached = true
		case missing[id]:
			became[i].missing = true
		case found:
			became[i].reason = "only a stale copy is held"
		default:
			became[i].reason = reason(b.Errors[id], err)
		}
		if !found || r.Tier == look.FromOrigin || r.Tier == look.FromStale {
			asked++
		}
	}
	return became, asked
}

// fills counts why the origin's answers may not be in Redis.
type fills struct{ L2Errors, Unleased uint64 }

func unfilled(c Cache) fills {
	s := c.Stats()
	return fills{s.L2Errors, s.Unleased}
}

// doubt takes back that users that the origin answered are in Redis, which has failed meanwhile,
// for this batch or another, or had given their lease to a node that is dead, and reports whether
// there were any.
func doubt(ids []string, b tier.Batch, became []outcome) (any bool) {
	for i, id := range ids {
		if r, found := b.Found[id]; found && r.Tier != look.FromL2 && became[i].cached {
			became[i], any = outcome{doubtful: true, reason: "Redis did not take the user"}, true
		}
	}
	return any
}

// reason is the text of the error of one id, or of the whole batch.
func reason(one, whole error) string {
	if one == nil {
		one = whole
	}
	if one == nil {
		return "no answer"
	}
	text := one.Error()
	return text[:min(len(text), maxReason)]
}

// conclude ends this node's part.
func (p *part) conclude(ctx context.Context, state State) {
	p.mu.Lock()
	p.state, p.ended = cmp.Or(state, Cancelled), time.Now()
	p.queue.order, p.queue.again = nil, nil // the plan may be large
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisTimeout)
	defer cancel()
	if _, _, err := p.beat(ctx); err != nil {
		p.r.conf.Logger.WarnContext(ctx, "prewarm: last report", "link", "prewarm", "run", p.rec.id, "error", err)
		return
	}
	if err := p.r.store.leave(ctx, p.rec); err != nil {
		p.r.conf.Logger.WarnContext(ctx, "prewarm: last report", "link", "prewarm", "run", p.rec.id, "error", err)
	}
	s := p.status(time.Now())
	p.r.conf.Logger.InfoContext(ctx, "prewarm: this node's part is over", "run", p.rec.id, "state", s.State,
		"processed", s.TotalProcessed, "cached", s.Cached, "missing", s.Missing, "errors", s.Errors, "asked", s.Asked, "filled", s.Filled)
}
