package tier

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// lookups counts the lookups that were timed, by who answered.
func lookups(c *Cache) map[look.Tier]int {
	n := map[look.Tier]int{}
	for _, l := range c.Lookups() {
		n[l.Tier]++
	}
	return n
}

// Nothing is timed while nobody watches; then each miss is, and one in 64 hits.
func TestLookupsAreTimedWhileSomebodyWatches(t *testing.T) {
	origin := newTruth(100)
	c := newCache(t, redistest.Server(t).URL(), origin, nil)
	get := func(id string) error { _, err := c.Get(t.Context(), id); return err }
	if err := get("1"); err != nil || len(c.Lookups()) != 0 {
		t.Fatalf("nobody watches: %v, %d timed", err, len(c.Lookups()))
	}
	stop := c.SampleLookups()
	origin.before = func(context.Context, string) error { time.Sleep(2 * time.Millisecond); return nil }
	for id := 2; id <= 51; id++ {
		if err := get(strconv.Itoa(id)); err != nil {
			t.Fatal(err)
		}
	}
	if err := get("unknown"); !errors.Is(err, profile.ErrNotFound) {
		t.Fatal(err)
	}
	if err := get("not an id"); !errors.Is(err, profile.ErrInvalidID) {
		t.Fatal(err)
	}
	seen := c.Lookups()
	if len(seen) != 51 || seen[0].ID != "2" || !seen[50].Absent || seen[50].Tier != look.FromNone {
		t.Fatalf("%d timed, the first %+v, the last %+v", len(seen), seen[0], seen[len(seen)-1])
	}
	for _, l := range seen[:50] {
		if l.Tier != look.FromOrigin || l.Took < 2*time.Millisecond || time.Since(l.At) > time.Minute {
			t.Errorf("%+v", l)
		}
	}
	for range 6400 {
		if err := get("2"); err != nil {
			t.Fatal(err)
		}
	}
	if n := lookups(c)[look.FromL1]; n < 90 || n > 110 {
		t.Errorf("%d of 6400 hits were timed, want about 100", n)
	}
	if s := c.Stats(); s.L1Hits != 6400 || s.L1Misses != 53 {
		t.Errorf("%d hits and %d misses, want 6400 and 53", s.L1Hits, s.L1Misses)
	}
	stop()
	stop()
	before := len(c.Lookups())
	_ = get("60")
	if after := len(c.Lookups()); after != before {
		t.Errorf("nobody watches any more, and %d were timed", after-before)
	}
}

// A batch's misses are timed, and the ring keeps the last lookups, in order.
func TestTheLastLookupsAreKept(t *testing.T) {
	c := newCache(t, redistest.Server(t).URL(), newTruth(3), nil)
	defer c.SampleLookups()()
	if _, err := c.BatchGet(t.Context(), []string{"1", "2", "3", "x"}, Want{}); err != nil {
		t.Fatal(err)
	}
	seen := c.Lookups()
	if len(seen) != 4 || seen[1].ID != "2" || seen[1].Tier != look.FromOrigin || !seen[3].Absent {
		t.Fatalf("of a batch: %+v", seen)
	}
	for i := range look.MaxLookups - 2 {
		c.samples.add(look.Lookup{ID: strconv.Itoa(i)})
	}
	seen = c.Lookups()
	if len(seen) != look.MaxLookups || seen[0].ID != "3" || seen[2].ID != "0" || seen[look.MaxLookups-1].ID != strconv.Itoa(look.MaxLookups-3) {
		t.Fatalf("%d kept, from %q to %q", len(seen), seen[0].ID, seen[len(seen)-1].ID)
	}
	again := c.SampleLookups()
	again()
	if len(c.Lookups()) != look.MaxLookups {
		t.Error("a second watcher made the first one's lookups be forgotten")
	}
}

// While a batch waits for the origin, its misses are not yet taken from the hits.
func TestABatchUnderWayCountsNoHits(t *testing.T) {
	origin := newTruth(3)
	c := newCache(t, redistest.Server(t).URL(), origin, nil)
	var during Stats
	origin.before = func(context.Context, string) error {
		during = c.Stats()
		return nil
	}
	if _, err := c.BatchGet(t.Context(), []string{"1", "2", "3"}, Want{}); err != nil {
		t.Fatal(err)
	}
	if after := c.Stats(); during.L1Hits != 0 || after.L1Hits != 0 || after.L1Misses != 3 {
		t.Errorf("during it %d hits, after it %d hits and %d misses", during.L1Hits, after.L1Hits, after.L1Misses)
	}
}
