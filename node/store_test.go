package node

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/oracle"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/kv"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// switched is an origin that can be switched off.
type switched struct {
	tier.Loader
	off atomic.Bool
}

var errOff = errors.New("the origin is off")

func (s *switched) Load(ctx context.Context, id string) (*profile.Profile, error) {
	if s.off.Load() {
		return nil, errOff
	}
	return s.Loader.Load(ctx, id)
}

func (s *switched) LoadBatch(ctx context.Context, ids []string) (profile.Batch, error) {
	if s.off.Load() {
		return profile.Batch{}, errOff
	}
	return s.Loader.LoadBatch(ctx, ids)
}

// storeRig is one node with a store, which is started again and again, and the oracle.
type storeRig struct {
	*rig
	url, dir string
	origin   *switched
}

func newStoreRig(t *testing.T, url string, c *canary.Canary) *storeRig {
	judge := oracle.Config{Bound: bound, MaxBound: unjudged}
	if c != nil {
		judge.Excuses = c.Excuses
	}
	r := &rig{T: t, users: 10, canary: c, oracle: oracle.New(judge)}
	r.source = newSource(t, url, r.users, r.oracle, nil)
	return &storeRig{rig: r, url: url, dir: t.TempDir(), origin: &switched{Loader: r.source}}
}

// up starts the node.
func (r *storeRig) up() *Node {
	r.Helper()
	n, err := New(Config{RedisURL: r.url, Origin: r.origin, NoWatch: true, NoPrewarm: true,
		Store: &kv.Config{Dir: r.dir, Every: 10 * time.Millisecond}})
	check(r.T, err)
	r.Cleanup(func() { check(r.T, n.Close()) })
	r.nodes = []*Node{n}
	r.judges = []*oracle.Node{r.oracle.Node("after " + strconv.Itoa(len(r.judges)))}
	check(r.T, n.Start(r.Context()))
	return n
}

// fill has the node's store hold everybody.
func (r *storeRig) fill(n *Node) {
	r.Helper()
	r.lookAtAll()
	eventually(r.T, "all to be in the store", func() bool {
		st := n.Stats().Store
		return st.Entries == int64(r.users) && st.Pending == 0 && !n.Stats().Cache.Fenced
	})
}

// atRest waits until the store has what the stream says.
func (r *storeRig) atRest(n *Node, c *redis.Client) {
	r.Helper()
	r.allRead(c)
	eventually(r.T, "the store to be written", func() bool { return n.Stats().Store.Pending == 0 })
}

// changeMost changes everybody but the last two.
func (r *storeRig) changeMost() {
	ctx := r.Context()
	for id := 1; id <= 5; id++ {
		r.source.update(ctx, strconv.Itoa(id))
	}
	r.source.delete(ctx, "6")
	r.source.invalidate(ctx, "7")
	r.source.delete(ctx, "8")
	r.source.update(ctx, "8")
}

// lookAtMost has answers for all but the last judged, so that L1 does not hold that one.
func (r *storeRig) lookAtMost() {
	for id := 1; id < r.users; id++ {
		_, _ = r.look(r.Context(), 0, strconv.Itoa(id))
	}
}

// A node that was down while users changed, and the stream with them, answers nothing that is old,
// and from its store what has not changed.
func TestStreamChangesWhileTheNodeIsDown(t *testing.T) {
	down := map[string]func(*rig, *redis.Client){"untouched": func(*rig, *redis.Client) {}}
	for name, damage := range damages {
		down[name] = damage
	}
	for name, damage := range down {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait most of the time
			canary.Judge(t, func(t *testing.T, watch *canary.Canary) {
				server := redistest.Server(t)
				c := server.Client()
				r := newStoreRig(t, server.URL(), watch)
				n := r.up()
				r.source.update(t.Context(), "5")
				r.fill(n)
				var err error
				r.backup, err = c.Dump(t.Context(), stream.Name).Result()
				check(t, err)
				r.source.update(t.Context(), "4") // after the backup
				r.atRest(n, c)
				check(t, n.Close())
				r.changeMost()
				damage(r.rig, c)
				wait(t.Context(), 2*bound) // so that all that was acknowledged binds
				n = r.up()
				for n.Stats().Cache.Fenced {
					r.lookAtMost()
				}
				eventually(t, "user 10 to count", func() bool { _, ok := n.store.Get("10"); return ok })
				if got, err := r.look(t.Context(), 0, "10"); err != nil || got.Tier != look.FromStore {
					t.Errorf("user 10, who has not changed, is answered from %v, %v", got.Tier, err)
				}
				r.lookAtAll()
				wanted := 1
				if name == "untouched" {
					wanted = 0
				}
				if got := len(n.Stats().Stream.Gaps); got != wanted {
					t.Errorf("gaps %v, want %d", n.Stats().Stream.Gaps, wanted)
				}
				r.verdict()
			})
		})
	}
}

// A server that is another one when the node comes back may have lost anything.
func TestServerRestartsWhileTheNodeIsDown(t *testing.T) {
	canary.Judge(t, func(t *testing.T, watch *canary.Canary) {
		server := redistest.ServerWith(t, redistest.Options{AOF: true})
		r := newStoreRig(t, server.URL(), watch)
		n := r.up()
		r.fill(n)
		check(t, n.Close())
		r.changeMost()
		check(t, server.Restart())
		wait(t.Context(), 2*bound)
		n = r.up()
		eventually(t, "what Redis has to count again", func() bool { r.lookAtAll(); return n.Stats().Cache.Vouched >= 2 })
		if got := n.Stats().Stream.Gaps["failover"]; got != 1 {
			t.Errorf("gaps %v, want a failover", n.Stats().Stream.Gaps)
		}
		r.verdict()
	})
}

// A node that starts while Redis and the origin are dead answers what it holds, marked, and nothing
// that it was told is deleted or invalid. Once both are back its answers are as any other's.
func TestStartAlone(t *testing.T) {
	canary.Judge(t, func(t *testing.T, watch *canary.Canary) {
		server := redistest.ServerWith(t, redistest.Options{AOF: true})
		r := newStoreRig(t, server.URL(), watch)
		n := r.up()
		r.fill(n)
		r.source.delete(t.Context(), "3")
		r.source.set(person("4", r.source.next("4")))
		check(t, n.Invalidate(t.Context(), "4"))
		r.atRest(n, server.Client())
		check(t, n.Close())

		check(t, server.Kill())
		r.origin.off.Store(true)
		n = r.up()
		if !n.Stats().Store.Alone || n.Ready() != nil {
			t.Errorf("alone: %v, ready: %v", n.Stats().Store.Alone, n.Ready())
		}
		for id := 1; id <= r.users; id++ {
			got, err := n.Get(t.Context(), strconv.Itoa(id))
			gone := id == 3 || id == 4
			if gone && !errors.Is(err, profile.ErrUnavailable) || !gone && (err != nil || got.Tier != look.FromStale) {
				t.Errorf("user %d: %v from %v, %v", id, got.Profile, got.Tier, err)
			}
		}
		if got := n.Stats().Cache.StoreStale; got == 0 {
			t.Error("no answer came from the store")
		}

		r.origin.off.Store(false)
		check(t, server.Restart())
		eventually(t, "service", func() bool { return !n.Stats().Store.Alone && !n.Stats().Cache.Fenced })
		r.source.update(t.Context(), "1")
		wait(t.Context(), 2*bound)
		for id := 1; id <= r.users; id++ {
			got, err := r.look(t.Context(), 0, strconv.Itoa(id))
			if id != 3 && (err != nil || got.Tier == look.FromStale) {
				t.Errorf("with both back, user %d: from %v, %v", id, got.Tier, err)
			}
		}
		r.verdict()
	})
}

// A store that another node has is no reason not to serve, nor is a store that was never filled a
// reason to start without Redis.
func TestStoresThatAreNotToBeHad(t *testing.T) {
	server := redistest.Server(t)
	r := newStoreRig(t, server.URL(), nil)
	r.up()
	second, err := New(Config{RedisURL: r.url, Origin: r.origin, Store: &kv.Config{Dir: r.dir}})
	check(t, err)
	defer func() { check(t, second.Close()) }()
	check(t, second.Start(t.Context()))
	if got := second.Stats().Store; got == nil || got.Off == "" {
		t.Errorf("%+v; want the reason why it has no store", got)
	}
	if got := second.Cluster().Members[0].Store; got != "off" {
		t.Errorf("it tells the others that its store is %q; want off", got)
	}
	if got, err := second.Get(t.Context(), "1"); err != nil || got.Version() != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	check(t, server.Kill())
	third, err := New(Config{RedisURL: r.url, Origin: r.origin, Store: &kv.Config{Dir: t.TempDir()}})
	check(t, err)
	defer func() { check(t, third.Close()) }()
	if err := third.Start(t.Context()); err == nil {
		t.Error("a node with an empty store has started without Redis")
	}
	if _, err := New(Config{RedisURL: r.url, Origin: r.origin, Store: &kv.Config{}}); err == nil {
		t.Error("a store without a folder was taken")
	}
}

func TestWhatTheOthersAreToldOfAStore(t *testing.T) {
	for want, stats := range map[string]*StoreStats{
		" 0": nil, "ok 42": {Stats: kv.Stats{Entries: 42}}, "ok 120000": {Stats: kv.Stats{Entries: 123_456}},
		"alone 99000": {Stats: kv.Stats{Entries: 99_999}, Alone: true}, "off 0": {Stats: kv.Stats{Off: "no room", Entries: 7}},
		"ok 4000000000": {Stats: kv.Stats{Entries: 1 << 40}}, "ok 0": {Stats: kv.Stats{Entries: -1}},
	} {
		if state, entries := stats.told(); fmt.Sprint(state, " ", entries) != want {
			t.Errorf("%v %d; want %s", state, entries, want)
		}
	}
}
