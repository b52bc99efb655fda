package origin

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	// tripAfter is the number of failures in a row that open the breaker.
	tripAfter = 5
	// tripWindow is the time over which the share of failures is taken, in tripBuckets parts.
	tripWindow  = 10 * time.Second
	tripBuckets = 10
	// tripRequests is the least number of requests in tripWindow for half of them failing to open
	// the breaker.
	tripRequests = 20
)

// breaker is a circuit breaker that opens after tripAfter failures in a row, or when half of at
// least tripRequests failed, and then lets one call through each OpenFor.
type breaker struct {
	cb      *gobreaker.TwoStepCircuitBreaker[struct{}]
	probing atomic.Bool // half-open: the call that was let through is the only one
	opened  atomic.Int64
}

var (
	errFailed  = errors.New("failed")
	errUnknown = errors.New("unknown")
)

func newBreaker(cfg ClientConfig) *breaker {
	b := new(breaker)
	var since time.Time // of the first opening; guarded by the circuit breaker's lock
	b.cb = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:  1,
		Interval:     tripWindow,
		BucketPeriod: tripWindow / tripBuckets,
		Timeout:      cfg.OpenFor,
		ReadyToTrip: func(n gobreaker.Counts) bool {
			return n.ConsecutiveFailures >= tripAfter || (n.Requests >= tripRequests && 2*n.TotalFailures >= n.Requests)
		},
		IsExcluded: func(err error) bool { return err == errUnknown },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			b.probing.Store(to == gobreaker.StateHalfOpen)
			if to == gobreaker.StateOpen {
				b.opened.Add(1)
			}
			since = logBreaker(cfg.Logger, from, to, since)
		},
	})
	return b
}

// logBreaker says when the breaker opens, and when it is closed again. since is when it opened;
// what it returns is given to the next call.
func logBreaker(log *slog.Logger, from, to gobreaker.State, since time.Time) time.Time {
	switch {
	case from == gobreaker.StateClosed:
		log.Warn("origin: client: the breaker opened: the origin fails, and is asked once a second until it answers")
		return time.Now()
	case to == gobreaker.StateClosed:
		log.Info("origin: client: the breaker closed: the origin answers again", "after", time.Since(since).Round(10*time.Millisecond).String())
	default:
		log.Debug("origin: client: breaker", "from", from.String(), "to", to.String())
	}
	return since
}

// closed reports whether calls go through freely.
func (b *breaker) closed() bool { return b.cb.State() == gobreaker.StateClosed }

func (b *breaker) state() string { return b.cb.State().String() }

// allow returns how to report the outcome of a call, or why it must not be made.
func (b *breaker) allow() (report func(verdict), err error) {
	done, err := b.cb.Allow()
	if err != nil {
		return nil, err
	}
	probe := b.probing.Load()
	return func(v verdict) {
		switch {
		case v == works:
			done(nil)
		case v == unknown && !probe:
			done(errUnknown)
		default: // a probe that came to nothing closes the door again: the next one waits its time
			done(errFailed)
		}
	}, nil
}
