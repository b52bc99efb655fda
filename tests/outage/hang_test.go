package outage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
)

// delayed is an origin that takes its time, with every user there is.
type delayed struct{ by time.Duration }

func (d delayed) Load(ctx context.Context, id string) (*profile.Profile, error) {
	if wait(ctx, d.by); ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return &profile.Profile{ID: id, FullName: "User " + id, UpdatedAt: 1}, nil
}

func (d delayed) LoadBatch(ctx context.Context, ids []string) (profile.Batch, error) {
	b := profile.Batch{Found: map[string]*profile.Profile{}}
	for _, id := range ids {
		p, err := d.Load(ctx, id)
		if err != nil {
			return b, err
		}
		b.Found[id] = p
		d.by = 0
	}
	return b, nil
}

// TestNoReadOutlastsItsDeadline stops Redis under reads of every kind, for less and for longer than
// its client waits.
func TestNoReadOutlastsItsDeadline(t *testing.T) { canary.Judge(t, noReadOutlastsItsDeadline) }

func noReadOutlastsItsDeadline(t *testing.T, bird *canary.Canary) {
	const s = time.Second
	stops := pick([]time.Duration{s, 3 * s}, []time.Duration{s, 2 * s, 3 * s, 5 * s, 6 * s, 8 * s, 10 * s, 20 * s})
	for _, stopped := range stops {
		for _, by := range []time.Duration{0, 1500 * time.Millisecond} {
			// one after another: each keeps the machine busy by itself
			for _, warm := range []bool{true, false} {
				t.Run(fmt.Sprintf("%v, origin takes %v, warm %v", stopped, by, warm), func(t *testing.T) {
					stopUnderReads(t, bird, stopped, by, warm)
				})
			}
		}
	}
}

// hung is a cache over a Redis that is stopped, and what its readers saw.
type hung struct {
	*tier.Cache
	bird          *canary.Canary
	reads, failed atomic.Int64
	users         int

	mu      sync.Mutex
	longest time.Duration // guarded by mu, as from, when that read began
	from    time.Time
	why     string // of a read that failed while the machine was well; guarded by mu
}

func stopUnderReads(t *testing.T, bird *canary.Canary, stopped, by time.Duration, warm bool) {
	server := redistest.Server(t)
	client, err := redisconn.Open(server.URL())
	check(t, err)
	closing(t, client)
	lower, err := l2.New(l2.Config{Client: client})
	check(t, err)
	c, err := tier.New(tier.Config{L2: lower, Origin: delayed{by}, FenceAfter: -1})
	check(t, err)
	closing(t, c)
	check(t, c.Start(t.Context()))
	h := &hung{Cache: c, users: 100_000, bird: bird}
	ctx, stop := context.WithCancel(t.Context())
	most := watchGoroutines(ctx)
	var readers sync.WaitGroup
	start := func() {
		for i := range 32 {
			readers.Go(func() { h.read(ctx, t, i) })
		}
	}
	if warm {
		start()
		wait(ctx, time.Second)
	}
	before := max(most.Swap(0), 100)
	check(t, server.Pause())
	if !warm {
		start()
	}
	wait(ctx, stopped)
	check(t, server.Resume())
	during := most.Load()
	wait(ctx, time.Second/2)
	stop()
	readers.Wait()
	const deadline = 2 * time.Second
	if !bird.Excuses("a read", h.from, h.from.Add(h.longest), deadline+100*time.Millisecond) {
		t.Errorf("a read took %v", h.longest)
	}
	if by == 0 && h.why != "" {
		t.Errorf("reads failed while the origin was well: %s", h.why)
	}
	if during > 2*before {
		t.Errorf("%d goroutines, %d before", during, before)
	}
	result(t, "Redis stopped, no read takes longer than LoadDeadline + 100 ms", "%d reads, the longest %v, %d failed, %d goroutines (before %d)",
		h.reads.Load(), h.longest.Round(time.Millisecond), h.failed.Load(), during, before)
}

// read reads one after the other, of its own kind: one user or several, whether it could leave or
// not.
func (h *hung) read(ctx context.Context, t *testing.T, kind int) {
	rnd := rand.New(rand.NewPCG(1, uint64(kind)))
	each := context.Background()
	if kind%2 == 0 {
		var cancel context.CancelFunc
		each, cancel = context.WithCancel(each)
		defer cancel()
	}
	many := []int{0, 0, 0, 0, 0, 1, 100, 2000}[kind/2%8]
	for ctx.Err() == nil {
		ids := make([]string, max(1, many))
		for i := range ids {
			ids[i] = strconv.Itoa(1 + rnd.IntN(h.users))
		}
		began := time.Now()
		errs := map[string]error{}
		if many == 0 {
			if _, err := h.GetWith(each, ids[0], tier.Want{MaxAge: 1}); err != nil {
				errs[ids[0]] = err
			}
		} else if b, err := h.BatchGet(each, ids, tier.Want{MaxAge: 1}); err != nil {
			t.Error(err)
		} else {
			errs = b.Errors
		}
		for _, err := range errs {
			if !errors.Is(err, profile.ErrUnavailable) {
				t.Error(err)
			}
		}
		h.reads.Add(1)
		h.fail(began, errs)
		h.took(began, time.Since(began))
		wait(ctx, time.Millisecond)
	}
}

// fail counts what failed of one read. With an origin that is well a load has to wait for Redis
// twice, half of its time and a quarter; what the machine added to that is no fault.
func (h *hung) fail(began time.Time, errs map[string]error) {
	h.failed.Add(int64(len(errs)))
	now := time.Now()
	if len(errs) == 0 || h.bird.Excuses("a read that failed", began, now, 1600*time.Millisecond) && now.Sub(began) > 1600*time.Millisecond {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, err := range errs {
		h.why = fmt.Sprintf("%d users after %v: %v", len(errs), now.Sub(began), err)
	}
}

// took keeps the longest of all reads.
func (h *hung) took(began time.Time, d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d > h.longest {
		h.longest, h.from = d, began
	}
}
