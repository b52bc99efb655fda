package l2

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/histo"
)

const (
	// downAfter failures in a row, Redis counts as down: loads do not wait for its timeouts but go
	// to the origin.
	downAfter = 3
	// pulseEvery is how often Pulse looks whether Redis answers.
	pulseEvery = 50 * time.Millisecond
	// silentPulses in a row without any answer, while some are due, Redis is under suspicion. They
	// are counted and not timed, so that a process that gets no processor does not blame Redis.
	silentPulses = 5
	// pingEvery is the pause between pings of a Redis that is down or under suspicion, pingWithin
	// what one may take: more than the largest pipeline keeps others waiting.
	pingEvery  = 5 * pulseEvery
	pingWithin = 300 * time.Millisecond
)

// ErrDown stands for the answer of a Redis that was not asked, because it has not answered others.
var ErrDown = errors.New("l2: Redis is down")

// health remembers whether Redis answers. A server that hangs would otherwise cost every load its
// timeout.
type health struct {
	down     atomic.Bool
	failures atomic.Int64
	// due is how many round trips are under way, answered how many the server has answered.
	due, answered atomic.Int64
	times         histo.Histogram // of the round trips
}

// ask returns why Redis is not to be asked now: it is down, or the caller's time is over.
func (h *health) ask(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if h.down.Load() {
		return ErrDown
	}
	return nil
}

// begin counts one round trip, of which note takes the outcome and when it began.
func (h *health) begin() time.Time {
	h.due.Add(1)
	return time.Now()
}

func (h *health) note(began time.Time, err error) {
	h.due.Add(-1)
	h.times.Observe(time.Since(began), 1)
	h.hear(err)
}

// hear takes what came of asking. What the server itself replied, errors too, shows that it lives;
// a caller that left shows nothing.
func (h *health) hear(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	var reply redis.Error
	if err == nil || errors.As(err, &reply) {
		h.answered.Add(1)
		if h.failures.Load() != 0 || h.down.Load() {
			h.failures.Store(0)
			h.down.Store(false)
		}
		return
	}
	if h.failures.Add(1) >= downAfter {
		h.down.Store(true)
	}
}

// Down reports whether Redis counts as down, so that readers are told ErrDown at once. What changes
// profiles asks all the same.
func (r *Redis) Down() bool { return r.health.down.Load() }

// Times returns how long the round trips have taken, those that failed included.
func (r *Redis) Times() *histo.Snapshot { return r.health.times.Snapshot() }

// Pulse runs until ctx ends. It finds out that Redis hangs before many readers do, and that it is
// back without making one of them wait:
//
//	round trips under way, none answered for silentPulses: ping, and without an answer it is down
//	suspect says that there is another sign that Redis hangs: the same
//	down: ping until it answers
func (r *Redis) Pulse(ctx context.Context, suspect func() bool) {
	h := &r.health
	tick := time.NewTicker(pulseEvery)
	defer tick.Stop()
	silent, last := 0, h.answered.Load()
	for pings := time.Now(); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := h.answered.Load()
		if silent++; now != last || h.due.Load() == 0 {
			silent, last = 0, now
		}
		unsure := silent >= silentPulses || h.down.Load() || suspect()
		if unsure && time.Since(pings) >= pingEvery {
			r.ping(ctx)
			silent, pings = 0, time.Now()
		}
	}
}

// ping asks Redis itself. One that lets it wait is down at once.
func (r *Redis) ping(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, pingWithin)
	defer cancel()
	err := r.client.Ping(bounded).Err()
	if ctx.Err() != nil {
		return
	}
	if r.health.hear(err); bounded.Err() != nil && err != nil {
		r.health.down.Store(true)
	}
}
