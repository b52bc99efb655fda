package watch

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// watched returns a cache over Redis at url whose watch has its links.
func watched(t *testing.T, url string, origin *truth, links int64) (*tier.Cache, *Watch) {
	t.Helper()
	c := newCache(t, url, origin)
	w := watchWith(t, url, c, nil)
	testkit.Eventually(t, 10*time.Second, "the watch to have its links", func() bool { return w.Stats().Links == links })
	return c, w
}

// watchWith starts a watch of a cache; log may be nil.
func watchWith(t *testing.T, url string, c *tier.Cache, log *slog.Logger) *Watch {
	t.Helper()
	pushes, err := redisconn.OpenPush(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pushes.Close() })
	redirects, err := redisconn.OpenWatch(url, Track)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = redirects.Close() })
	w, err := New(Config{Client: pushes, Redirected: redirects, Cache: c, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	for range 2 {
		if err := w.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func TestOutsideWritesReachL1(t *testing.T) {
	for name, start := range map[string]func(*testing.T) (string, int64){
		"redis":    func(t *testing.T) (string, int64) { return redistest.Server(t).URL(), 1 },
		"cluster":  func(t *testing.T) (string, int64) { return redistest.Cluster(t).URL(), 3 },
		"sentinel": func(t *testing.T) (string, int64) { return redistest.Sentinel(t, redistest.Options{}).URL(), 1 },
	} {
		t.Run(name, func(t *testing.T) {
			url, links := start(t)
			origin, redisCLI := newTruth(20), open(t, url)
			c, w := watched(t, url, origin, links)
			for i := range 20 {
				getL1(t, c, fmt.Sprint(i+1))
			}
			for i := 1; i <= 5; i++ {
				origin.set(user(fmt.Sprint(i), 9))
				if err := redisCLI.Del(t.Context(), fmt.Sprintf("user:profile:%d", i)).Err(); err != nil {
					t.Fatal(err)
				}
			}
			for i := 6; i <= 10; i++ {
				if err := redisCLI.HSet(t.Context(), fmt.Sprintf("user:profile:%d", i), "fullName", "Theirs", "updatedAt", 9).Err(); err != nil {
					t.Fatal(err)
				}
			}
			for i := 1; i <= 10; i++ {
				id := fmt.Sprint(i)
				testkit.Eventually(t, 10*time.Second, id+" to change", func() bool { return get(t, c, id).Version() == 9 })
			}
			for i := 11; i <= 20; i++ {
				if r := get(t, c, fmt.Sprint(i)); r.Tier != look.FromL1 {
					t.Errorf("%d was not written by others and comes from %v, want L1", i, r.Tier)
				}
			}
			testkit.Eventually(t, 10*time.Second, "10 entries to be counted", func() bool { return w.Stats().Outside >= 10 })
			if n := w.Stats().Outside; n != 10 {
				t.Errorf("%d entries were thrown out, want 10", n)
			}
			flushAll(t, redisCLI)
			asked := origin.timesAsked("15")
			testkit.Eventually(t, 10*time.Second, "FLUSHALL to be noticed", func() bool { get(t, c, "15"); return origin.timesAsked("15") > asked })
		})
	}
}

func flushAll(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	flush := func(ctx context.Context, c *redis.Client) error { return c.FlushAll(ctx).Err() }
	var err error
	switch c := client.(type) {
	case *redis.ClusterClient:
		err = c.ForEachMaster(t.Context(), flush)
	case *redis.Client:
		err = flush(t.Context(), c)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What the node itself and its peers fill must stay, or L1 would empty itself.
func TestOwnFillsStay(t *testing.T) {
	url, origin := redistest.Server(t).URL(), newTruth(2000)
	c, w := watched(t, url, origin, 1)
	var ids []string
	for i := range 2000 {
		ids = append(ids, fmt.Sprint(i+1))
	}
	if _, err := c.BatchGet(t.Context(), ids, tier.Want{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Put(t.Context(), user("7", 5)); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 10*time.Second, "all notices", func() bool { return w.Stats().Notices >= 2001 })
	misses := c.Stats().L1Misses
	<-time.After(3 * rest)
	if _, err := c.BatchGet(t.Context(), ids, tier.Want{}); err != nil {
		t.Fatal(err)
	}
	if n := c.Stats().L1Misses - misses; n > 20 || w.Stats().Outside > 0 {
		t.Errorf("%d of 2,000 own fills are gone, %d thrown out; want them to stay", n, w.Stats().Outside)
	}
}

func TestLostWatchFlushesWhenItIsBack(t *testing.T) {
	server := redistest.ServerWith(t, redistest.Options{AOF: true})
	c, w := watched(t, server.URL(), newTruth(1), 1)
	flushes := c.Stats().Flushes
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 10*time.Second, "the link to be lost", func() bool { return w.Stats().Links == 0 })
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 10*time.Second, "the link to be back", func() bool { return w.Stats().Links == 1 })
	if n := c.Stats().Flushes - flushes; n != 1 {
		t.Errorf("%d flushes, want 1", n)
	}
	testkit.Eventually(t, 10*time.Second, "another link", func() bool { return w.Stats().Links == 1 })
	if way := w.Stats().Way; way != "push" {
		t.Errorf("the second link is by %s; want push, as the first", way)
	}
}

// Servers that refuse one way or the other are watched by the next. Each refusal is one warning,
// and writes of others are seen all the same.
func TestWaysOfWatching(t *testing.T) {
	for _, c := range []struct {
		name, way string
		lines     []string // of redis.conf
		rights    []any
		warnings  int
	}{
		{"all that Redis has", "push", nil, nil, 0},
		{"no RESP3", "redirect", []string{`rename-command HELLO ""`}, nil, 1},
		{"no tracking, but notifications", "keyspace", []string{"notify-keyspace-events Kgh"}, []any{"-client|tracking"}, 2},
		{"no tracking", "sweep", nil, []any{"-client|tracking"}, 3},
		{"notifications of other kinds", "sweep", []string{"notify-keyspace-events KE$"}, []any{"-client|tracking"}, 3},
		{"no tracking, and no word of notifications", "sweep", []string{"notify-keyspace-events KA"},
			[]any{"-client|tracking", "-config"}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.ServerWith(t, redistest.Options{Lines: c.lines})
			rights := append([]any{"ACL", "SETUSER", "node", "on", ">pw", "~*", "&*", "+@all"}, c.rights...)
			if err := server.Client().Do(t.Context(), rights...).Err(); err != nil {
				t.Fatal(err)
			}
			var log lockedBuffer
			url, origin := strings.Replace(server.URL(), "redis://", "redis://node:pw@", 1), newTruth(30)
			cache := newCache(t, url, origin)
			w := watchWith(t, url, cache, slog.New(slog.NewTextHandler(&log, nil)))
			testkit.Eventually(t, 10*time.Second, "the way "+c.way, func() bool { st := w.Stats(); return st.Links == 1 && st.Way == c.way })
			seesOthers(t, server.Client(), cache, w, origin)
			if n := strings.Count(log.String(), "WARN"); n != c.warnings {
				t.Errorf("%d warnings, want %d:\n%s", n, c.warnings, log.String())
			}
		})
	}
}

// seesOthers has others delete one user and change another behind the node's back, then all.
func seesOthers(t *testing.T, theirs *redis.Client, c *tier.Cache, w *Watch, origin *truth) {
	t.Helper()
	for i := range 30 {
		getL1(t, c, fmt.Sprint(i+1))
	}
	shown := func(id string) int64 {
		w.Shown(id)
		return get(t, c, id).Version()
	}
	origin.set(user("1", 9))
	if err := theirs.Del(t.Context(), "user:profile:1").Err(); err != nil {
		t.Fatal(err)
	}
	if err := theirs.HSet(t.Context(), "user:profile:2", "fullName", "Theirs", "updatedAt", 9).Err(); err != nil {
		t.Fatal(err)
	}
	origin.set(user("2", 9))
	testkit.Eventually(t, 10*time.Second, "1 to change", func() bool { return shown("1") == 9 })
	testkit.Eventually(t, 10*time.Second, "2 to change", func() bool { return shown("2") == 9 })
	asked := origin.timesAsked("20")
	flushAll(t, theirs)
	testkit.Eventually(t, 10*time.Second, "FLUSHALL to be noticed", func() bool {
		for i := range 30 {
			shown(fmt.Sprint(i + 1))
		}
		return origin.timesAsked("20") > asked
	})
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestWatchConfigIsChecked(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("New without a client succeeded")
	}
	never, err := New(Config{Client: open(t, "redis://127.0.0.1:1"), Cache: new(tier.Cache)})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := never.Close(); err != nil {
			t.Error(err)
		}
	}
}
