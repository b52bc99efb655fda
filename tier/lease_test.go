package tier

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// leaseKey is where the lease of id is.
func leaseKey(id string) string { return "{" + profile.Key(id) + "}:lease" }

// stored reports whether Redis has a record of id.
func stored(t *testing.T, server *redistest.Proc, id string) bool {
	t.Helper()
	return server.Client().Exists(t.Context(), profile.Key(id)).Val() == 1
}

// dieLoading has a node take the lease of id, which nobody will end.
func dieLoading(t *testing.T, server *redistest.Proc, id string) {
	t.Helper()
	lower, err := l2.New(l2.Config{Client: open(t, server.URL())})
	check(t, err)
	room := func(int) *profile.Profile { return new(profile.Profile) }
	if v := lower.Begin(t.Context(), []l2.Ask{{ID: id}}, room)[0]; v.Kind != l2.Leased {
		t.Fatalf("%+v", v)
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
	if r := get(t, a, "1", Want{}); r.Tier != look.FromOrigin {
		t.Errorf("without a lease: from %v", r.Tier)
	}
	<-lost
	if n := server.Client().Exists(t.Context(), leaseKey("1")).Val(); n != 1 || stored(t, server, "1") {
		t.Fatalf("%d leases, stored %v; want one that nobody knows of", n, stored(t, server, "1"))
	}
	if r := get(t, b, "1", Want{}); r.Tier != look.FromOrigin || stored(t, server, "1") {
		t.Errorf("the other node: from %v, stored %v; want the origin, without a fill", r.Tier, stored(t, server, "1"))
	}
	a.Forget("1", 0)
	if r := get(t, a, "1", Want{}); r.Tier != look.FromOrigin || !stored(t, server, "1") {
		t.Errorf("the node itself: from %v, stored %v; want the origin, and a fill", r.Tier, stored(t, server, "1"))
	}
	if n := server.Client().Exists(t.Context(), leaseKey("1")).Val(); n != 0 {
		t.Error("the lease is still there")
	}
}

// TestLeaseThatIsNotGivenBack cuts a node off while it asks the origin, so that its fill, which
// would have ended the lease, is lost. It takes the lease over once Redis is there again.
func TestLeaseThatIsNotGivenBack(t *testing.T) {
	server, origin := redistest.Server(t), newTruth(2)
	link := redistest.ProxyTo(t, server.Addr)
	lower, err := l2.New(l2.Config{Client: open(t, "redis://"+link.Addr), Lease: time.Minute})
	check(t, err)
	c := startCache(t, Config{L2: lower, Origin: origin, FenceAfter: -1})
	get(t, c, "2", Want{}) // the server has the scripts
	var once sync.Once
	origin.before = func(context.Context, string) error {
		once.Do(func() { link.BlackHole(true) })
		return nil
	}
	get(t, c, "1", Want{})
	eventually(t, "the fill to be given up", func() bool { return c.Stats().L2Errors > 0 })
	link.Reset()
	link.BlackHole(false)
	exists := func(key string) bool { return server.Client().Exists(t.Context(), key).Val() == 1 }
	if !exists(leaseKey("1")) || exists(profile.Key("1")) {
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
	server, origin := redistest.Server(t), newTruth(1)
	c := newCache(t, server.URL(), origin, nil)
	dieLoading(t, server, "1")
	if r := get(t, c, "1", Want{}); r.Tier != look.FromOrigin || stored(t, server, "1") {
		t.Errorf("from %v, stored %v; want the origin, without a fill", r.Tier, stored(t, server, "1"))
	}
	if r := get(t, c, "1", Want{}); r.Tier != look.FromL1 || origin.timesAsked("1") != 1 {
		t.Errorf("from %v, the origin was asked %d times; want L1, once", r.Tier, origin.timesAsked("1"))
	}
}

// TestLooksLeaveTheOriginItsTime has Redis hang while a reader waits for the lease of another, late
// in its load. The origin is asked before the load has to end.
func TestLooksLeaveTheOriginItsTime(t *testing.T) {
	server := redistest.Server(t)
	link := redistest.ProxyTo(t, server.Addr)
	c := newCache(t, "redis://"+link.Addr, newTruth(2), nil)
	get(t, c, "2", Want{}) // the server has the scripts
	dieLoading(t, server, "1")
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
