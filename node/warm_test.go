package node

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/gossip"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// counting notes how often each user is asked for.
type counting struct {
	tier.Loader
	mu    sync.Mutex
	asked map[string]int
}

func newCounting(of tier.Loader) *counting { return &counting{Loader: of, asked: map[string]int{}} }

func (c *counting) note(ids ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		c.asked[id]++
	}
}

func (c *counting) Load(ctx context.Context, id string) (*profile.Profile, error) {
	c.note(id)
	return c.Loader.Load(ctx, id)
}

func (c *counting) LoadBatch(ctx context.Context, ids []string) (profile.Batch, error) {
	c.note(ids...)
	return c.Loader.LoadBatch(ctx, ids)
}

// total returns how many users were asked for, and how many of those more than once.
func (c *counting) total() (users, repeated int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.asked {
		if n > 1 {
			repeated++
		}
	}
	return len(c.asked), repeated
}

// lately is a Source of users who are active now.
type lately []string

func (lately) Name() string { return "lately" }

func (l lately) Active(context.Context, time.Time) iter.Seq2[prewarm.User, error] {
	return func(yield func(prewarm.User, error) bool) {
		for _, id := range l {
			if !yield(prewarm.User{ID: id, LastActive: time.Now()}, nil) {
				return
			}
		}
	}
}

func idsTo(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprint(i + 1)
	}
	return ids
}

// startTogether starts nodes that find one another, on one Redis and one origin.
func startTogether(t *testing.T, url string, from tier.Loader, n int, sources ...prewarm.Source) []*Node {
	t.Helper()
	key := gossip.NewKey()
	var nodes []*Node
	var seeds []string
	for i := range n {
		one, err := New(Config{RedisURL: url, Origin: from, Sources: sources, Cluster: &gossip.Config{
			Name: fmt.Sprint("n", i+1), Bind: "127.0.0.1:0", Seeds: seeds, Keys: [][]byte{key}}})
		check(t, err)
		t.Cleanup(func() { check(t, one.Close()) })
		check(t, one.Start(t.Context()))
		seeds = append(seeds, one.gossip.Self().Addr)
		nodes = append(nodes, one)
	}
	for _, one := range nodes {
		eventually(t, "all nodes to know all nodes", func() bool { return len(one.Cluster().Members) == n })
	}
	return nodes
}

func TestPrewarmOfAClusterAsksForEachUserOnce(t *testing.T) {
	const users = 3000
	origin := newCounting(newPeople(users))
	nodes := startTogether(t, redistest.Server(t).URL(), origin, 3, lately(idsTo(users)))
	ranges := 0
	for _, m := range nodes[1].Cluster().Members {
		ranges += m.Ranges
	}
	if ranges != profile.Ranges {
		t.Errorf("the members own %d ranges; want %d", ranges, profile.Ranges)
	}
	_, err := nodes[0].BeginPrewarm(t.Context(), prewarm.Options{Unlimited: true})
	check(t, err)
	if _, err := nodes[1].BeginPrewarm(t.Context(), prewarm.Options{}); !errors.Is(err, prewarm.ErrRunning) {
		t.Errorf("a second run: %v", err)
	}
	eventually(t, "the end of the run", func() bool {
		s, err := nodes[2].PrewarmStatus(t.Context())
		check(t, err)
		return s.State == prewarm.Done
	})
	if all, repeated := origin.total(); all != users || repeated != 0 {
		t.Errorf("the origin was asked for %d users, %d of them more than once; want %d and 0", all, repeated, users)
	}
	for i, one := range nodes {
		var got tier.Batch
		eventually(t, "an answer of a node that the machine did not stop", func() bool {
			if !one.cache.Fresh() {
				return false
			}
			got, err = one.BatchGet(t.Context(), idsTo(users), tier.Want{})
			return err == nil && one.cache.Fresh()
		})
		cold := 0
		for _, r := range got.Found {
			if r.Tier != look.FromL1 {
				cold++
			}
		}
		if len(got.Found) != users || cold != 0 || one.Stats().Warmth != 1 {
			t.Errorf("node %d has %d users, %d of them not in L1, warmth %g", i+1, len(got.Found), cold, one.Stats().Warmth)
		}
	}
	eventually(t, "all nodes to know that all are warm", func() bool {
		return !slices.ContainsFunc(nodes[0].Cluster().Members, func(m Member) bool { return m.Warmth < 1 })
	})
	if all, _ := origin.total(); all != users {
		t.Errorf("the origin was asked for %d users in the end", all)
	}
}

func TestPrewarmOfWhomTheNodesHaveShown(t *testing.T) {
	server := redistest.Server(t)
	origin := newCounting(newPeople(100))
	first := start(t, server.URL(), origin)
	for _, id := range idsTo(40) {
		_, err := first.Get(t.Context(), id)
		check(t, err)
	}
	_, err := first.BatchGet(t.Context(), idsTo(60)[40:], tier.Want{})
	check(t, err)
	check(t, first.Close())

	second, err := New(Config{RedisURL: server.URL(), Origin: origin, Prewarm: &prewarm.Options{Unlimited: true}, ReadyAt: 1})
	check(t, err)
	t.Cleanup(func() { check(t, second.Close()) })
	check(t, second.Start(t.Context()))
	eventually(t, "the node to be ready", func() bool { return second.Ready() == nil })
	s, err := second.PrewarmStatus(t.Context())
	check(t, err)
	if s.State != prewarm.Done || s.Planned != 60 {
		t.Errorf("the run is %s with %d users; want the 60 that were shown", s.State, s.Planned)
	}
	got, err := second.Get(t.Context(), "60")
	if err != nil || got.Tier != look.FromL1 {
		t.Errorf("a user who was shown comes from %v, %v", got.Tier, err)
	}
	if all, repeated := origin.total(); all != 60 || repeated != 0 {
		t.Errorf("the origin was asked for %d users, %d of them again", all, repeated)
	}
}

// hanging is an origin that answers nothing until its caller gives up.
type hanging struct{}

func (hanging) Load(ctx context.Context, _ string) (*profile.Profile, error) {
	<-ctx.Done()
	return nil, fmt.Errorf("hanging: %w", profile.ErrUnavailable)
}

func (hanging) LoadBatch(ctx context.Context, _ []string) (profile.Batch, error) {
	<-ctx.Done()
	return profile.Batch{}, fmt.Errorf("hanging: %w", profile.ErrUnavailable)
}

func TestReadyDoesNotWaitForADeadOriginForEver(t *testing.T) {
	n, err := New(Config{RedisURL: redistest.Server(t).URL(), Origin: hanging{}, Sources: []prewarm.Source{lately(idsTo(10))},
		Prewarm: &prewarm.Options{Unlimited: true}, ReadyAt: 0.8, ReadyWithin: 1500 * time.Millisecond})
	check(t, err)
	t.Cleanup(func() { check(t, n.Close()) })
	check(t, n.Start(t.Context()))
	if err := n.Ready(); !errors.Is(err, ErrNotReady) {
		t.Errorf("a cold node is ready: %v", err)
	}
	began := time.Now()
	eventually(t, "the node to be ready", func() bool { return n.Ready() == nil })
	if waited := time.Since(began); waited < time.Second {
		t.Errorf("ready after %v, though nothing is warm", waited)
	}
}

// The node that made the plan dies before it is made, and starts again or not: the others begin a
// run of their own once it counts as dead.
func TestPrewarmWhosePlannerDiedIsBegunAgain(t *testing.T) {
	server := redistest.Server(t)
	left := time.Now().Add(-28 * time.Second).UnixMilli() // dead two seconds from now
	check(t, server.Client().HSet(t.Context(), "{edgecache:prewarm}:run", "id", "left", "state", "planning", "node", "gone",
		"options", "{}", "started", left, "beat", left).Err())
	n, err := New(Config{RedisURL: server.URL(), Origin: newPeople(10), Sources: []prewarm.Source{lately(idsTo(10))},
		Prewarm: &prewarm.Options{Unlimited: true}})
	check(t, err)
	t.Cleanup(func() { check(t, n.Close()) })
	check(t, n.Start(t.Context()))
	var run string
	eventually(t, "a run of this node's to be over", func() bool {
		s, err := n.PrewarmStatus(t.Context())
		check(t, err)
		run = s.Run
		return s.Run != "left" && s.State == prewarm.Done
	})
	again, _ := n.begin(t.Context(), "left") // as if it had seen that run being planned until now
	if s, err := n.PrewarmStatus(t.Context()); again || err != nil || s.Run != run {
		t.Errorf("after the run %s there is %s, %v", run, s.Run, err)
	}
}

func TestNodeWithoutPrewarmSaysSo(t *testing.T) {
	n, err := New(Config{RedisURL: "redis://127.0.0.1:1", Origin: newCounting(nil), NoPrewarm: true})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	_, begun := n.BeginPrewarm(t.Context(), prewarm.Options{})
	_, told := n.PrewarmStatus(t.Context())
	for what, err := range map[string]error{"begin": begun, "status": told, "cancel": n.CancelPrewarm(t.Context())} {
		if !errors.Is(err, ErrNoPrewarm) {
			t.Errorf("%s: %v; want ErrNoPrewarm", what, err)
		}
	}
}
