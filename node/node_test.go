package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// mute takes the client's own lines, one per refused connection, out of the output.
type mute struct{}

func (mute) Printf(context.Context, string, ...any) {}

// TestMain finds goroutines that do not end. memberlist ends its own without being awaited, a probe
// that is under way up to a second later: so what is left is looked at again for a while.
func TestMain(m *testing.M) {
	redis.SetLogger(mute{})
	if env := os.Getenv(childEnv); env != "" {
		child(env)
		return
	}
	code := m.Run()
	for deadline := time.Now().Add(10 * time.Second); code == 0; {
		err := goleak.Find(
			// The origin's server: one goroutine a process for the Date header, one a server that
			// sleeps up to 10 s longer.
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// people is an origin in memory.
type people struct {
	mu sync.Mutex
	m  map[string]*profile.Profile
}

func newPeople(n int) *people {
	p := &people{m: map[string]*profile.Profile{}}
	for i := 1; i <= n; i++ {
		p.set(person(fmt.Sprint(i), 1))
	}
	return p
}

func person(id string, version int64) *profile.Profile {
	return &profile.Profile{ID: id, Prenom: "Awa", Nom: "Diop " + id, FullName: "Awa Diop " + id, UpdatedAt: version}
}

func (p *people) set(q *profile.Profile) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.m[q.ID] = q
}

func (p *people) remove(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.m, id)
}

func (p *people) Load(_ context.Context, id string) (*profile.Profile, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q := p.m[id]; q != nil {
		return q.Clone(), nil
	}
	return nil, profile.ErrNotFound
}

func (p *people) LoadBatch(ctx context.Context, ids []string) (profile.Batch, error) {
	b := profile.Batch{Found: map[string]*profile.Profile{}}
	for _, id := range ids {
		if q, err := p.Load(ctx, id); err == nil {
			b.Found[id] = q
		} else {
			b.Missing = append(b.Missing, id)
		}
	}
	return b, nil
}

func start(t *testing.T, url string, origin tier.Loader) *Node {
	t.Helper()
	n, err := New(Config{RedisURL: url, Origin: origin})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited 40 s for %s", what)
		}
	}
}

// resident reads until the answer comes from L1.
func resident(t *testing.T, n *Node, id string) (r tier.Result) {
	t.Helper()
	eventually(t, id+" to be in L1", func() (ok bool) {
		var err error
		r, err = n.Get(t.Context(), id)
		return err == nil && r.Tier == look.FromL1
	})
	return r
}

func TestPutAndInvalidateReachEveryNode(t *testing.T) {
	for _, name := range []string{"redis", "cluster", "sentinel"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, origin := redistest.Kinds()[name](t), newPeople(2)
			nodes := []*Node{start(t, url, origin), start(t, url, origin), start(t, url, origin)}
			for _, n := range nodes {
				resident(t, n, "1")
				resident(t, n, "2")
			}
			changed := person("1", 2)
			origin.set(changed)
			if err := nodes[0].Put(t.Context(), changed); err != nil {
				t.Fatal(err)
			}
			origin.set(person("2", 5))
			if err := nodes[1].Invalidate(t.Context(), "2"); err != nil {
				t.Fatal(err)
			}
			for i, n := range nodes {
				eventually(t, fmt.Sprintf("node %d to see the changes", i), func() bool {
					a, errA := n.Get(t.Context(), "1")
					b, errB := n.Get(t.Context(), "2")
					return errA == nil && errB == nil && a.Version() == 2 && b.Version() == 5
				})
				if r := resident(t, n, "1"); r.Version() != 2 {
					t.Errorf("node %d: version %d in L1", i, r.Version())
				}
			}
			if s := nodes[2].Stats(); s.Cache.Refreshes == 0 || s.Stream.Entries < 2 || s.Cache.Fenced || s.L2TTL.Duration() != 7*24*time.Hour {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

func TestPutThatCannotBeAnnouncedSaysSo(t *testing.T) {
	server := redistest.Server(t)
	n := start(t, server.URL(), newPeople(1))
	if err := server.Client().Set(t.Context(), "events:users", "not a stream", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := n.Put(t.Context(), person("1", 2)); !errors.Is(err, ErrNotTold) {
		t.Errorf("put: %v, want ErrNotTold", err)
	}
	if err := n.Invalidate(t.Context(), "1"); !errors.Is(err, ErrNotTold) {
		t.Errorf("invalidate: %v, want ErrNotTold", err)
	}
}

func TestStreamMaxLenBoundsTheStream(t *testing.T) {
	server := redistest.Server(t)
	n, err := New(Config{RedisURL: server.URL(), Origin: newPeople(1), StreamMaxLen: 100})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	for range 500 {
		if err := n.Invalidate(t.Context(), "1"); err != nil {
			t.Fatal(err)
		}
	}
	// trimmed by whole nodes of 100
	if got := server.Client().XLen(t.Context(), "events:users").Val(); got < 100 || got > 250 {
		t.Errorf("%d entries; want about 100", got)
	}
	if _, err := New(Config{RedisURL: server.URL(), Origin: newPeople(1), StreamMaxLen: -1}); err == nil || !strings.Contains(err.Error(), "StreamMaxLen is -1") {
		t.Errorf("StreamMaxLen -1: %v", err)
	}
}

func TestLifeCycle(t *testing.T) {
	server := redistest.Server(t)
	n, err := New(Config{RedisURL: server.URL(), Origin: newPeople(1)})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Ready(); !errors.Is(err, ErrNotReady) {
		t.Errorf("ready before Start: %v", err)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(server.URL(), "redis://")) {
		t.Errorf("Start without Redis: %v, want an error that names its address", err)
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := n.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Ready(); err != nil {
		t.Errorf("ready: %v", err)
	}
	for range 2 {
		if err := n.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if err := n.Ready(); !errors.Is(err, ErrNotReady) {
		t.Errorf("ready after Close: %v", err)
	}
	if err := n.Start(t.Context()); !errors.Is(err, tier.ErrClosed) {
		t.Errorf("Start after Close: %v", err)
	}
	if _, err := n.Get(t.Context(), "1"); !errors.Is(err, tier.ErrClosed) {
		t.Errorf("Get after Close: %v", err)
	}
	never, err := New(Config{RedisURL: server.URL(), Origin: newPeople(0)})
	if err != nil {
		t.Fatal(err)
	}
	if err := never.Close(); err != nil {
		t.Errorf("Close before Start: %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for part, conf := range map[string]Config{
		"RedisURL is empty": {Origin: newPeople(0)},
		"Origin is nil":     {RedisURL: "redis://h:1"},
		`"h:x"`:             {RedisURL: "redis://h:x", Origin: newPeople(0)},
		"at least 1 MiB":    {RedisURL: "redis://h:1", Origin: newPeople(0), Tier: tier.Config{L1Bytes: 1}},
		"TTL is 1s":         {RedisURL: "redis://h:1", Origin: newPeople(0), L2: l2.Config{TTL: time.Second}},
	} {
		if _, err := New(conf); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("New: %v, want %q", err, part)
		}
	}
}

// A reply that is lost makes the Redis client ask again, and Redis answer that it knows that
// version: the others must hear of it all the same.
func TestPutWhoseReplyIsLostIsAnnounced(t *testing.T) {
	server := redistest.Server(t)
	link := redistest.ProxyTo(t, server.Addr)
	writer := start(t, "redis://"+link.Addr, newPeople(1))
	// which would make it good
	other, err := New(Config{RedisURL: server.URL(), Origin: newPeople(1), NoWatch: true})
	check(t, err)
	t.Cleanup(func() { check(t, other.Close()) })
	check(t, other.Start(t.Context()))
	resident(t, other, "1")
	check(t, writer.Put(t.Context(), person("1", 2))) // the script is loaded
	link.CutReply("evalsha", 0)
	err = writer.Put(t.Context(), person("1", 3))
	t.Logf("the writer was told: %v", err)
	eventually(t, "the other node to have the change", func() bool {
		got, err := other.Get(t.Context(), "1")
		return err == nil && got.Version() == 3
	})
}
