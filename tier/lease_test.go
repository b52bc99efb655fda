package tier

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
)

func onRedis(t *testing.T, conf L2Config) (suite, *L2) {
	s := suite{client: open(t, redistest.Server(t).URL())}
	return s, s.l2(t, conf)
}

// TestChangesEndLeases has answers that only the lost lease can refuse: no version of theirs is below what is known.
func TestChangesEndLeases(t *testing.T) {
	s, l := onRedis(t, L2Config{})
	id := s.id(t)
	v := beginOne(t, l, id, 0)
	must[bool](t)(l.Apply(t.Context(), user(id, 5)))
	if err := fillOne(t, l, id, v.token, nil); !errors.Is(err, errRefused) || stored(t, l, id) == nil {
		t.Errorf("no such user, from before an update: %v, stored %v", err, stored(t, l, id))
	}
	id = s.id(t)
	v = beginOne(t, l, id, 0)
	must[bool](t)(l.Remove(t.Context(), id, 5))
	if err := fillOne(t, l, id, v.token, user(id, 6)); !errors.Is(err, errRefused) || stored(t, l, id) != nil {
		t.Errorf("a load begun before the deletion: %v, stored %v", err, stored(t, l, id))
	}
	id = s.id(t)
	v = beginOne(t, l, id, 0)
	check(t, l.Invalidate(t.Context(), id))
	if err := fillOne(t, l, id, v.token, user(id, 6)); !errors.Is(err, errRefused) || stored(t, l, id) != nil {
		t.Errorf("a load begun before the invalidation: %v, stored %v", err, stored(t, l, id))
	}
}

func TestAbsenceIsKeptAndEnds(t *testing.T) {
	s, l := onRedis(t, L2Config{})
	known := s.id(t)
	must[bool](t)(l.Apply(t.Context(), user(known, 5)))
	check(t, fillOne(t, l, known, beginOne(t, l, known, 6).token, nil))
	if stored(t, l, known) != nil {
		t.Error("a user who does not exist any more is still stored")
	}
	absentUser := func() string {
		id := s.id(t)
		check(t, fillOne(t, l, id, beginOne(t, l, id, 0).token, nil))
		if v := beginOne(t, l, id, 0); v.kind != absent {
			t.Errorf("after the origin knew nobody: %+v; want absent", v)
		}
		return id
	}
	byFill := absentUser()
	if ttl := must[time.Duration](t)(s.client.PTTL(t.Context(), keys(byFill)[1]).Result()); ttl <= 0 {
		t.Errorf("the guard that only a fill made has TTL %v; want one", ttl)
	}
	check(t, fillOne(t, l, byFill, beginOne(t, l, byFill, 5).token, user(byFill, 5)))
	byUpdate := absentUser()
	must[bool](t)(l.Apply(t.Context(), user(byUpdate, 5)))
	for _, id := range []string{byFill, byUpdate} {
		check(t, s.client.Del(t.Context(), profile.Key(id)).Err())
		if v := beginOne(t, l, id, 0); v.kind != leased {
			t.Errorf("after he existed and was evicted: %+v; want a lease", v)
		}
	}
}

// TestFillLooksAtEachWhenAnyIsKnown has news of the second user of a call, and none of the first.
func TestFillLooksAtEachWhenAnyIsKnown(t *testing.T) {
	s, l := onRedis(t, L2Config{})
	ids := []string{s.id(t), s.id(t)}
	must[bool](t)(l.Apply(t.Context(), user(ids[1], 10)))
	check(t, s.client.Del(t.Context(), profile.Key(ids[1])).Err())
	var fills []filling
	for i, v := range l.begin(t.Context(), ids, []int64{0, 0}) {
		fills = append(fills, filling{id: ids[i], token: v.token, profile: user(ids[i], 9)})
	}
	if errs := l.fill(t.Context(), fills); errs[0] != nil || !errors.Is(errs[1], errRefused) {
		t.Errorf("fills: %v; want only the second refused", errs)
	}
}

// TestLateLoadFillsWhenNobodyTookOver has a load that takes longer than its lease.
func TestLateLoadFillsWhenNobodyTookOver(t *testing.T) {
	s, l := onRedis(t, L2Config{Lease: 20 * time.Millisecond})
	id, other := s.id(t), s.l2(t, L2Config{})
	v := beginOne(t, l, id, 0)
	if ttl := must[time.Duration](t)(s.client.PTTL(t.Context(), keys(id)[2]).Result()); ttl < time.Minute {
		t.Errorf("the lease is kept for %v; want the guard's time", ttl)
	}
	var over verdict
	eventually(t, "the lease to be over", func() bool {
		at := must[string](t)(s.client.Get(t.Context(), keys(id)[2]).Result())
		ms, err := strconv.ParseInt(at[:13], 10, 64)
		return err == nil && time.Now().UnixMilli() > ms
	})
	check(t, fillOne(t, l, id, v.token, user(id, 5)))
	id = s.id(t)
	v = beginOne(t, l, id, 0)
	eventually(t, "another to take over", func() bool { over = beginOne(t, other, id, 0); return over.kind == leased })
	if err := fillOne(t, l, id, v.token, user(id, 5)); !errors.Is(err, errRefused) {
		t.Errorf("a fill after another took over: %v", err)
	}
	check(t, fillOne(t, other, id, over.token, user(id, 5)))
}

// TestFullRedisLeavesNoLeases fills a Redis that evicts nothing, over which another node then finds the origin at once.
func TestFullRedisLeavesNoLeases(t *testing.T) {
	server := redistest.Server(t)
	const users = 12000
	origin := newTruth(users + 1)
	a, b := newCache(t, server.URL(), origin, nil), newCache(t, server.URL(), origin, nil)
	check(t, server.Client().ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err())
	check(t, server.Client().ConfigSet(t.Context(), "maxmemory", "4mb").Err())
	for _, c := range []*Cache{a, b} {
		for from := 1; from < users; from += 500 {
			var ids []string
			for i := from; i < from+500; i++ {
				ids = append(ids, strconv.Itoa(i))
			}
			got, err := c.BatchGet(t.Context(), ids, Want{})
			if err != nil || len(got.Found) != len(ids) {
				t.Fatalf("%d of %d found, %v, errors %.300v", len(got.Found), len(ids), err, got.Errors)
			}
		}
		left, err := server.Client().Keys(t.Context(), "{user:profile:*}:lease").Result()
		if err != nil || len(left) > 0 {
			t.Errorf("%d leases are left, %v", len(left), err)
		}
	}
	if a.Stats().L2Errors == 0 {
		t.Error("Redis was never full")
	}
}

// TestLeaseWhoseGrantIsLost has Redis give a lease twice to a node that hears of neither. The node
// itself gets it again and fills. Another node waits for as long as a load may take, and no reader
// fails while the origin is well.
func TestLeaseWhoseGrantIsLost(t *testing.T) {
	server := redistest.Server(t)
	link := redistest.ProxyTo(t, server.Addr)
	origin := newTruth(3)
	a, b := newCache(t, "redis://"+link.Addr, origin, nil), newCache(t, server.URL(), origin, nil)
	get(t, a, "3", Want{}) // the server has the scripts
	lost := link.LoseReplies("evalsha", 2)
	if r := get(t, a, "1", Want{}); r.Tier != FromOrigin {
		t.Errorf("without a lease: from %v", r.Tier)
	}
	<-lost
	if n := server.Client().Exists(t.Context(), keys("1")[2]).Val(); n != 1 || stored(t, a.l2, "1") != nil {
		t.Fatalf("%d leases, stored %v; want one that nobody knows of", n, stored(t, a.l2, "1"))
	}
	if r := get(t, b, "1", Want{}); r.Tier != FromOrigin || stored(t, a.l2, "1") != nil {
		t.Errorf("the other node: from %v, stored %v; want the origin, without a fill", r.Tier, stored(t, a.l2, "1"))
	}
	a.Forget("1", 0)
	if r := get(t, a, "1", Want{}); r.Tier != FromOrigin || stored(t, a.l2, "1") == nil {
		t.Errorf("the node itself: from %v, stored %v; want the origin, and a fill", r.Tier, stored(t, a.l2, "1"))
	}
	if n := server.Client().Exists(t.Context(), keys("1")[2]).Val(); n != 0 {
		t.Error("the lease is still there")
	}
}

// TestLeaseThatIsNotGivenBack cuts a node off while it asks the origin, so that its fill, which
// would have ended the lease, is lost. It takes the lease over once Redis is there again.
func TestLeaseThatIsNotGivenBack(t *testing.T) {
	server, origin := redistest.Server(t), newTruth(2)
	link := redistest.ProxyTo(t, server.Addr)
	s := suite{client: open(t, "redis://"+link.Addr)}
	c := startCache(t, Config{L2: s.l2(t, L2Config{Lease: time.Minute}), Origin: origin, FenceAfter: -1})
	get(t, c, "2", Want{}) // the server has the scripts
	var once sync.Once
	origin.before = func(context.Context, string) error {
		once.Do(func() { link.BlackHole(true) })
		return nil
	}
	get(t, c, "1", Want{})
	lost := func() int {
		c.l2.lost.mu.Lock()
		defer c.l2.lost.mu.Unlock()
		return len(c.l2.lost.young)
	}
	eventually(t, "the fill to be given up", func() bool { return lost() > 0 })
	link.Reset()
	link.BlackHole(false)
	exists := func(key string) bool { return server.Client().Exists(t.Context(), key).Val() == 1 }
	if !exists(keys("1")[2]) || exists(profile.Key("1")) {
		t.Fatal("the fill was not lost")
	}
	eventually(t, "the lease to be taken over", func() bool {
		c.Forget("1", 0)
		_, err := c.Get(t.Context(), "1")
		return err == nil && exists(profile.Key("1"))
	})
}

// TestDeadNodesLeaseFailsNoReads leaves a lease that nobody will end.
func TestDeadNodesLeaseFailsNoReads(t *testing.T) {
	s, dead := onRedis(t, L2Config{})
	origin := newTruth(1)
	l2 := s.l2(t, L2Config{})
	c := startCache(t, Config{L2: l2, Origin: origin, FenceAfter: -1})
	if v := beginOne(t, dead, "1", 0); v.kind != leased {
		t.Fatalf("%+v", v)
	}
	if r := get(t, c, "1", Want{}); r.Tier != FromOrigin || stored(t, l2, "1") != nil {
		t.Errorf("from %v, stored %v; want the origin, without a fill", r.Tier, stored(t, l2, "1"))
	}
	if r := get(t, c, "1", Want{}); r.Tier != FromL1 || origin.timesAsked("1") != 1 {
		t.Errorf("from %v, the origin was asked %d times; want L1, once", r.Tier, origin.timesAsked("1"))
	}
}

// TestLooksLeaveTheOriginItsTime has Redis hang while a reader waits for the lease of another, late in
// its load. The origin is asked before the load has to end.
func TestLooksLeaveTheOriginItsTime(t *testing.T) {
	s, dead := onRedis(t, L2Config{})
	link := redistest.ProxyTo(t, strings.TrimPrefix(s.client.(*redis.Client).Options().Addr, "redis://"))
	c := newCache(t, "redis://"+link.Addr, newTruth(2), nil)
	get(t, c, "2", Want{}) // the server has the scripts
	if v := beginOne(t, dead, "1", 0); v.kind != leased {
		t.Fatalf("%+v", v)
	}
	got := make(chan error, 1)
	go func() { _, err := c.Get(t.Context(), "1"); got <- err }()
	began := time.Now()
	eventually(t, "the reader to have waited for long", func() bool { return time.Since(began) > 1200*time.Millisecond })
	link.BlackHole(true)
	if err := <-got; err != nil {
		t.Error(err)
	}
	link.BlackHole(false)
}

// TestLostLeasesAreBounded forgets what is long over.
func TestLostLeasesAreBounded(t *testing.T) {
	var l lostLeases
	for i := range 10 * lostMost {
		l.note(strconv.Itoa(i), context.DeadlineExceeded)
		if !l.has(strconv.Itoa(max(0, i-lostMost+1))) {
			t.Fatalf("after %d, one of the last %d is forgotten", i, lostMost)
		}
	}
	if n := len(l.young) + len(l.aged); n > 2*lostMost {
		t.Errorf("%d are kept", n)
	}
	for _, err := range []error{nil, errL2Down, proto("ERR no")} {
		if l.note("answered", err); l.has("answered") {
			t.Errorf("%v leaves nothing open", err)
		}
	}
}

// proto is an error that the server answered.
type proto string

// Error and RedisError make it a redis.Error.
func (p proto) Error() string { return string(p) }
func (proto) RedisError()     {}
