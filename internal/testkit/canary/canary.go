// Package canary tells a slow machine from a slow cache. A canary asks all the time how late it is
// woken, and how long an entry takes through a Redis of its own, which no fault of a test touches.
// A bound in time is judged as it stands; only a breach is held against what the canary saw between
// the beginning and the end of that one window.
package canary

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

const (
	// Grain is the lateness that a quiet machine may have: up to it nothing counts as a stall.
	Grain = 10 * time.Millisecond
	// attempts is how often a test is tried whose windows are inconclusive.
	attempts = 3

	every = 2 * time.Millisecond
	key   = "canary"
)

// stall is a time in which a watcher got nothing done.
type stall struct{ from, to time.Time }

// watcher does one small thing again and again, and notes when it took too long.
type watcher struct {
	mu     sync.Mutex
	due    time.Time // of what it does now; zero between two
	stalls []stall   // by time
}

// Canary is the watchers of one test. Its methods may be called concurrently. Nil is a canary that
// sees no stall.
type Canary struct {
	watchers []*watcher

	mu           sync.Mutex
	excused      int
	worst        time.Duration
	inconclusive []string
}

// Start starts a canary that lives until the test ends.
func Start(t testing.TB) *Canary {
	t.Helper()
	server := redistest.Server(t)
	c := &Canary{}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, watch := range []func(context.Context, *watcher){wake, wake, through(server.Client())} {
		w := &watcher{}
		c.watchers = append(c.watchers, w)
		running.Go(func() { watch(ctx, w) })
	}
	t.Cleanup(func() {
		cancel()
		running.Wait()
		t.Log(c)
	})
	return c
}

// wake asks to be woken.
func wake(ctx context.Context, w *watcher) {
	for ctx.Err() == nil {
		w.begin(time.Now().Add(every))
		time.Sleep(every)
		w.end()
	}
}

// through sends entries through a stream.
func through(client *redis.Client) func(context.Context, *watcher) {
	return func(ctx context.Context, w *watcher) {
		for last := "0"; ctx.Err() == nil; time.Sleep(every) {
			w.begin(time.Now())
			add := &redis.XAddArgs{Stream: key, MaxLen: 100, Approx: true, Values: []any{"n", 1}}
			id, err := client.XAdd(ctx, add).Result()
			if err == nil {
				read := &redis.XReadArgs{Streams: []string{key, last}, Block: time.Second}
				err = client.XRead(ctx, read).Err()
				last = id
			}
			w.end()
			if err != nil {
				return
			}
		}
	}
}

func (w *watcher) begin(due time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.due = due
}

func (w *watcher) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); now.Sub(w.due) > Grain {
		w.stalls = append(w.stalls, stall{w.due, now})
	}
	w.due = time.Time{}
}

// within appends the watcher's stalls between two times, what lasts now included.
func (w *watcher) within(from, to time.Time, all []stall) []stall {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); !w.due.IsZero() && now.Sub(w.due) > Grain {
		all = clip(stall{w.due, now}, from, to, all)
	}
	for _, s := range slices.Backward(w.stalls) {
		if s.to.Before(from) {
			break
		}
		all = clip(s, from, to, all)
	}
	return all
}

func clip(s stall, from, to time.Time, all []stall) []stall {
	if s.from.Before(from) {
		s.from = from
	}
	if s.to.After(to) {
		s.to = to
	}
	if s.from.Before(s.to) {
		all = append(all, s)
	}
	return all
}

// Stall is for how long between two times a watcher at least got nothing done. What several missed
// at once counts once.
func (c *Canary) Stall(from, to time.Time) (sum time.Duration) {
	if c == nil {
		return 0
	}
	var all []stall
	for _, w := range c.watchers {
		all = w.within(from, to, all)
	}
	slices.SortFunc(all, func(a, b stall) int { return a.from.Compare(b.from) })
	end := from
	for _, s := range all {
		if s.from.Before(end) {
			s.from = end
		}
		if s.from.Before(s.to) {
			sum += s.to.Sub(s.from)
			end = s.to
		}
	}
	return sum
}

// Excuses reports whether what was to end within bound of from, and ended at to, was held up by the
// machine: without the stalls of that window it would have kept the bound. A window that was
// stalled for longer than the bound proves nothing either way; it is excused, and named by
// Inconclusive.
func (c *Canary) Excuses(what string, from, to time.Time, bound time.Duration) bool {
	if !to.After(from.Add(bound)) {
		return true
	}
	stalled := c.Stall(from, to)
	if stalled == 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.worst = max(c.worst, stalled)
	if stalled > bound {
		c.inconclusive = append(c.inconclusive, fmt.Sprintf("%s: %v instead of %v, stalled for %v of it",
			what, to.Sub(from), bound, stalled))
		return true
	}
	if to.Sub(from)-stalled > bound {
		return false
	}
	c.excused++
	return true
}

// Within fails the test if more than bound has gone by since from, unless that is excused.
func (c *Canary) Within(t testing.TB, what string, from time.Time, bound time.Duration) {
	t.Helper()
	if now := time.Now(); !c.Excuses(what, from, now, bound) {
		t.Errorf("%s: took %v; want at most %v", what, now.Sub(from), bound)
	}
}

// Inconclusive is what could not be judged: how often, and the first of it.
func (c *Canary) Inconclusive() (times int, first string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.inconclusive) == 0 {
		return 0, ""
	}
	return len(c.inconclusive), c.inconclusive[0]
}

// String is one line for a test's log.
func (c *Canary) String() string {
	times, _ := c.Inconclusive()
	n, longest := 0, time.Duration(0)
	for _, w := range c.watchers {
		w.mu.Lock()
		n += len(w.stalls)
		for _, s := range w.stalls {
			longest = max(longest, s.to.Sub(s.from))
		}
		w.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf(
		"canary: %d stalls, the longest %v; excused %d windows, %d inconclusive, stalled for %v at most",
		n, longest.Round(time.Millisecond), c.excused, times, c.worst.Round(time.Millisecond))
}

// Judge runs a test whose bounds a canary watches. An attempt that passes, but has windows that
// prove nothing, is made again; the last one that proves nothing is a failure.
func Judge(t *testing.T, attempt func(*testing.T, *Canary)) {
	t.Helper()
	for n := range attempts {
		var c *Canary
		passed := t.Run(fmt.Sprint("attempt ", n+1), func(t *testing.T) {
			c = Start(t)
			attempt(t, c)
		})
		if !passed || c == nil {
			return
		}
		times, first := c.Inconclusive()
		if times == 0 {
			return
		}
		t.Logf("attempt %d is inconclusive: %d windows, first: %s", n+1, times, first)
	}
	t.Errorf("inconclusive %d times in a row: the machine is too busy for this test", attempts)
}
