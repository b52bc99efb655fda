package prewarm

import (
	"slices"
	"time"
)

const (
	// window is any second of the bound on the rate.
	window = time.Second
	// excess is how far a second may be above the budget.
	excess = 1.1
	// slicesPerSecond is how many batches make up a node's share of a second: smaller ones cost
	// more, larger ones come in bursts.
	slicesPerSecond = 20
	// catchUp is how much delay may be made good, and the credit at the beginning: within what any
	// second may hold.
	catchUp = 1500 * time.Millisecond
)

// pace spreads the users that one node asks of the origin. It keeps two rules:
//
//   - on average, share users a second;
//   - in no second, more than excess times that. Nobody knows when within a batch the origin is
//     called, so a batch counts until one second after its end; docs/adr/0005-prewarm.md has the
//     proof that this does.
//
// A batch counts whole until its answers say which of its users were in Redis; those are given
// back. Times are passed in.
type pace struct {
	share float64 // users a second; 0: no limit
	next  time.Time
	turns []*turn
}

// turn is one batch. It counts n users.
type turn struct {
	n            int
	began, ended time.Time // ended is zero while it is under way
}

// size returns how many users to load at once.
func (p *pace) size(most int) int {
	if p.share == 0 {
		return most
	}
	return max(1, min(most, int(p.share/slicesPerSecond)))
}

// begin returns a turn for a batch of n users, or nil and how long to wait before asking again.
func (p *pace) begin(n int, now time.Time) (*turn, time.Duration) {
	t := &turn{n: n, began: now}
	if p.share == 0 {
		p.forget(now)
		p.turns = append(p.turns, t)
		return t, 0
	}
	if now.Before(p.next) {
		return nil, p.next.Sub(now)
	}
	if wait := p.crowded(n, now); wait > 0 {
		return nil, wait
	}
	if earliest := now.Add(-catchUp); p.next.Before(earliest) {
		p.next = earliest
	}
	p.next = p.next.Add(p.takes(n))
	p.turns = append(p.turns, t)
	return t, 0
}

// takes returns how long n users take at the node's share.
func (p *pace) takes(n int) time.Duration {
	return time.Duration(float64(n) / p.share * float64(time.Second))
}

// crowded returns 0 when n more users may be asked for now.
func (p *pace) crowded(n int, now time.Time) time.Duration {
	p.forget(now)
	first := now.Add(5*time.Millisecond - window) // a batch under way ends nobody knows when
	ended := false
	sum := n
	for _, t := range p.turns {
		sum += t.n
		if !t.ended.IsZero() && (!ended || t.ended.Before(first)) {
			first, ended = t.ended, true
		}
	}
	if sum <= max(1, int(p.share*excess)) {
		return 0
	}
	return max(time.Millisecond, first.Add(window).Sub(now))
}

// forget drops the turns that no second from now on can hold.
func (p *pace) forget(now time.Time) {
	p.turns = slices.DeleteFunc(p.turns, func(t *turn) bool {
		return !t.ended.IsZero() && (t.n == 0 || now.Sub(t.ended) > window)
	})
}

// end notes that a batch is over and how many of it the origin was asked for.
func (p *pace) end(t *turn, asked int, now time.Time) {
	if p.share > 0 {
		p.next = p.next.Add(-p.takes(t.n - asked))
	}
	t.n, t.ended = asked, now
}

// stuck reports whether batches are under way, all of them for longer than a second in which none
// ended.
func (p *pace) stuck(now time.Time) bool {
	p.forget(now)
	for _, t := range p.turns {
		if !t.ended.IsZero() || now.Sub(t.began) <= window {
			return false
		}
	}
	return len(p.turns) > 0
}

// recent returns how many users were asked for in the last second, those under way included.
func (p *pace) recent(now time.Time) (n int) {
	p.forget(now)
	for _, t := range p.turns {
		n += t.n
	}
	return n
}
