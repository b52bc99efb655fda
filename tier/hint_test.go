package tier

import (
	"context"
	"errors"
	"testing"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// TestLastHintCounts has a stream go back to lower ids: what was heard last is what the origin must
// be asked for, and an answer to another hint does not do.
func TestLastHintCounts(t *testing.T) {
	before, after := &Hint{Order: "b"}, &Hint{Order: "a"}
	h := newHints()
	h.learn("1", before, 0)
	h.learn("1", after, 1)
	if got := h.last("1", 2); got != after {
		t.Errorf("the last hint is %+v, want %+v", got, after)
	}
	h.answered("1", before)
	if got := h.last("1", 2); got != after {
		t.Errorf("after an answer to the one before: %+v, want %+v", got, after)
	}
	h.learn("2", after, int64(hintFor)+3) // the next generation
	h.answered("1", after)
	if got := h.last("1", 2); got != nil {
		t.Errorf("after its answer: %+v, want none", got)
	}
}

// TestHintThatRedisWasNotToldOf has the origin say, while Redis hangs, that there is no such user.
// Redis still has the record from before the hint, which must not be shown when it is back.
func TestHintThatRedisWasNotToldOf(t *testing.T) {
	server, origin := redistest.Server(t), newTruth(2)
	link := redistest.ProxyTo(t, server.Addr)
	c := newCache(t, "redis://"+link.Addr, origin, nil)
	get(t, c, "1", Want{})
	origin.mu.Lock()
	delete(origin.profiles, "1")
	origin.mu.Unlock()
	link.BlackHole(true)
	c.Heed("1", Hint{Order: "1"})
	if r, err := c.Get(t.Context(), "1"); !errors.Is(err, profile.ErrNotFound) {
		t.Fatalf("with Redis silent: %+v from %v, %v", r.Profile, r.Tier, err)
	}
	link.BlackHole(false)
	link.Reset()
	eventually(t, "Redis to be back", func() bool { return !c.l2.Down() && c.l2.Ping(t.Context()) == nil })
	c.Flush()
	if r, err := c.Get(t.Context(), "1"); !errors.Is(err, profile.ErrNotFound) {
		t.Errorf("with Redis back: %+v from %v, %v", r.Profile, r.Tier, err)
	}
}

// TestFallbackEndsWithTheNews has a deletion announced while the origin is asked about a record of
// another service, and then the origin fail.
func TestFallbackEndsWithTheNews(t *testing.T) {
	server, origin := redistest.Server(t), newTruth(1)
	c := newCache(t, server.URL(), origin, nil)
	check(t, server.Client().HSet(t.Context(), profile.Key("1"), "fullName", "Of Others").Err())
	fail := errors.New("the origin is down")
	origin.before = func(context.Context, string) error { return fail }
	if r := get(t, c, "1", Want{}); r.Tier != look.FromStale || r.Profile.FullName != "Of Others" {
		t.Errorf("%+v from %v; want the record, marked stale", r.Profile, r.Tier)
	}
	origin.before = func(context.Context, string) error {
		c.Forget("1", 9)
		return fail
	}
	if r, err := c.Get(t.Context(), "1"); !errors.Is(err, profile.ErrUnavailable) {
		t.Errorf("deleted meanwhile: %+v from %v, %v", r.Profile, r.Tier, err)
	}
}
