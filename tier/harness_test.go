package tier

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
)

// truth is an origin in memory that counts how often each id is asked for.
type truth struct {
	mu       sync.Mutex
	profiles map[string]*profile.Profile
	asked    map[string]int
	calls    atomic.Int64
	// before runs in every call, after it read what it will answer: delays and failures.
	before func(ctx context.Context, id string) error
}

func newTruth(users int) *truth {
	t := &truth{profiles: map[string]*profile.Profile{}, asked: map[string]int{}}
	for i := 1; i <= users; i++ {
		t.set(user(strconv.Itoa(i), 1))
	}
	return t
}

func user(id string, version int64) *profile.Profile {
	return &profile.Profile{
		ID: id, Nom: "Ngo Mbé", Prenom: "Amélie", FullName: "Amélie Ngo Mbé " + id, Avatar: "https://cdn.example.org/avatars/" + id + ".webp",
		Matricule: "623456-K", Ministere: "MINSANTE", Sexe: "F", UpdatedAt: version,
	}
}

func (t *truth) set(p *profile.Profile) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.profiles[p.ID] = p
}

func (t *truth) timesAsked(id string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.asked[id]
}

func (t *truth) read(id string) *profile.Profile {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked[id]++
	if p := t.profiles[id]; p != nil {
		return p.Clone()
	}
	return nil
}

func (t *truth) Load(ctx context.Context, id string) (*profile.Profile, error) {
	t.calls.Add(1)
	p := t.read(id)
	if t.before != nil {
		if err := t.before(ctx, id); err != nil {
			return nil, err
		}
	}
	if p == nil {
		return nil, fmt.Errorf("truth: %w", profile.ErrNotFound)
	}
	return p, nil
}

func (t *truth) LoadBatch(ctx context.Context, ids []string) (profile.Batch, error) {
	t.calls.Add(1)
	b := profile.Batch{Found: map[string]*profile.Profile{}, Errors: map[string]error{}}
	for _, id := range ids {
		if p := t.read(id); p != nil {
			b.Found[id] = p
		} else {
			b.Missing = append(b.Missing, id)
		}
		if t.before != nil {
			if err := t.before(ctx, id); err != nil {
				delete(b.Found, id)
				b.Errors[id] = err
			}
		}
	}
	return b, nil
}

// open returns a client that the test closes.
func open(tb testing.TB, url string) redis.UniversalClient {
	tb.Helper()
	client, err := redisconn.Open(url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

// newCache returns a started cache over Redis at url that trusts L1 without a stream; change
// adjusts its Config.
func newCache(tb testing.TB, url string, origin Loader, change func(*Config)) *Cache {
	tb.Helper()
	lower, err := l2.New(l2.Config{Client: open(tb, url)})
	if err != nil {
		tb.Fatal(err)
	}
	conf := Config{L2: lower, Origin: origin, FenceAfter: -1}
	if change != nil {
		change(&conf)
	}
	return startCache(tb, conf)
}

// startCache returns a started cache that the test closes.
func startCache(tb testing.TB, conf Config) *Cache {
	tb.Helper()
	c, err := New(conf)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	if err := c.Start(context.Background()); err != nil {
		tb.Fatal(err)
	}
	return c
}

// check fails the test when there is an error.
func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls until ok, or fails after 10 s.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited 10 s for %s", what)
		}
	}
}
