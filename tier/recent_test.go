package tier

import (
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
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

// What raised a floor that the origin is below is believed for most of a minute: the origin may
// lag. Then the origin is, and the next change is taken, though it is below that floor as well.
func TestFloorGivesWayToTheOrigin(t *testing.T) {
	s, l := onRedis(t, L2Config{})
	id := s.id(t)
	guard := keys(id)[1]
	raised := func(ago time.Duration) {
		check(t, s.client.HSet(t.Context(), guard, "floor", 50).Err())
		check(t, s.client.PExpire(t.Context(), guard, 10*time.Minute-ago).Err())
	}
	raised(45 * time.Second)
	if err := fillOne(t, l, id, beginOne(t, l, id, 0).token, user(id, 10)); err == nil {
		t.Error("a floor of 45 s ago gives way")
	}
	raised(51 * time.Second)
	check(t, fillOne(t, l, id, beginOne(t, l, id, 0).token, user(id, 10)))
	if ttl := must[time.Duration](t)(s.client.PTTL(t.Context(), keys(id)[0]).Result()); ttl > 10*time.Minute {
		t.Errorf("the record is kept for %v; want no longer than the guard", ttl)
	}
	if !must[bool](t)(l.Apply(t.Context(), user(id, 20))) {
		t.Error("the next change, 20, is refused")
	}
	if p := stored(t, l, id); p == nil || p.UpdatedAt != 20 {
		t.Errorf("stored %+v; want version 20", p)
	}
	raised(51 * time.Second)
	v := beginOne(t, l, id, 99)
	if err := fillOne(t, l, id, v.token, user(id, 10)); err == nil {
		t.Error("what is older than the record itself takes its place")
	}
}

// A node that has not heard of a change, as it has just started, does not take for fresh what an
// origin that lags answers.
func TestLaggingOriginIsNotBelievedTooEarly(t *testing.T) {
	origin := newTruth(1)
	c := newCache(t, redistest.Server(t).URL(), origin, nil)
	_, err := c.l2.Apply(t.Context(), user("1", 2))
	check(t, err)
	check(t, c.l2.client.Del(t.Context(), keys("1")[0]).Err()) // evicted
	for range 2 {
		if r := get(t, c, "1", Want{}); r.Tier != FromStale {
			t.Errorf("version %d from %v; want it marked stale", r.Version(), r.Tier)
		}
	}
	origin.set(user("1", 2))
	if r := get(t, c, "1", Want{}); r.Version() != 2 || r.Tier != FromOrigin {
		t.Errorf("once the origin has it: version %d from %v", r.Version(), r.Tier)
	}
}
