package verify

import (
	"context"
	"sync"
	"time"
)

const (
	// laneTick is how often a lane looks for what is due: checks that become due together go in one
	// request.
	laneTick = 5 * time.Millisecond
	// maxBatch is how many users one request asks for.
	maxBatch = 1000
	// maxInFlight is how many requests to one node are under way, so that a slow one does not hold
	// up the rest.
	maxInFlight = 4
	// lateMost is how long after its checkpoint a check may still be made. Later it would say
	// nothing of that checkpoint.
	lateMost = 250 * time.Millisecond
)

// check is one change to be checked at one checkpoint.
type check struct {
	user   *user
	change *change
	after  int
}

// lane makes the checks of one node, so that a node that hangs holds up none of the others.
type lane struct {
	v     *Verifier
	index int
	node  *client

	mu      sync.Mutex
	queues  [][]check // by checkpoint, in the order in which they are due
	waiting int       // in queues
	asked   int       // under way
	failing bool      // the last request was not answered
	budget  float64   // reads that the rate allows
	filled  time.Time // when budget was last added to
	follows map[string]*follow
}

func newLane(v *Verifier, index int, node *client) *lane {
	return &lane{v: v, index: index, node: node, queues: make([][]check, len(v.cfg.After)), follows: map[string]*follow{}}
}

// push queues the checks of a change; those beyond the limit are dropped.
func (l *lane) push(u *user, c *change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.queues {
		if l.waiting >= l.v.cfg.MaxPending {
			l.v.tally.count(l.index, i, Counts{Dropped: 1})
			continue
		}
		l.queues[i] = append(l.queues[i], check{u, c, i})
		l.waiting++
	}
}

// run asks for what is due until ctx ends; then it waits for the answers under way and drops the
// rest.
func (l *lane) run(ctx context.Context) {
	var asking sync.WaitGroup
	slots := make(chan struct{}, maxInFlight)
	tick := time.NewTicker(laneTick)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		if b := l.take(time.Now()); b != nil {
			asking.Go(func() {
				defer func() { <-slots }()
				l.ask(ctx, b)
			})
			continue
		}
		<-slots
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	asking.Wait()
	l.dropRest()
}

func (l *lane) dropRest() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, q := range l.queues {
		l.v.tally.count(l.index, i, Counts{Dropped: uint64(len(q))})
		l.queues[i] = nil
	}
	l.waiting = 0
}

// idle reports whether nothing waits and nothing is under way.
func (l *lane) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting == 0 && l.asked == 0
}

// batch is one request: users, and the checks that their answers are for.
type batch struct {
	ids     []string
	checks  map[string][]check
	follows []*follow
}

func (b *batch) has(id string) bool {
	_, ok := b.checks[id]
	return ok
}

func (b *batch) add(id string, c ...check) {
	if !b.has(id) {
		b.ids = append(b.ids, id)
	}
	b.checks[id] = append(b.checks[id], c...)
}

// take returns what is due and allowed by the rate, nil for nothing. What is due for too long is
// given up.
func (l *lane) take(now time.Time) *batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := &batch{checks: map[string][]check{}}
	room := l.allowedLocked(now)
	for i, q := range l.queues {
		n := 0
		for _, c := range q {
			late := now.Sub(c.change.known) - l.v.cfg.After[i]
			if late < 0 || late <= lateMost && len(b.ids) >= room && !b.has(c.user.id) {
				break
			}
			if n++; late > lateMost {
				l.giveUpLocked(i)
				continue
			}
			b.add(c.user.id, c)
		}
		l.queues[i] = q[n:]
		l.waiting -= n
	}
	l.takeFollowsLocked(b, room, now)
	if len(b.ids) == 0 {
		return nil
	}
	l.budget -= float64(len(b.ids))
	l.asked++
	return b
}

// giveUpLocked counts a check that was not made in time: for the node's sake if that does not
// answer.
func (l *lane) giveUpLocked(after int) {
	if l.failing {
		l.v.tally.count(l.index, after, Counts{Failed: 1})
	} else {
		l.v.tally.count(l.index, after, Counts{Dropped: 1})
	}
}

// allowedLocked returns how many users may be asked for now. What the rate leaves unused is kept
// for a tenth of a second.
func (l *lane) allowedLocked(now time.Time) int {
	rate := float64(l.v.cfg.MaxRate)
	if rate == 0 {
		l.budget = maxBatch
		return maxBatch
	}
	l.budget = min(max(1, rate/10), l.budget+rate*now.Sub(l.filled).Seconds())
	l.filled = now
	return min(maxBatch, int(l.budget))
}

// ask sends a request and judges the answers.
func (l *lane) ask(ctx context.Context, b *batch) {
	sent := time.Now()
	answers, err := l.node.batch(ctx, b.ids)
	l.v.tally.read(l.index, len(b.ids))
	l.noteRequest(ctx, err)
	for id, checks := range b.checks {
		for _, c := range checks {
			l.v.tally.lateBy(c.after, sent.Sub(c.change.known)-l.v.cfg.After[c.after])
			l.settle(ctx, c, answers[id])
		}
	}
	for _, f := range b.follows {
		l.followed(f, answers[f.user.id])
	}
	l.mu.Lock()
	l.asked--
	l.mu.Unlock()
}

func (l *lane) noteRequest(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	changed := l.failing != (err != nil)
	l.failing = err != nil
	l.mu.Unlock()
	if !changed {
		return
	}
	if err != nil {
		l.v.cfg.Logger.Warn("verify: a node does not answer", "node", l.node.name, "error", err)
	} else {
		l.v.cfg.Logger.Info("verify: a node answers again", "node", l.node.name)
	}
}

// settle judges one check; a is nil when there was no answer.
func (l *lane) settle(ctx context.Context, c check, a *answer) {
	if a == nil {
		d := Counts{Failed: 1}
		if ctx.Err() != nil {
			d = Counts{Dropped: 1} // it was cut off here
		}
		l.v.tally.count(l.index, c.after, d)
		return
	}
	said, by := l.v.book.judge(c.user, c.change, l.v.cfg.After[c.after], a)
	switch said {
	case right:
		l.v.tally.count(l.index, c.after, Counts{Checks: 1})
	case marked:
		l.v.tally.count(l.index, c.after, Counts{Stale: 1})
	case missing:
		l.v.tally.count(l.index, c.after, Counts{Absent: 1})
		l.follow(c, by, a, said)
	case wrong:
		l.v.tally.count(l.index, c.after, Counts{Checks: 1, Violations: 1})
		l.v.tally.violated(a.sent.Sub(by.known))
		l.follow(c, by, a, said)
	}
}
