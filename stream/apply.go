package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// errDead says that an entry was moved to the dead-letter stream, so that it is done with.
var errDead = errors.New("stream: moved to the dead-letter stream")

// failedReason is why a good event is dead.
const failedReason = "failed"

// dispose applies an entry, or moves it to the dead-letter stream if it is no good event or failed
// too often. It returns nil when the entry is done with, errDead when it is dead, and any other
// error when it is to be tried again.
func (w *Worker) dispose(ctx context.Context, entry redis.XMessage, deliveries int64) error {
	if deliveries > w.cfg.MaxDeliveries {
		// Its last delivery ended without a word: perhaps it takes the whole process down.
		return w.bury(ctx, entry, failedReason, fmt.Errorf("stream: never finished"), deliveries)
	}
	e, err := Decode(entry.Values)
	if err != nil {
		return w.refuse(ctx, entry, e, err, deliveries)
	}
	e.ID, e.At = entry.ID, eventTime(entry.ID, entry.Values)
	if err = w.apply(ctx, e); err == nil {
		return nil
	}
	if deliveries < w.cfg.MaxDeliveries {
		return err
	}
	return w.bury(ctx, entry, failedReason, err, deliveries)
}

// refuse moves an entry that is no good event to the dead letters. If it names a user, no copy of
// his profile can be trusted.
func (w *Worker) refuse(ctx context.Context, entry redis.XMessage, e Event, why error, deliveries int64) error {
	if e.UserID != "" {
		if err := w.apply(ctx, Event{Kind: profile.Invalidated, UserID: e.UserID, ID: entry.ID, Hint: true}); err != nil {
			return err
		}
	}
	return w.bury(ctx, entry, refusedFor(e, why), why, deliveries)
}

func (w *Worker) bury(ctx context.Context, entry redis.XMessage, reason string, why error, deliveries int64) error {
	if err := w.dead.add(ctx, entry, reason+": "+why.Error(), deliveries); err != nil {
		return err
	}
	w.stats.died(reason)
	return fmt.Errorf("%w: %w", errDead, why)
}

// apply brings the second tier up to an event. A panic of the Applier is an error like others.
func (w *Worker) apply(ctx context.Context, e Event) (err error) {
	timeout := applyTimeout
	if w.failures >= failingAfter {
		timeout = failingTimeout
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	changed, err := w.changeSafely(ctx, e)
	if err != nil {
		w.failures++
		w.stats.failed()
		return fmt.Errorf("stream: apply %q: %w", e.UserID, err)
	}
	w.failures = 0
	w.stats.applied(changed)
	return nil
}

func (w *Worker) changeSafely(ctx context.Context, e Event) (changed bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return w.change(ctx, e)
}

func (w *Worker) change(ctx context.Context, e Event) (bool, error) {
	a := w.cfg.Applier
	switch {
	case e.Function != "":
		return false, nil // Redis has it already
	case e.Hint:
		return a.Hint(ctx, e.UserID, e.Order(), w.says(e))
	case e.Kind == profile.Deleted:
		return a.Remove(ctx, e.UserID, e.Version)
	case w.age(e) <= createWithin:
		return a.Apply(ctx, e.Profile)
	}
	return a.Replace(ctx, e.Profile)
}

// says returns what a hint says about the profile, nil when it does not, or is from so long ago
// that more may have happened since.
func (w *Worker) says(e Event) *profile.Patch {
	if e.Patch == nil || !hasParts(e) || w.age(e) > createWithin {
		return nil
	}
	return e.Patch
}

// age is how long ago the event happened. Both times are those of the Redis server, so clocks that
// differ do not matter. An event from the future is from before that clock was set back: it counts
// as old by as much, as it may be older.
func (w *Worker) age(e Event) time.Duration { return w.clock.Sub(e.At).Abs() }

func hasParts(e Event) bool {
	p := e.Patch
	return p.FullName != nil || p.Avatar != nil || p.Matricule != nil || p.Ministere != nil || p.Sexe != nil
}

// deliveries returns how often each of some pending entries was delivered.
func (w *Worker) deliveries(ctx context.Context, l *link, entries []redis.XMessage) (map[string]int64, error) {
	pending, err := l.conn.XPendingExt(ctx, &redis.XPendingExtArgs{
		Stream: w.cfg.Stream, Group: w.cfg.Group, Consumer: w.cfg.Consumer,
		Start: entries[0].ID, End: entries[len(entries)-1].ID, Count: workerBatch,
	}).Result()
	if err != nil {
		return nil, fmt.Errorf("stream: pending entries: %w", err)
	}
	n := make(map[string]int64, len(pending))
	for _, p := range pending {
		n[p.ID] = p.RetryCount
	}
	return n, nil
}
