package stream

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/histo"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// Reasons for which entries are refused, as TailStats and WorkerStats count them.
const (
	refusedMalformed = "malformed"
	refusedTooLarge  = "too large"
	refusedKind      = "unknown kind"
	refusedProfile   = "broken profile"
)

// TailStats is what a Tail has done since it was made.
type TailStats struct {
	// Entries counts the entries handled, refused ones included, and those that were handled again
	// after a gap.
	Entries uint64 `json:"entries"`
	// CaughtUp is how many of them a tail that resumed handled before it had caught up for the
	// first time.
	CaughtUp uint64 `json:"caughtUp"`
	// Reads counts the successful reads, empty ones included.
	Reads uint64 `json:"reads"`
	// Gaps counts the flushes by reason, as Handler.Flush gets it.
	Gaps map[string]uint64 `json:"gaps"`
	// Refused counts the entries that were no good event, by reason: "malformed", "too large",
	// "unknown kind", and "broken profile" for those whose whole profile was not readable, so that
	// the parts in the payload had to do.
	Refused map[string]uint64 `json:"refused"`
	// Panics counts the calls of the handler that panicked.
	Panics uint64 `json:"panics"`
	// Reconnects counts the links made after the first, and Lost the links that failed.
	Reconnects uint64 `json:"reconnects"`
	Lost       uint64 `json:"lost"`
	// LastID is the id of the entry handled last, "" before the first.
	LastID string `json:"lastId"`
	// LastAlive is when the tail last proved that it has caught up; zero before the first time.
	LastAlive time.Time `json:"lastAlive"`
	// Lag is the age of the last entry when it had been handled: the wall clock here less that of
	// the Redis server. MaxLag is the largest. Entries from before Start and those handled again do
	// not count.
	Lag    profile.Millis `json:"lagMs"`
	MaxLag profile.Millis `json:"maxLagMs"`
}

// guarded is a value under a lock.
type guarded[T any] struct {
	mu sync.Mutex
	v  T
}

func (g *guarded[T]) update(f func(*T)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(&g.v)
}

// tailStats is TailStats under a lock.
type tailStats struct {
	guarded[TailStats]
	ages histo.Histogram
}

func (c *tailStats) snapshot() (s TailStats) {
	c.update(func(now *TailStats) {
		s = *now
		s.Gaps, s.Refused = maps.Clone(now.Gaps), maps.Clone(now.Refused)
	})
	return s
}

func (c *tailStats) caught()          { c.update(func(s *TailStats) { s.CaughtUp++ }) }
func (c *tailStats) linkLost()        { c.update(func(s *TailStats) { s.Lost++ }) }
func (c *tailStats) reconnected()     { c.update(func(s *TailStats) { s.Reconnects++ }) }
func (c *tailStats) panicked()        { c.update(func(s *TailStats) { s.Panics++ }) }
func (c *tailStats) alive()           { c.update(func(s *TailStats) { s.LastAlive = time.Now() }) }
func (c *tailStats) read(n int)       { c.update(func(s *TailStats) { s.Reads++ }) }
func (c *tailStats) gap(r string)     { c.update(func(s *TailStats) { count(&s.Gaps, r) }) }
func (c *tailStats) refused(r string) { c.update(func(s *TailStats) { count(&s.Refused, r) }) }

func (c *tailStats) decoded(e Event, err error) {
	if reason := refusedFor(e, err); reason != "" {
		c.refused(reason)
	}
}

func (c *tailStats) handled(id string, lag time.Duration) {
	if lag != 0 {
		c.ages.Observe(lag, 1)
	}
	c.update(func(s *TailStats) {
		s.Entries++
		s.LastID = id
		if lag > 0 {
			s.Lag = profile.Millis(lag)
			s.MaxLag = max(s.MaxLag, s.Lag)
		}
	})
}

func count(m *map[string]uint64, key string) {
	if *m == nil {
		*m = make(map[string]uint64)
	}
	(*m)[key]++
}

// refusedFor returns the reason that Decode's results stand for, "" for a good event.
func refusedFor(e Event, err error) string {
	switch {
	case errors.Is(err, ErrTooLarge):
		return refusedTooLarge
	case errors.Is(err, ErrUnknownKind):
		return refusedKind
	case err != nil:
		return refusedMalformed
	case e.Degraded:
		return refusedProfile
	}
	return ""
}

// refusal collects the refused entries of one batch into one line of the log.
type refusal struct {
	entries int
	id      string // of the first
	err     error
}

func (r *refusal) add(id string, err error) {
	if err == nil {
		return
	}
	if r.entries == 0 {
		r.id, r.err = id, err
	}
	r.entries++
}

func (r *refusal) log(ctx context.Context, l *slog.Logger) {
	if r.entries > 0 {
		l.WarnContext(ctx, "stream: refused entries", "entries", r.entries, "first", r.id, "error", r.err)
	}
}
