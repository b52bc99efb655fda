package source

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/life"
)

const (
	// retryRate is how many stuck users are tried in a second, all together; probeRate while nobody
	// can be announced.
	retryRate = 32
	probeRate = 3
)

// budget bounds the attempts of the second lane that fail; those that succeed cost nothing. Owned
// by that lane.
type budget struct {
	burst, left float64
	at          time.Time
}

func newBudget(burst int) *budget { return &budget{burst: float64(burst), left: float64(burst)} }

// attempts returns how many may be made now, and if none how long to wait for one.
func (b *budget) attempts(now time.Time, down bool) (n int, pause time.Duration) {
	rate := float64(retryRate)
	if down {
		rate = probeRate
	}
	b.left = min(b.burst, b.left+now.Sub(b.at).Seconds()*rate)
	b.at = now
	if b.left < 1 {
		pause = time.Duration((1 - b.left) / rate * float64(time.Second))
	}
	return int(b.left), max(pause, time.Millisecond)
}

func (b *budget) spend(failures int) { b.left -= float64(failures) }

func (b *budget) refill() { b.left = b.burst }

// retryLoop is the second lane: it tries stuck users again.
func (r *Relay) retryLoop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for failed := 0; r.ctx.Err() == nil; {
		users, pause := r.turn(time.Now())
		if len(users) > 0 {
			pause = 0
			if err := r.retryRound(r.ctx, users); err != nil {
				failed++
				pause = life.Backoff(failed, minPause, r.cfg.MaxPause)
			} else {
				failed = 0
			}
		}
		if pause == 0 {
			continue
		}
		timer.Reset(pause)
		select {
		case <-r.ctx.Done():
		case <-r.retry:
		case <-timer.C:
		}
	}
}

// turn returns the stuck users whose turn it is, or how long there is none.
func (r *Relay) turn(now time.Time) (users []string, pause time.Duration) {
	_, down := r.stuck.state()
	n, pause := r.budget.attempts(now, down)
	if n == 0 {
		return nil, pause
	}
	users, next := r.stuck.take(now, n)
	if next.IsZero() {
		return users, r.cfg.MaxPause
	}
	return users, max(time.Millisecond, next.Sub(now))
}

// retryRound makes an attempt for each of the users, who are busy until its end.
func (r *Relay) retryRound(ctx context.Context, users []string) error {
	claim, err := r.cfg.Outbox.Claim(ctx, Want{Limit: r.cfg.Batch, Users: users})
	if err != nil {
		r.stuck.putBack(users, false)
		return err
	}
	absent := make(map[string]bool, len(users))
	for _, id := range users {
		absent[id] = true
	}
	var good []outcome
	var done []int64
	failures := 0
	for _, o := range r.announceAll(perUser(claim.Changes())) {
		delete(absent, o.id)
		done = append(done, o.done...)
		if o.err == nil {
			good = append(good, o)
			continue
		}
		failures++
		r.failed(o)
	}
	r.budget.spend(failures)
	err = r.finish(claim, done)
	r.release(good, err == nil)
	r.stuck.putBack(slices.Collect(maps.Keys(absent)), true)
	return err
}

// release ends the turn of users who were announced. If that could not be noted they have another
// one, for the note.
func (r *Relay) release(good []outcome, noted bool) {
	if !noted {
		for _, o := range good {
			r.stuck.tell(o)
		}
		return
	}
	ids := make([]string, len(good))
	for i, o := range good {
		ids[i] = o.id
	}
	if healed := r.stuck.free(ids); healed > 0 {
		r.budget.refill()
		r.succeeded(healed)
		r.stuck.hasten(spread * healed)
	}
	if len(ids) > 0 {
		note(r.again)
	}
}
