package tier

import (
	"strconv"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// News ends by time, whether or not anything is learned after it, and nothing older that is learned
// prolongs it.
func TestNewsEnds(t *testing.T) {
	const second = int64(time.Second)
	r := newRecent()
	r.learn("hint", 9, 1)
	r.learn("hint", 5, 40*second)
	for at, want := range map[int64]int64{2: 9, 60 * second: 9, 61 * second: 0, 1000 * second: 0} {
		if got := r.floor("hint", at); got != want {
			t.Errorf("%v after the news: %d; want %d", time.Duration(at), got, want)
		}
	}
	r.learn("hint", 6, 70*second)
	if got := r.floor("hint", 71*second); got != 6 {
		t.Errorf("news after the end of the first: %d; want 6", got)
	}
	r.learn("other", 1, 140*second) // a new generation
	if got := r.floor("hint", 131*second); got != 0 {
		t.Errorf("a minute after the second: %d", got)
	}
	r.learn("twice", 3, 141*second)
	r.learn("third", 1, 202*second)
	r.learn("twice", 2, 200*second)
	if got := r.floor("twice", 200*second); got != 3 {
		t.Errorf("with an older version in the newer generation: %d; want 3", got)
	}
}

// A cache vouches for what the origin answers only when it was told of all changes for a minute,
// and still knows of them.
func TestWhoWasToldOfAllChanges(t *testing.T) {
	const minute = int64(recentFor)
	for name, c := range map[string]struct {
		fed, flushed, until, since, at int64
		want                           bool
	}{
		"a minute and more":       {fed: 1, until: 2 * minute, at: minute + 2, want: true},
		"less than a minute":      {fed: 1, until: 2 * minute, at: minute},
		"never":                   {until: 2 * minute, at: minute + 2},
		"fenced":                  {fed: 1, until: minute, at: minute + 2},
		"flushed meanwhile":       {fed: 1, flushed: 3, until: 2 * minute, at: minute + 2},
		"flushed before":          {fed: 1, flushed: 3, until: 2 * minute, at: minute + 4, want: true},
		"had no room for all":     {fed: 1, until: 2 * minute, since: 3, at: minute + 2},
		"had no room before that": {fed: 1, until: 2 * minute, since: 3, at: minute + 4, want: true},
	} {
		cache := &Cache{recent: newRecent()}
		cache.fence.fed.Store(c.fed)
		cache.flushed.Store(c.flushed)
		cache.fence.until.Store(c.until)
		cache.recent.since = c.since
		if got := cache.toldAll(c.at); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	r := newRecent()
	for n := range maxRecent + 1 {
		r.learn(strconv.Itoa(n), 1, minute+int64(n))
	}
	if at := 2 * minute; !r.whole(at) {
		t.Error("one generation is full, and nothing is forgotten")
	}
	for n := range maxRecent + 1 {
		r.learn("more "+strconv.Itoa(n), 1, minute+int64(maxRecent+n))
	}
	if at := 2 * minute; r.whole(at) {
		t.Error("a generation was forgotten before its time, and the memory counts as whole")
	}
}

// A node that has not heard of a change, as it has just started, does not take for fresh what an
// origin that lags answers.
func TestLaggingOriginIsNotBelievedTooEarly(t *testing.T) {
	origin := newTruth(1)
	server := redistest.Server(t)
	c := newCache(t, server.URL(), origin, nil)
	_, err := c.l2.Apply(t.Context(), user("1", 2))
	check(t, err)
	check(t, server.Client().Del(t.Context(), profile.Key("1")).Err()) // evicted
	for range 2 {
		if r := get(t, c, "1", Want{}); r.Tier != look.FromStale {
			t.Errorf("version %d from %v; want it marked stale", r.Version(), r.Tier)
		}
	}
	origin.set(user("1", 2))
	if r := get(t, c, "1", Want{}); r.Version() != 2 || r.Tier != look.FromOrigin {
		t.Errorf("once the origin has it: version %d from %v", r.Version(), r.Tier)
	}
}
