package watch

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// truth is an origin in memory that counts how often each id is asked for.
type truth struct {
	mu       sync.Mutex
	versions map[string]int64 // guarded by mu
	asked    map[string]int   // guarded by mu
}

// newTruth returns an origin that knows the users 1 to n, each of version 1.
func newTruth(n int) *truth {
	t := &truth{versions: map[string]int64{}, asked: map[string]int{}}
	for i := 1; i <= n; i++ {
		t.versions[strconv.Itoa(i)] = 1
	}
	return t
}

func user(id string, version int64) *profile.Profile {
	return &profile.Profile{ID: id, FullName: "Amélie Ngo Mbé " + id, UpdatedAt: version}
}

func (t *truth) set(p *profile.Profile) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.versions[p.ID] = p.UpdatedAt
}

func (t *truth) timesAsked(id string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.asked[id]
}

func (t *truth) answer(_ context.Context, ids []string) (profile.Batch, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := profile.Batch{Found: map[string]*profile.Profile{}}
	for _, id := range ids {
		t.asked[id]++
		if version := t.versions[id]; version > 0 {
			b.Found[id] = user(id, version)
		} else {
			b.Missing = append(b.Missing, id)
		}
	}
	return b, nil
}

// open returns a client that the test closes.
func open(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	client, err := redisconn.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// newCache returns a started cache over Redis at url, which trusts L1 without a stream.
func newCache(t *testing.T, url string, origin *truth) *tier.Cache {
	t.Helper()
	lower, err := l2.New(l2.Config{Client: open(t, url)})
	if err != nil {
		t.Fatal(err)
	}
	c, err := tier.New(tier.Config{L2: lower, Origin: tier.LoaderFunc(origin.answer), FenceAfter: -1, Watched: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func get(t *testing.T, c *tier.Cache, id string) tier.Result {
	t.Helper()
	r, err := c.Get(t.Context(), id)
	if err != nil {
		t.Fatalf("get %q: %v", id, err)
	}
	return r
}

// getL1 reads until the answer comes from memory, which applies what it was given in its own time.
func getL1(t *testing.T, c *tier.Cache, id string) {
	t.Helper()
	testkit.Eventually(t, 10*time.Second, "an answer from memory", func() bool { return get(t, c, id).Tier == look.FromL1 })
}
