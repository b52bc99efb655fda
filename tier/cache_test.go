package tier

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func get(t *testing.T, c *Cache, id string, w Want) Result {
	t.Helper()
	r, err := c.GetWith(t.Context(), id, w)
	if err != nil {
		t.Fatalf("get %q: %v", id, err)
	}
	if r.Profile.ID != id {
		t.Fatalf("get %q answered %q", id, r.Profile.ID)
	}
	return r
}

// getFrom reads until the answer comes from a tier: the engine of L1 applies its writes in its own
// time.
func getFrom(t *testing.T, c *Cache, id string, from look.Tier) (r Result) {
	t.Helper()
	eventually(t, "an answer from "+from.String(), func() bool { r = get(t, c, id, Want{}); return r.Tier == from })
	return r
}

func TestReadGoesThroughTheTiers(t *testing.T) {
	url, origin := redistest.Server(t).URL(), newTruth(3)
	a, b := newCache(t, url, origin, nil), newCache(t, url, origin, nil)
	if r := get(t, a, "1", Want{}); r.Tier != look.FromOrigin || r.Version() != 1 || r.Age != 0 {
		t.Errorf("first read: %v, version %d, age %v", r.Tier, r.Version(), r.Age)
	}
	r := getFrom(t, a, "1", look.FromL1)
	if back, err := profile.DecodeMsgpack(r.Packed()); err != nil || back.FullName != r.Profile.FullName {
		t.Errorf("packed bytes: %+v, %v", back, err)
	}
	if r := get(t, b, "1", Want{}); r.Tier != look.FromL2 {
		t.Errorf("first read on another node: %v, want L2", r.Tier)
	}
	if n := origin.timesAsked("1"); n != 1 {
		t.Errorf("the origin was asked %d times, want 1", n)
	}
	// At first the answer may come from the load that has just ended, which counts as joined.
	eventually(t, "a hit", func() bool { get(t, a, "1", Want{}); return a.Stats().L1Hits > 0 })
	s := a.Stats()
	if s.OriginLoads != 1 || s.OriginCalls != 1 || s.L1Bytes == 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestBadIDTouchesNoTier(t *testing.T) {
	origin := newTruth(0)
	c := newCache(t, redistest.Server(t).URL(), origin, nil)
	for _, id := range []string{"", "a b", "a/b", strings.Repeat("x", 129)} {
		if _, err := c.Get(t.Context(), id); !errors.Is(err, profile.ErrInvalidID) {
			t.Errorf("get %q: %v, want ErrInvalidID", id, err)
		}
	}
	if origin.calls.Load() != 0 {
		t.Error("the origin was asked for a bad id")
	}
}

func TestUnknownUserIsAskedForOnce(t *testing.T) {
	url, origin := redistest.Server(t).URL(), newTruth(0)
	a, b := newCache(t, url, origin, nil), newCache(t, url, origin, nil)
	for range 20 {
		for _, c := range []*Cache{a, b} {
			if _, err := c.Get(t.Context(), "nobody"); !errors.Is(err, profile.ErrNotFound) {
				t.Fatalf("get: %v, want ErrNotFound", err)
			}
		}
	}
	if n := origin.timesAsked("nobody"); n != 1 {
		t.Errorf("the origin was asked %d times, want 1", n)
	}
	origin.set(user("nobody", 7))
	if err := a.Put(t.Context(), user("nobody", 7)); err != nil {
		t.Fatal(err)
	}
	b.Forget("nobody", 7) // what the event does
	for _, c := range []*Cache{a, b} {
		if r := get(t, c, "nobody", Want{}); r.Version() != 7 {
			t.Errorf("after the user was created: version %d", r.Version())
		}
	}
}

// TestColdKeyIsLoadedOnceByTheCluster has 5,000 readers want one user at once.
func TestColdKeyIsLoadedOnceByTheCluster(t *testing.T) {
	for _, id := range []string{"1", "nobody"} {
		t.Run(id, func(t *testing.T) {
			canary.Judge(t, func(t *testing.T, bird *canary.Canary) { coldKeyIsLoadedOnce(t, bird, id) })
		})
	}
}

func coldKeyIsLoadedOnce(t *testing.T, bird *canary.Canary, id string) {
	const readers = 5000
	url, origin := redistest.Server(t).URL(), newTruth(1)
	origin.before = func(context.Context, string) error {
		<-time.After(50 * time.Millisecond) // a slow origin
		return nil
	}
	var nodes []*Cache
	for range 3 {
		nodes = append(nodes, newCache(t, url, origin, nil))
	}
	var wrong atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for i := range readers {
		wg.Go(func() {
			r, err := nodes[i%3].Get(t.Context(), id)
			if id == "1" && (err != nil || r.Profile.ID != "1") || id != "1" && !errors.Is(err, profile.ErrNotFound) {
				wrong.Add(1)
			}
		})
	}
	wg.Wait()
	for _, c := range nodes {
		_, _ = c.Get(t.Context(), id)
	}
	// A Redis that does not answer for a while is not waited for.
	if n := origin.timesAsked(id); n != 1 && !bird.Excuses("one call of the origin", began, time.Now(), 250*time.Millisecond) {
		t.Errorf("%d readers: the origin was asked %d times, want 1", readers, n)
	}
	if wrong.Load() != 0 {
		t.Errorf("%d readers: %d wrong answers", readers, wrong.Load())
	}
}

func TestCallerLeavesAndTheLoadGoesOn(t *testing.T) {
	origin, release := newTruth(1), make(chan struct{})
	origin.before = func(ctx context.Context, _ string) error {
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	c := newCache(t, redistest.Server(t).URL(), origin, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	left := make(chan error, 1)
	go func() { _, err := c.Get(ctx, "1"); left <- err }()
	eventually(t, "the origin to be asked", func() bool { return origin.timesAsked("1") == 1 })
	joined := make(chan error, 1)
	go func() { _, err := c.Get(context.Background(), "1"); joined <- err }()
	eventually(t, "the second to join", func() bool { return c.Stats().Joined == 1 })
	gone := errors.New("the user closed the tab")
	cancel(gone)
	if err := <-left; !errors.Is(err, gone) {
		t.Errorf("the caller who left got %v, want its own cause", err)
	}
	close(release)
	if err := <-joined; err != nil || origin.timesAsked("1") != 1 {
		t.Errorf("the caller who stayed got %v; the origin was asked %d times", err, origin.timesAsked("1"))
	}
}

func TestPanicReachesEveryWaiterAndFreesTheKey(t *testing.T) {
	origin := newTruth(1000)
	var calm atomic.Bool
	origin.before = func(context.Context, string) error {
		if !calm.Load() {
			panic("broken client")
		}
		return nil
	}
	c := newCache(t, redistest.Server(t).URL(), origin, nil)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := c.Get(t.Context(), "1"); !errors.Is(err, profile.ErrUnavailable) || !strings.Contains(err.Error(), "broken client") {
				t.Errorf("get: %v, want ErrUnavailable with the panic", err)
			}
		})
	}
	wg.Wait()
	ids := make([]string, 1000)
	for i := range ids {
		ids[i] = fmt.Sprint(i + 1)
	}
	if b, err := c.BatchGet(t.Context(), ids, Want{}); err != nil || len(b.Errors) != 1000 {
		t.Errorf("batch: %d errors, %v, want 1,000", len(b.Errors), err)
	}
	calm.Store(true)
	eventually(t, "the lease of the panicked load to end", func() bool { _, err := c.Get(t.Context(), "1"); return err == nil })
	if c.Stats().Panics == 0 {
		t.Error("no panic was counted")
	}
}

func TestBatchGet(t *testing.T) {
	url, origin := redistest.Server(t).URL(), newTruth(1200)
	a, b := newCache(t, url, origin, nil), newCache(t, url, origin, nil)
	ids := []string{"a b", "nobody", "1", "1", "nobody"}
	for i := range 1100 {
		ids = append(ids, fmt.Sprint(i+1))
	}
	for name, c := range map[string]*Cache{"cold": a, "from L1": a, "from L2": b} {
		t.Run(name, func(t *testing.T) {
			got, err := c.BatchGet(t.Context(), ids, Want{})
			if err != nil || len(got.Found) != 1100 || len(got.Missing) != 1 || len(got.Errors) != 1 {
				t.Fatalf("%d found, %v missing, %v errors, %v", len(got.Found), got.Missing, got.Errors, err)
			}
			if !errors.Is(got.Errors["a b"], profile.ErrInvalidID) || got.Missing[0] != "nobody" {
				t.Errorf("missing %v, errors %v", got.Missing, got.Errors)
			}
			for id, r := range got.Found {
				if r.Profile.ID != id {
					t.Fatalf("%q answered %q", id, r.Profile.ID)
				}
			}
		})
	}
	if n := origin.calls.Load(); n != 3 {
		t.Errorf("%d calls to the origin for 1,101 ids, want 3 of at most 500", n)
	}
	if _, err := a.BatchGet(t.Context(), make([]string, MaxBatch+1), Want{}); !errors.Is(err, ErrTooMany) {
		t.Errorf("too many: %v", err)
	}
	if got, err := a.BatchGet(t.Context(), nil, Want{}); err != nil || len(got.Found) != 0 {
		t.Errorf("none: %+v, %v", got, err)
	}
}

func TestBatchJoinsWhatIsAlreadyLoading(t *testing.T) {
	origin, release := newTruth(10), make(chan struct{})
	origin.before = func(context.Context, string) error { <-release; return nil }
	c := newCache(t, redistest.Server(t).URL(), origin, nil)
	done := make(chan error, 2)
	go func() { _, err := c.Get(t.Context(), "1"); done <- err }()
	eventually(t, "the origin to be asked", func() bool { return origin.timesAsked("1") == 1 })
	go func() {
		b, err := c.BatchGet(t.Context(), []string{"1", "2", "3"}, Want{})
		if len(b.Found) != 3 {
			err = fmt.Errorf("found %d, want 3: %v", len(b.Found), b.Errors)
		}
		done <- err
	}()
	eventually(t, "the batch to join", func() bool { return c.Stats().Joined == 1 })
	close(release)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := origin.timesAsked("1"); n != 1 {
		t.Errorf("the origin was asked %d times for 1, want 1", n)
	}
}

func TestDemands(t *testing.T) {
	url, origin := redistest.Server(t).URL(), newTruth(1)
	c := newCache(t, url, origin, func(conf *Config) { conf.LoadDeadline = 300 * time.Millisecond })
	get(t, c, "1", Want{})
	getFrom(t, c, "1", look.FromL1)
	if r := get(t, c, "1", Want{MaxAge: 1}); r.Tier != look.FromL2 || r.Age != 0 {
		t.Errorf("MaxAge 1 ns: %v, age %v, want L2 now", r.Tier, r.Age)
	}
	if r := get(t, c, "1", Want{MinVersion: 1}); r.Version() != 1 {
		t.Errorf("MinVersion 1: %d", r.Version())
	}
	if _, err := c.GetWith(t.Context(), "1", Want{MinVersion: 2}); !errors.Is(err, ErrBehind) {
		t.Errorf("MinVersion 2 before it exists: %v, want ErrBehind", err)
	}
	origin.set(user("1", 2))
	if r := get(t, c, "1", Want{MinVersion: 2}); r.Version() != 2 || r.Tier != look.FromOrigin {
		t.Errorf("MinVersion 2: version %d from %v", r.Version(), r.Tier)
	}
	b, err := c.BatchGet(t.Context(), []string{"1"}, Want{MinVersion: 3})
	if err != nil || !errors.Is(b.Errors["1"], ErrBehind) {
		t.Errorf("batch with MinVersion 3: %+v, %v", b, err)
	}
}

func TestChangesReachReaders(t *testing.T) {
	url, origin := redistest.Server(t).URL(), newTruth(2)
	a, b := newCache(t, url, origin, nil), newCache(t, url, origin, nil)
	for _, c := range []*Cache{a, b} {
		getFrom(t, c, "1", look.FromL1)
	}
	next := user("1", 2)
	next.FullName, next.Prenom, next.Nom = "", "Awa", "Diop"
	if err := a.Put(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if err := a.Put(t.Context(), next); !errors.Is(err, ErrConflict) {
		t.Errorf("the same version again: %v, want ErrConflict", err)
	}
	if next.FullName != "" {
		t.Error("Put changed the caller's profile")
	}
	if r := get(t, a, "1", Want{}); r.Profile.FullName != "Awa Diop" {
		t.Errorf("the writer's node answers %q", r.Profile.FullName)
	}
	b.Refresh(get(t, a, "1", Want{}).Profile) // what the event does
	if r := getFrom(t, b, "1", look.FromL1); r.Version() != 2 {
		t.Errorf("after the event: version %d", r.Version())
	}
	b.Refresh(user("1", 1)) // an event that came late
	if r := get(t, b, "1", Want{}); r.Version() != 2 {
		t.Errorf("after an old event: version %d, want 2", r.Version())
	}
	origin.set(user("1", 3))
	if err := b.Invalidate(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	if r := get(t, b, "1", Want{}); r.Version() != 3 || r.Tier != look.FromOrigin {
		t.Errorf("after an invalidation: version %d from %v", r.Version(), r.Tier)
	}
	getFrom(t, b, "1", look.FromL1)
	b.Flush()
	if r := get(t, b, "1", Want{}); r.Tier != look.FromL2 {
		t.Errorf("after a flush: %v, want L2", r.Tier)
	}
}

// An entry that another service put on the stream alone: L2 is still old when the node hears of it.
func TestNewsAboveL2SendsReadersToTheOrigin(t *testing.T) {
	url, origin := redistest.Server(t).URL(), newTruth(1)
	c := newCache(t, url, origin, nil)
	get(t, c, "1", Want{})
	origin.set(user("1", 5))
	c.Forget("1", 5)
	if r := get(t, c, "1", Want{}); r.Version() != 5 || r.Tier != look.FromOrigin {
		t.Errorf("version %d from %v, want 5 from the origin", r.Version(), r.Tier)
	}
	c.Forget("1", 9) // the origin has not got it yet: its replica lags
	if r := get(t, c, "1", Want{}); r.Tier != look.FromStale {
		t.Errorf("an answer below the news is marked %v, want stale", r.Tier)
	}
	if r := get(t, c, "1", Want{}); r.Tier == look.FromL1 {
		t.Error("an answer below the news was kept")
	}
	origin.set(user("1", 9))
	if r := get(t, c, "1", Want{}); r.Version() != 9 || r.Tier == look.FromStale {
		t.Errorf("once the origin has it: version %d from %v", r.Version(), r.Tier)
	}
}

func TestOriginDown(t *testing.T) {
	server, origin := redistest.Server(t), newTruth(3)
	var down atomic.Bool
	origin.before = func(context.Context, string) error {
		if down.Load() {
			return errors.New("connection refused")
		}
		return nil
	}
	c := newCache(t, server.URL(), origin, func(conf *Config) { conf.L1TTL = 200 * time.Millisecond; conf.MaxStale = 2 * time.Second })
	for _, id := range []string{"1", "2", "3"} {
		getFrom(t, c, id, look.FromL1)
	}
	down.Store(true)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the entry to expire and answer stale", func() bool { return get(t, c, "1", Want{}).Tier == look.FromStale })
	if r := get(t, c, "1", Want{}); r.Age < 150*time.Millisecond || r.Age > 2*time.Second {
		t.Errorf("a stale answer's age is %v, want between its TTL and MaxStale", r.Age)
	}
	c.Forget("2", 0)
	if _, err := c.Get(t.Context(), "2"); !errors.Is(err, profile.ErrUnavailable) {
		t.Errorf("an invalidated profile with everything down: %v, want ErrUnavailable", err)
	}
	if _, err := c.GetWith(t.Context(), "3", Want{MaxAge: time.Millisecond}); !errors.Is(err, profile.ErrUnavailable) {
		t.Errorf("stale beyond the reader's MaxAge: %v, want ErrUnavailable", err)
	}
	eventually(t, "stale answers to end at MaxStale", func() bool { _, err := c.Get(t.Context(), "1"); return errors.Is(err, profile.ErrUnavailable) })
	c.Flush()
	if _, err := c.Get(t.Context(), "3"); !errors.Is(err, profile.ErrUnavailable) {
		t.Errorf("after a flush with everything down: %v, want ErrUnavailable", err)
	}
	down.Store(false)
	if r := get(t, c, "1", Want{}); r.Tier != look.FromOrigin {
		t.Errorf("with the origin back and Redis down: %v, want origin", r.Tier)
	}
}

// A Redis that hangs costs the first loads its timeout, and those after them nothing.
func TestHangingRedisIsNotWaitedFor(t *testing.T) { canary.Judge(t, hangingRedisIsNotWaitedFor) }

func hangingRedisIsNotWaitedFor(t *testing.T, bird *canary.Canary) {
	server, origin := redistest.Server(t), newTruth(100)
	c := newCache(t, server.URL(), origin, func(conf *Config) { conf.LoadDeadline = 10 * time.Second })
	get(t, c, "1", Want{})
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Redis to count as down", func() bool { get(t, c, "2", Want{MaxAge: 1}); return c.l2.Down() })
	waited := 0
	for i := 3; i <= 100; i++ {
		started := time.Now()
		if r := get(t, c, fmt.Sprint(i), Want{}); r.Tier != look.FromOrigin {
			t.Fatalf("with Redis hanging: %v, want origin", r.Tier)
		}
		if !bird.Excuses("a load", started, time.Now(), 500*time.Millisecond) {
			waited++
		}
	}
	if waited > 10 {
		t.Errorf("%d of 98 loads waited for a Redis that is down, want only a probe now and then", waited)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Redis to be asked again", func() bool { return get(t, c, "1", Want{MaxAge: 1}).Tier == look.FromL2 })
}

func TestFence(t *testing.T) {
	server, origin := redistest.Server(t), newTruth(2)
	c := newCache(t, server.URL(), origin, func(conf *Config) { conf.FenceAfter = 300 * time.Millisecond })
	c.Alive(0)
	get(t, c, "1", Want{})
	getFrom(t, c, "1", look.FromL1)
	eventually(t, "the fence to fall", func() bool { return get(t, c, "1", Want{}).Tier == look.FromL2 })
	if !c.Stats().Fenced {
		t.Error("the stats do not say that the node is fenced")
	}
	asked := origin.timesAsked("1")
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if r := get(t, c, "1", Want{}); r.Tier != look.FromOrigin {
		t.Errorf("fenced without Redis: %v, want origin", r.Tier)
	}
	if r := getFrom(t, c, "1", look.FromL1); r.Age > 300*time.Millisecond {
		t.Errorf("fenced, but young from the origin: age %v", r.Age)
	}
	if n := origin.timesAsked("1"); n > asked+2 {
		t.Errorf("the origin was asked %d times more, want one a fence", n-asked)
	}
	c.Alive(0)
	if c.Stats().Fenced {
		t.Error("still fenced after a sign of life")
	}
}

// TestPauseLowersTheFence lets 200 ms pass that the cache's clock does not see, as a stopped
// process does not.
func TestPauseLowersTheFence(t *testing.T) {
	origin := newTruth(3)
	lower, err := l2.New(l2.Config{Client: open(t, redistest.Server(t).URL())})
	check(t, err)
	// not started, so that its clock moves with calls only
	c, err := New(Config{L2: lower, Origin: origin})
	check(t, err)
	t.Cleanup(func() { check(t, c.Close()) })
	prove := func() { eventually(t, "a proof to count", func() bool { c.Alive(0); return !c.Stats().Fenced }) }
	prove()
	getFrom(t, c, "1", look.FromL1)
	held := make(chan struct{})
	origin.before = func(context.Context, string) error { <-held; return nil }
	slow := make(chan int64)
	go func() { r, _ := c.Get(t.Context(), "2"); slow <- r.Version() }()
	eventually(t, "the origin to be asked", func() bool { return origin.timesAsked("2") == 1 })
	<-time.After(200 * time.Millisecond)
	// two proofs that were read before the end of the pause, which the first finds out about
	for range 2 {
		c.Alive(150 * time.Millisecond)
	}
	if r := get(t, c, "1", Want{}); r.Tier != look.FromL2 {
		t.Errorf("after the pause: from %v, want L2", r.Tier)
	}
	go func() { r, _ := c.Get(t.Context(), "2"); slow <- r.Version() }()
	eventually(t, "a load of its own", func() bool { return c.Stats().LeaseWaits > 0 })
	close(held)
	<-slow
	<-slow
	prove()
	if r := get(t, c, "1", Want{}); r.Tier != look.FromL1 {
		t.Errorf("after the next proof: from %v, want L1", r.Tier)
	}
}

func TestRefreshAhead(t *testing.T) {
	url, origin := redistest.Server(t).URL(), newTruth(1)
	c := newCache(t, url, origin, func(conf *Config) { conf.L1TTL = 400 * time.Millisecond })
	get(t, c, "1", Want{})
	getFrom(t, c, "1", look.FromL1)
	misses := c.Stats().L1Misses
	eventually(t, "three refreshes", func() bool { get(t, c, "1", Want{}); return c.Stats().RefreshAheads >= 3 })
	if n := c.Stats().L1Misses - misses; n > 3 {
		t.Errorf("%d misses while a hot key was refreshed ahead three times, want next to none", n)
	}
}

func TestWrongAnswersOfTheOriginAreNotKept(t *testing.T) {
	for name, answer := range map[string]*profile.Profile{
		"another user's": user("2", 1), "too large": {ID: "1", UpdatedAt: 1, Avatar: strings.Repeat("x", profile.MaxSize)},
		"none": nil, "version beyond 2^53": user("1", profile.MaxVersion+1),
	} {
		t.Run(name, func(t *testing.T) {
			c := newCache(t, redistest.Server(t).URL(), fixed{answer}, nil)
			if _, err := c.Get(t.Context(), "1"); !errors.Is(err, profile.ErrUnavailable) {
				t.Errorf("get: %v, want ErrUnavailable", err)
			}
			if b, err := c.BatchGet(t.Context(), []string{"1", "3"}, Want{}); err != nil || len(b.Errors) != 2 {
				t.Errorf("batch: %+v, %v", b, err)
			}
		})
	}
}

// fixed answers everything with one profile.
type fixed struct{ p *profile.Profile }

func (f fixed) Load(context.Context, string) (*profile.Profile, error) { return f.p, nil }

func (f fixed) LoadBatch(_ context.Context, ids []string) (b profile.Batch, err error) {
	b.Found = map[string]*profile.Profile{ids[0]: f.p}
	return b, nil
}

func TestLifeCycle(t *testing.T) {
	server := redistest.Server(t)
	lower, err := l2.New(l2.Config{Client: open(t, server.URL())})
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{L2: lower, Origin: newTruth(1)})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err == nil {
		t.Error("Start without Redis succeeded")
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Start(t.Context()); err != nil {
			t.Errorf("Start: %v", err)
		}
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if err := c.Start(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Start after Close: %v", err)
	}
	if _, err := c.Get(t.Context(), "1"); !errors.Is(err, ErrClosed) {
		t.Errorf("Get after Close: %v", err)
	}
	if _, err := c.BatchGet(t.Context(), []string{"1"}, Want{}); !errors.Is(err, ErrClosed) {
		t.Errorf("BatchGet after Close: %v", err)
	}
	if err := c.Put(t.Context(), user("1", 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("Put after Close: %v", err)
	}
	if err := c.Invalidate(t.Context(), "1"); !errors.Is(err, ErrClosed) {
		t.Errorf("Invalidate after Close: %v", err)
	}
	c.Refresh(user("1", 1))
	c.Forget("1", 1)
	c.Flush()
}

func TestCloseUnderLoad(t *testing.T) {
	url, origin := redistest.Server(t).URL(), newTruth(50)
	for range 20 {
		c := newCache(t, url, origin, func(conf *Config) { conf.L1TTL = time.Millisecond })
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := 0; ; i++ {
					id := fmt.Sprint((g*7+i)%50 + 1)
					if _, err := c.Get(context.Background(), id); err != nil {
						if !errors.Is(err, ErrClosed) && !errors.Is(err, profile.ErrUnavailable) {
							t.Errorf("get while closing: %v", err)
						}
						if errors.Is(err, ErrClosed) {
							return
						}
					}
					c.Refresh(user(id, int64(i+2)))
					if i%10 == 0 {
						c.Flush()
					}
				}
			})
		}
		eventually(t, "some reads", func() bool { return c.Stats().L1Misses+c.Stats().L1Hits > 100 })
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
}

func TestConfigIsChecked(t *testing.T) {
	lower, err := l2.New(l2.Config{Client: open(t, "redis://127.0.0.1:1")})
	check(t, err)
	for part, conf := range map[string]Config{
		"L2 is nil":      {Origin: newTruth(0)},
		"Origin is nil":  {L2: lower},
		"at least 1 MiB": {L2: lower, Origin: newTruth(0), L1Bytes: 1000},
		"MaxLoads is -1": {L2: lower, Origin: newTruth(0), MaxLoads: -1},
		"L1TTL -1s":      {L2: lower, Origin: newTruth(0), L1TTL: -time.Second},
	} {
		if _, err := New(conf); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("New: %v, want %q", err, part)
		}
	}
	if got := fmt.Sprint(look.FromNone, look.FromL1, look.FromL2, look.FromOrigin, look.FromStale, look.Tier(9)); got != "none L1 L2 origin stale tier(9)" {
		t.Errorf("tiers are %q", got)
	}
}
