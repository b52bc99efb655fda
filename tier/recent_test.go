package tier

import (
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
