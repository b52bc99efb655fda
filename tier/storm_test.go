package tier

import (
	"context"
	"flag"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/oracle"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

var (
	stormFor  = flag.Duration("storm", 5*time.Second, "how long the storm test runs")
	stormSeed = flag.Uint64("storm-seed", 0, "seed of the storm's choices; 0 takes one from the clock")
)

// storm is three nodes on one Redis whose fills are delayed by 0-50 ms while changes and
// invalidations fall on a few keys and junk keeps the engines' buffers full. Changes are
// acknowledged only when all nodes were told, so the oracle's bound is 0: one answer older than
// that by a microsecond is a violation.
type storm struct {
	nodes  []*Cache
	judges []*oracle.Node
	origin *truth
	oracle *oracle.Oracle
	seed   uint64
	url    string
}

const (
	stormUsers   = 64
	stormWriters = 4
	stormReaders = 12
)

func newStorm(t *testing.T) *storm {
	s := &storm{origin: newTruth(stormUsers), oracle: oracle.New(oracle.Config{}), seed: *stormSeed}
	if s.seed == 0 {
		s.seed = uint64(time.Now().UnixNano())
	}
	t.Logf("storm seed %d", s.seed)
	s.origin.before = func(ctx context.Context, _ string) error {
		select {
		case <-time.After(rand.N(50 * time.Millisecond)):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.url = redistest.Server(t).URL()
	for i := range 3 {
		s.nodes = append(s.nodes, newCache(t, s.url, s.origin, nil))
		s.judges = append(s.judges, s.oracle.Node("node "+strconv.Itoa(i+1)))
	}
	return s
}

// run ends after d, or at the first violation when until is set.
func (s *storm) run(t *testing.T, d time.Duration, untilFound bool) {
	// No deadline: the Redis client would put it on the wire, and the last changes would end half
	// done.
	ctx, cancel := context.WithCancel(t.Context())
	defer time.AfterFunc(d, cancel).Stop()
	defer cancel()
	var wg sync.WaitGroup
	for w := range stormWriters {
		wg.Go(func() { s.write(ctx, t, w) })
	}
	for r := range stormReaders {
		wg.Go(func() {
			if s.read(ctx, t, r); untilFound {
				cancel()
			}
		})
	}
	for _, c := range s.nodes {
		wg.Go(func() { clog(ctx, c) })
	}
	wg.Wait()
}

// write changes the users that belong to one writer: half the time by an update that everyone is
// told in full, else by an invalidation that tells no version.
func (s *storm) write(ctx context.Context, t *testing.T, w int) {
	r := rand.New(rand.NewPCG(s.seed, uint64(w)))
	for version := int64(2); ctx.Err() == nil; version++ {
		id := strconv.Itoa(1 + w + stormWriters*r.IntN(stormUsers/stormWriters))
		p := user(id, version)
		s.origin.set(p)
		if err := s.change(ctx, r, version, id); err != nil {
			if ctx.Err() == nil {
				t.Errorf("change %q: %v", id, err)
			}
			return
		}
		s.oracle.Acked(id, version, time.Now())
		pause(ctx, time.Duration(r.Int64N(int64(2*time.Millisecond))))
	}
}

func (s *storm) change(ctx context.Context, r *rand.Rand, version int64, id string) error {
	p := user(id, version)
	switch r.IntN(4) {
	case 0, 1:
		if err := s.nodes[0].l2.Invalidate(ctx, id); err != nil {
			return err
		}
		for _, c := range s.nodes {
			c.Forget(id, 0)
		}
	case 2:
		if _, err := s.nodes[0].l2.Apply(ctx, p); err != nil {
			return err
		}
		for _, c := range s.nodes {
			c.Refresh(p)
		}
	default:
		if _, err := s.nodes[0].l2.Apply(ctx, p); err != nil {
			return err
		}
		for _, c := range s.nodes {
			c.Forget(id, version)
		}
	}
	return nil
}

func (s *storm) read(ctx context.Context, t *testing.T, n int) {
	r := rand.New(rand.NewPCG(s.seed, uint64(1000+n)))
	node := n % len(s.nodes)
	for ctx.Err() == nil {
		id := strconv.Itoa(1 + r.IntN(stormUsers))
		judged := s.judges[node].Begin(id)
		got, err := s.nodes[node].Get(ctx, id)
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("get %q: %v", id, err)
			}
			continue
		}
		if v := judged.End(got.Version(), got.Tier == look.FromStale); v != nil {
			return
		}
	}
}

// clog keeps the engine's buffer of writes full, so that it drops Sets and delays Dels.
func clog(ctx context.Context, c *Cache) {
	junk := newEntry(user("junk", 1))
	for key := uint64(0); ctx.Err() == nil; key++ {
		if c.l1.engine.Set(key, junk, 1); key%1000 == 0 {
			pause(ctx, 100*time.Microsecond)
		}
	}
}

// pause waits for d or ctx.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func TestStorm(t *testing.T) {
	s := newStorm(t)
	s.run(t, *stormFor, false)
	stats := s.oracle.Stats()
	var hits, invalidations uint64
	for _, c := range s.nodes {
		hits += c.Stats().L1Hits
		invalidations += c.Stats().Invalidations
	}
	t.Logf("%v; L1 hits %d, invalidations on three nodes %d", stats, hits, invalidations)
	if err := s.oracle.Err(); err != nil {
		t.Error(err)
	}
	if hits == 0 || invalidations < 100 {
		t.Error("the storm did not blow: want hits of L1 and invalidations")
	}
}
