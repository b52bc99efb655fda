package tier

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

// TestTimesAreCountedByWhoAnswered has each tier answer.
func TestTimesAreCountedByWhoAnswered(t *testing.T) {
	server, origin := redistest.Server(t), newTruth(9)
	c := newCache(t, server.URL(), origin, nil)
	get(t, c, "1", Want{})
	c.Flush()
	get(t, c, "1", Want{})
	eventually(t, "the entry to be in memory", func() bool { return c.l1.peek(c.l1.hash("1")) != nil })
	for range 4 * sampleEvery {
		if _, err := c.Get(t.Context(), "1"); err != nil {
			t.Fatal(err)
		}
	}
	origin.before = func(context.Context, string) error { return errors.New("out of order") }
	if _, err := c.Get(t.Context(), "2"); err == nil {
		t.Fatal("the origin fails, and there is no error")
	}
	got := c.Times()
	for from, most := range map[string][2]uint64{"L1": {2 * sampleEvery, 6 * sampleEvery}, "L2": {1, 1}, "origin": {1, 1}, "none": {1, 1}, "stale": {0, 0}} {
		if n := got.Lookups[from].Count; n < most[0] || n > most[1] {
			t.Errorf("%d lookups were answered by %s; want %d to %d", n, from, most[0], most[1])
		}
	}
	if got.Origin.Count != 1 || got.OriginFailed.Count != 1 || got.Redis.Count < 4 {
		t.Errorf("%d calls of the origin, %d that failed, %d round trips; want 1, 1, and some", got.Origin.Count, got.OriginFailed.Count, got.Redis.Count)
	}
	if got.Redis.Quantile(0.5) <= 0 || got.Lookups["L1"].Quantile(0.5) > 0.01 {
		t.Errorf("half of the round trips took %g s, half of the hits %g s", got.Redis.Quantile(0.5), got.Lookups["L1"].Quantile(0.5))
	}
}

// traceKey is under which a context of these tests has the id of a trace.
type traceKey struct{}

// TestLookupsHaveExemplars looks users up in and without a trace.
func TestLookupsHaveExemplars(t *testing.T) {
	c := newCache(t, redistest.Server(t).URL(), newTruth(9), func(conf *Config) {
		conf.TraceID = func(ctx context.Context) string {
			id, _ := ctx.Value(traceKey{}).(string)
			return id
		}
	})
	if _, err := c.Get(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	if got := c.Times().Lookups["origin"]; got.Count != 1 || len(got.Exemplars) != 0 {
		t.Errorf("of a lookup without a trace: %+v", got.Exemplars)
	}
	if _, err := c.Get(context.WithValue(t.Context(), traceKey{}, "4bf9"), "2"); err != nil {
		t.Fatal(err)
	}
	if got := c.Times().Lookups["origin"]; got.Count != 2 || len(got.Exemplars) != 1 || got.Exemplars[0].Trace != "4bf9" || got.Exemplars[0].Took <= 0 {
		t.Errorf("of a lookup in a trace: %+v", got.Exemplars)
	}
}

// TestOriginErrorsCountCalls has one call fail for three users.
func TestOriginErrorsCountCalls(t *testing.T) {
	origin := newTruth(3)
	c := newCache(t, redistest.Server(t).URL(), origin, nil)
	origin.before = func(context.Context, string) error { return errors.New("out of order") }
	if _, err := c.BatchGet(t.Context(), []string{"1", "2", "3"}, Want{}); err != nil {
		t.Fatal(err)
	}
	if s := c.Stats(); s.OriginCalls != 1 || s.OriginErrors != 1 || s.OriginUnanswered != 3 || s.OriginLoads != 3 {
		t.Errorf("%+v; want one call, which failed, and three ids without an answer", s)
	}
}

// TestEntriesAreCounted fills a small memory beyond its size, refreshes, invalidates and flushes.
func TestEntriesAreCounted(t *testing.T) {
	const users = 4000
	origin := newTruth(users)
	c := newCache(t, redistest.Server(t).URL(), origin, func(conf *Config) { conf.L1Bytes = 1 << 20 })
	ids := make([]string, users)
	for i := range ids {
		ids[i] = strconv.Itoa(i + 1)
	}
	held := func() (n int64) {
		for _, id := range ids {
			if c.l1.holds(c.l1.hash(id)) {
				n++
			}
		}
		return n
	}
	same := func(when string) {
		t.Helper()
		c.l1.drain()
		if got, want := c.Stats().L1Entries, held(); got != want {
			t.Errorf("%s: %d entries are counted, %d are held", when, got, want)
		}
	}
	for from := 0; from < users; from += 100 {
		_, err := c.BatchGet(t.Context(), ids[from:from+100], Want{})
		check(t, err)
		c.l1.drain()
	}
	same("full")
	if s := c.Stats(); s.L1Evictions == 0 || s.L1Entries < 500 || c.Times().Evicted.Count != s.L1Evictions {
		t.Errorf("%d evictions, %d entries, %d ages", s.L1Evictions, s.L1Entries, c.Times().Evicted.Count)
	}
	for _, id := range ids[:100] {
		c.Refresh(user(id, 2))
		c.Forget(id, 3)
	}
	same("after refreshes and invalidations")
	evicted := c.Stats().L1Evictions
	c.Flush()
	same("flushed")
	if s := c.Stats(); s.L1Entries != 0 || s.L1Evictions != evicted {
		t.Errorf("a flush leaves %d entries, and counts %d evictions; %d before", s.L1Entries, s.L1Evictions, evicted)
	}
}
