package tier

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// downAfter failures in a row, Redis counts as down: loads do not wait for its timeouts but go to the origin.
	downAfter = 3
	// probeEvery is how often one load asks a Redis that is down all the same.
	probeEvery = 500 * time.Millisecond
)

// errL2Down stands for the answer of a Redis that was not asked.
var errL2Down = errors.New("tier: Redis is down")

// health remembers whether Redis answers. A server that hangs would otherwise cost every load its timeout.
type health struct {
	failures atomic.Int64
	// until is when Redis is asked again, in nanoseconds since 1970; 0 while it answers.
	until atomic.Int64
}

// ask reports whether to ask Redis now.
func (h *health) ask() bool {
	until := h.until.Load()
	if until == 0 {
		return true
	}
	now := time.Now().UnixNano()
	return now >= until && h.until.CompareAndSwap(until, now+int64(probeEvery))
}

// note takes the outcome of one round trip. What the server itself replied, errors too, shows that it lives.
func (h *health) note(err error) {
	var reply redis.Error
	if err == nil || errors.As(err, &reply) {
		if h.failures.Load() != 0 {
			h.failures.Store(0)
			h.until.Store(0)
		}
		return
	}
	if h.failures.Add(1) >= downAfter {
		h.until.Store(time.Now().Add(probeEvery).UnixNano())
	}
}
