package tier

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// whyRig is what the cases of TestWhyForetellsTheRead bring about.
type whyRig struct {
	t      *testing.T
	cache  *Cache
	origin *truth
	redis  redis.UniversalClient
	url    string
	link   *redistest.Proxy
}

// read has user 1 read once.
func (r *whyRig) read() { get(r.t, r.cache, "1", Want{}) }

// inMemory waits until memory alone shows the entry of user 1.
func (r *whyRig) inMemory() {
	h := r.cache.l1.hash("1")
	eventually(r.t, "the entry to be in memory alone", func() bool {
		ended, _ := r.cache.flights.look(h, r.cache.l1.stamps.of(h))
		return ended == nil && r.cache.l1.peek(h) != nil
	})
}

// age moves the entry of user 1 back in time.
func (r *whyRig) age(by time.Duration) {
	h := r.cache.l1.hash("1")
	r.inMemory()
	old := r.cache.l1.peek(h)
	e := newEntry(&old.profile)
	e.pair, e.check, e.loaded, e.refreshAt = old.pair, old.check, old.loaded-int64(by), old.refreshAt-int64(by)
	r.cache.l1.free(h)
	if !r.cache.l1.set(h, e) {
		r.t.Fatal("the entry was not taken")
	}
	r.cache.l1.drain()
}

// fence has the stream fall silent, long enough ago that an entry from the origin counts no more.
func (r *whyRig) fence() {
	r.cache.fence.until.Store(0)
	r.age(r.cache.conf.FenceAfter)
}

// fail has the origin fail.
func (r *whyRig) fail() {
	r.origin.before = func(context.Context, string) error { return errors.New("out of order") }
}

// TestWhyForetellsTheRead has Why say what a read would be answered, and then reads.
func TestWhyForetellsTheRead(t *testing.T) {
	server, db := redistest.Server(t), 0
	for name, c := range map[string]struct {
		bring   func(*whyRig)
		state   look.CopyState
		from    string
		version int64
		because string
	}{
		"nobody has read the user": {func(*whyRig) {}, look.CopyNone, "origin", 1, "memory holds nothing of the user; Redis has no record"},
		"a copy":                   {(*whyRig).read, look.CopyValid, "L1", 1, "no news of the user since"},
		"a copy that was flushed": {func(r *whyRig) { r.read(); r.cache.Flush() }, look.CopyNone, "L2", 1,
			"everything was flushed"},
		"a copy that news ended": {func(r *whyRig) { r.read(); r.inMemory(); r.cache.l1.stamps.bump(r.cache.l1.hash("1")) }, look.CopyInvalidated, "L2", 1,
			"ended by news of the user; Redis has the record"},
		"a copy that has expired": {func(r *whyRig) { r.read(); r.age(time.Hour) }, look.CopyExpired, "L2", 1, "expired"},
		"a fenced node":           {func(r *whyRig) { r.read(); r.fence() }, look.CopyFenced, "L2", 1, "fenced"},
		"news that Redis does not have": {func(r *whyRig) { r.read(); r.origin.set(user("1", 9)); r.cache.Forget("1", 9) }, look.CopyNone, "origin", 9,
			"version 1, is older than the news, 9"},
		"a hint": {func(r *whyRig) { r.read(); r.cache.Heed("1", Hint{Order: "7"}) }, look.CopyNone, "origin", 1,
			"another service said something"},
		"a record of another service": {func(r *whyRig) { r.foreign("fullName", "avatar", "matricule", "ministere", "sexe") }, look.CopyNone, "L2", 5,
			"which another service wrote"},
		"a part of a record": {func(r *whyRig) { r.foreign("fullName") }, look.CopyNone, "origin", 1, "lacks a field"},
		"a key of another type": {func(r *whyRig) { check(r.t, r.redis.Set(r.t.Context(), profile.Key("1"), "x", 0).Err()) },
			look.CopyNone, "origin", 1, "does not decode"},
		"an origin that is out of order": {func(r *whyRig) { r.fail() }, look.CopyNone, "none", 0, "no copy that may be shown"},
		"a copy, and nobody else": {func(r *whyRig) {
			r.read()
			r.fence()
			check(r.t, r.redis.Del(r.t.Context(), profile.Key("1")).Err())
			r.fail()
		}, look.CopyFenced, "stale", 1, "the copy in memory is shown"},
	} {
		t.Run(name, func(t *testing.T) {
			db++
			r := whyRigOn(t, server.Addr, db)
			c.bring(r)
			w, err := r.cache.Why(t.Context(), "1")
			check(t, err)
			if w.Memory.State != c.state || w.Read.Tier != c.from || w.Read.Version != c.version || !strings.Contains(w.Read.Because, c.because) {
				t.Errorf("memory is %s, a read would be answered by %+v; want %s, %s, version %d, %q",
					w.Memory.State, w.Read, c.state, c.from, c.version, c.because)
			}
			got, err := r.cache.Get(t.Context(), "1")
			if err != nil {
				got = Result{Profile: &profile.Profile{}}
			}
			if got.Tier.String() != w.Read.Tier || got.Version() != w.Read.Version {
				t.Errorf("the read is answered by %v, version %d, %v; foretold was %+v", got.Tier, got.Version(), err, w.Read)
			}
		})
	}
}

// foreign has another service write some of the plain fields, and a version.
func (r *whyRig) foreign(fields ...string) {
	values := []any{"updatedAt", 5}
	for _, f := range fields {
		values = append(values, f, "x")
	}
	check(r.t, r.redis.HSet(r.t.Context(), profile.Key("1"), values...).Err())
}

func newWhyRig(t *testing.T) *whyRig { return whyRigOn(t, redistest.Server(t).Addr, 0) }

// whyRigOn is a rig in one of the databases of a server.
func whyRigOn(t *testing.T, addr string, db int) *whyRig {
	r := &whyRig{t: t, origin: newTruth(1), link: redistest.ProxyTo(t, addr)}
	r.url = fmt.Sprintf("redis://%s/%d", r.link.Addr, db)
	r.redis = open(t, r.url)
	r.cache = newCache(t, r.url, r.origin, func(c *Config) { c.FenceAfter = time.Minute })
	r.cache.Alive(0)
	return r
}

// TestWhyTellsOfAbsence looks at a user that nobody knows, before and after Redis and memory do.
func TestWhyTellsOfAbsence(t *testing.T) {
	r := newWhyRig(t)
	for _, from := range []string{"origin", "L1"} {
		w, err := r.cache.Why(t.Context(), "404")
		check(t, err)
		if !w.Read.Missing || w.Read.Tier != from || !w.Origin.Absent {
			t.Errorf("%+v; want that there is no such user, from %s", w, from)
		}
		if _, err := r.cache.Get(t.Context(), "404"); !errors.Is(err, profile.ErrNotFound) {
			t.Fatal(err)
		}
		r.cache.l1.drain()
	}
	r.cache.Flush()
	if w, err := r.cache.Why(t.Context(), "404"); err != nil || !w.Read.Missing || w.Read.Tier != "L2" || w.Redis.Absent == 0 {
		t.Errorf("after a flush: %+v, %v; want that Redis knows", w, err)
	}
}

// TestWhyTellsOfALease has another node load the user.
func TestWhyTellsOfALease(t *testing.T) {
	r := newWhyRig(t)
	other := newCache(t, r.url, r.origin, nil)
	inside, on := make(chan struct{}), make(chan struct{})
	r.origin.before = func(context.Context, string) error {
		r.origin.before = nil
		close(inside)
		<-on
		return nil
	}
	go func() { _, _ = other.Get(context.Background(), "1") }()
	<-inside
	defer close(on)
	w, err := r.cache.Why(t.Context(), "1")
	check(t, err)
	if w.Redis.Lease == nil || w.Redis.Lease.Own || w.Redis.Lease.Left < 1 || !strings.Contains(w.Read.Because, "another node is loading it") {
		t.Errorf("%+v %+v; want the lease of another node", w.Read, w.Redis)
	}
	if w, err := other.Why(t.Context(), "1"); err != nil || !w.Loading || w.Redis.Lease == nil || !w.Redis.Lease.Own {
		t.Errorf("%+v, %v; want a lease of its own, and that it loads", w, err)
	}
}

// TestWhyChangesNothing compares Redis, and what the node counts of its tiers, before and after.
func TestWhyChangesNothing(t *testing.T) {
	r := newWhyRig(t)
	r.read()
	check(t, r.redis.Set(t.Context(), profile.Key("2"), "of another type", 0).Err())
	contents := func() map[string]string {
		all, err := redistest.Contents(t.Context(), r.redis)
		check(t, err)
		return all
	}
	counts := func() Stats {
		s := r.cache.Stats()
		s.OriginCalls, s.OriginLoads = 0, 0 // Why asks
		return s
	}
	stored, counted := contents(), counts()
	for _, id := range []string{"1", "2", "3"} {
		_, err := r.cache.Why(t.Context(), id)
		check(t, err)
	}
	if now := contents(); !maps.Equal(now, stored) {
		t.Errorf("Redis was %v, and is %v", stored, now)
	}
	if now := counts(); now != counted {
		t.Errorf("the node had counted %+v, and now %+v", counted, now)
	}
	if _, err := r.cache.Why(t.Context(), "a b"); !errors.Is(err, profile.ErrInvalidID) {
		t.Errorf("an id that is none: %v", err)
	}
}

// TestWhyWithoutRedis has Redis hang: Why is back within its bound, and says so.
func TestWhyWithoutRedis(t *testing.T) {
	r := newWhyRig(t)
	r.link.BlackHole(true)
	w, err := r.cache.Why(t.Context(), "1")
	check(t, err)
	if w.RedisError == "" || w.Read.Tier != "origin" || !strings.Contains(w.Read.Because, "Redis does not answer") {
		t.Errorf("%+v %q; want the origin, because Redis does not answer", w.Read, w.RedisError)
	}
}

// What a store on disk would answer is foretold, too.
func TestWhyKnowsTheStore(t *testing.T) {
	for name, c := range map[string]struct {
		bring   func(*Cache, *truth)
		state   look.CopyState
		from    string
		because string
	}{
		"a copy":     {func(*Cache, *truth) {}, look.CopyValid, "L1.5", "the store on disk holds it"},
		"nothing":    {func(c *Cache, _ *truth) { c.store.Delete("1") }, look.CopyNone, "L2", "Redis has the record"},
		"news of it": {func(c *Cache, o *truth) { o.set(user("1", 2)); c.recent.learn("1", 2, c.clock.tick()) }, look.CopyValid, "origin", "older than the news"},
		"fenced":     {func(c *Cache, _ *truth) { c.store.caughtUp.Store(false) }, look.CopyFenced, "L2", "Redis has the record"},
		"nobody else": {func(c *Cache, o *truth) {
			c.store.caughtUp.Store(false)
			check(t, c.l2.Invalidate(t.Context(), "1"))
			o.before = func(context.Context, string) error { return errors.New("down") }
		}, look.CopyFenced, "stale", "the copy on disk is shown"},
	} {
		t.Run(name, func(t *testing.T) {
			origin := newTruth(1)
			cache := withStore(t, redistest.Server(t).URL(), origin, openStore(t, t.TempDir()), nil)
			ask(t, cache, "1")
			settled(t, cache)
			cache.forgetMemory()
			c.bring(cache, origin)
			w, err := cache.Why(t.Context(), "1")
			check(t, err)
			if w.Store == nil || w.Store.State != c.state || w.Read.Tier != c.from || !strings.Contains(w.Read.Because, c.because) {
				t.Errorf("the store is %+v, a read would be answered by %+v; want %s, %s, %q", w.Store, w.Read, c.state, c.from, c.because)
			}
			got, err := cache.Get(t.Context(), "1")
			if err != nil || got.Tier.String() != w.Read.Tier || got.Version() != w.Read.Version {
				t.Errorf("the read is answered by %v, version %d, %v; foretold was %+v", got.Tier, got.Version(), err, w.Read)
			}
		})
	}
}
