package verify

import (
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

const (
	// A user that a node was wrong about is asked for again at growing pauses until the node is
	// right, to learn the lag.
	followFirst = 100 * time.Millisecond
	followMost  = time.Second
	// followFor is when that ends anyway. A node forgets that a user does not exist in half of it.
	followFor = time.Minute
	// maxFollows bounds the users who are followed on one node; the violations of more are counted
	// and not told whole.
	maxFollows = 256
)

// follow is one user that a node was wrong about, or may have been: one answered as absent is
// followed to tell which.
type follow struct {
	user    *user
	change  *change // that which the answer contradicts
	after   int
	said    verdict
	first   *Violation // as it was told; nil if it was not
	seen    *Violation // of the first answer
	last    time.Time  // when the last wrong answer was asked for
	next    time.Time
	pause   time.Duration
	waiting bool // in a request under way
}

// follow begins to follow a user, unless he is followed already or there are too many.
func (l *lane) follow(c check, by *change, a *answer, said verdict) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.follows[c.user.id]
	if f != nil && (f.said == wrong || said == missing) {
		return
	}
	if f == nil && len(l.follows) >= maxFollows {
		return
	}
	seen := newViolation(l.node.name, c.user, by, l.v.book.changesOf(c.user, by), a)
	seen.After = profile.Millis(l.v.cfg.After[c.after])
	f = &follow{user: c.user, change: by, after: c.after, said: said, seen: seen, last: a.sent, next: a.received.Add(followFirst), pause: followFirst}
	l.follows[c.user.id] = f
	if said == wrong {
		f.first = l.v.tell(seen)
	}
}

// takeFollowsLocked adds those who are due to a batch.
func (l *lane) takeFollowsLocked(b *batch, room int, now time.Time) {
	for id, f := range l.follows {
		if f.waiting || now.Before(f.next) || len(b.ids) >= room && !b.has(id) {
			continue
		}
		f.waiting = true
		b.add(id)
		b.follows = append(b.follows, f)
	}
}

// followed takes another answer about a user who is followed; nil for none.
func (l *lane) followed(f *follow, a *answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.waiting = false
	f.pause = min(followMost, f.pause*3/2)
	f.next = time.Now().Add(f.pause)
	over := f.next.Sub(f.change.known) > followFor
	if a == nil {
		l.endLocked(f, over, true)
		return
	}
	if f.said == missing {
		l.followMissingLocked(f, a, over)
		return
	}
	still := f.change.judge(a) == wrong
	if still {
		f.last = a.sent
		l.v.tally.lagged(f.lag())
	}
	l.endLocked(f, over || !still, still)
}

// followMissingLocked waits for the proof that an answer of absence was wrong: the very version
// that it should have known. Had the user been deleted in between, there would be none or a higher
// one.
func (l *lane) followMissingLocked(f *follow, a *answer, over bool) {
	said, _ := l.v.book.judge(f.user, f.change, 0, a)
	switch {
	case said == missing:
		f.last = a.sent
	case !a.absent && !a.stale && a.version == f.change.version:
		l.v.tally.prove(l.index, f.after)
		l.v.tally.violated(f.lag())
		f.first = l.v.tell(f.seen)
		over = true
	default:
		over = true
	}
	l.endLocked(f, over, said == missing)
}

// lag is how long the change had been known at the last wrong answer.
func (f *follow) lag() time.Duration { return f.last.Sub(f.change.known) }

// endLocked ends the following if it is over, and tells the end of what was told.
func (l *lane) endLocked(f *follow, over, still bool) {
	if !over {
		return
	}
	if l.follows[f.user.id] == f {
		delete(l.follows, f.user.id)
	}
	if f.first == nil {
		return
	}
	end := *f.first
	end.Over, end.Still, end.Lag = true, still, profile.Millis(f.lag())
	l.v.tellEnd(&end)
}
