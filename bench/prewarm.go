package bench

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/chatapp-ngomna/edgecache/bench/report"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
)

const prewarmNote = "All users from the origin into Redis and into the memory of one node, without a limit to what the origin is asked, " +
	"until the last range is done. Beside it the same hashes written in pipelines of 500 by the Redis client alone: no origin, no lease, no check. " +
	"Each starts with a Redis that has none of them."

// prewarmRounds is how often each is measured.
const prewarmRounds = 3

// measurePrewarm measures how fast users are brought to where they are asked for.
func measurePrewarm(ctx context.Context, w *world, s *report.Suite) error {
	s.Title, s.Note = fmt.Sprintf("%d users before they are asked for", len(w.ids)), prewarmNote
	for _, one := range []struct {
		name string
		run  func(context.Context) error
	}{{"bare pipelined HSET", w.bareWrites}, {report.Subject + " prewarm", w.prewarmOnce}} {
		w.progress.say(s.Name + ": " + one.name)
		f := report.Figure{Contender: one.name, Name: "rate", Unit: "users/s", MoreIsBetter: true}
		var rates []float64
		for range prewarmRounds {
			if err := w.forget(ctx, w.ids); err != nil {
				return err
			}
			began := time.Now()
			if err := one.run(ctx); err != nil {
				return fmt.Errorf("%s: %w", one.name, err)
			}
			rates = append(rates, float64(len(w.ids))/time.Since(began).Seconds())
		}
		f.Value, f.Band = middle(rates)
		s.Figures = append(s.Figures, f)
	}
	return nil
}

// middle returns the median of some measurements, and their band.
func middle(values []float64) (median float64, band report.Band) {
	slices.Sort(values)
	return values[len(values)/2], report.Band{Low: values[0], High: values[len(values)-1]}
}

// bareWrites writes made-up users of the usual size.
func (w *world) bareWrites(ctx context.Context) error {
	pipe, n := w.redis.Pipeline(), 0
	for p := range w.users {
		pipe.HSet(ctx, profile.Key(p.ID), profile.AppendHash(nil, p)...)
		pipe.Expire(ctx, profile.Key(p.ID), time.Hour)
		if n++; n%page > 0 && n < len(w.ids) {
			continue
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// everybody was active just now.
type everybody struct{ ids []string }

// Name implements prewarm.Source.
func (everybody) Name() string { return "bench" }

// Active implements prewarm.Source.
func (e everybody) Active(context.Context, time.Time) iter.Seq2[prewarm.User, error] {
	now := time.Now()
	return func(yield func(prewarm.User, error) bool) {
		for _, id := range e.ids {
			if !yield(prewarm.User{ID: id, LastActive: now}, nil) {
				return
			}
		}
	}
}

const (
	// warmEvery is the pause between two looks how far a prewarm is, warmWithin how long it may
	// take.
	warmEvery  = 5 * time.Millisecond
	warmWithin = 5 * time.Minute
)

// over are the states of a run that has ended.
var over = []prewarm.State{prewarm.Done, prewarm.Cancelled, prewarm.Failed}

var errWarm = errors.New("the prewarm did not bring all users")

// prewarmOnce has a new node load everybody.
func (w *world) prewarmOnce(ctx context.Context) error {
	n, err := w.node(ctx, node.Config{Tier: tier.Config{L1Bytes: w.l1Bytes()}})
	if err != nil {
		return err
	}
	defer n.Close()
	run, err := n.BeginPrewarm(ctx, prewarm.Options{MaxUsers: len(w.ids), Unlimited: true, Sources: []prewarm.Source{everybody{w.ids}}})
	if err != nil {
		return err
	}
	t := time.NewTicker(warmEvery)
	defer t.Stop()
	for end := time.Now().Add(warmWithin); time.Now().Before(end); {
		select {
		case <-t.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		s, err := n.PrewarmStatus(ctx)
		if err != nil {
			return err
		}
		if s.Run != run || !slices.Contains(over, s.State) {
			continue
		}
		if s.State != prewarm.Done || s.Errors > 0 {
			return fmt.Errorf("%w: run %s is %s: %s, %d errors", errWarm, s.Run, s.State, s.Error, s.Errors)
		}
		return nil
	}
	return fmt.Errorf("%w within %v", errWarm, warmWithin)
}
