// Package growth measures what more users cost a node: the time of a hit, memory, and what the
// garbage collector stops, beside the bare library under it with as many.
//
//	go run -C benchmarks . growth -users 10000,100000,1000000 -out results
package growth

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/chatapp-ngomna/edgecache/bench/load"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source/sample"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

const (
	// rounds is how many turns each contender has, and turn how long one is.
	rounds = 9
	turn   = 200 * time.Millisecond
	// group is how many lookups are made between two looks at the clock.
	group = 256
	// roomPerUser is more than any entry takes.
	roomPerUser = 1024
	// meanEntry is what an entry of bare ristretto is accounted with.
	meanEntry = 500
	seed      = 1
)

// Run is the command growth.
func Run(ctx context.Context, args []string, stdout io.Writer) error {
	f := flag.NewFlagSet("growth", flag.ContinueOnError)
	list := f.String("users", "10000,100000,1000000", "how many users, by commas; 3000000 need 6 GiB")
	out := f.String("out", "", "folder for growth.md; default none is written")
	if err := f.Parse(args); err != nil {
		return err
	}
	var results []result
	for text := range strings.SplitSeq(*list, ",") {
		users, err := strconv.Atoi(text)
		if err != nil || users < 1000 {
			return fmt.Errorf("-users: %q; want numbers from 1000 on", text)
		}
		r, err := measure(ctx, users)
		if err != nil {
			return fmt.Errorf("%d users: %w", users, err)
		}
		fmt.Fprintf(stdout, "%d users: edgecache %.0f ns, ristretto %.0f ns, %.0f bytes a user\n", users, r.edgecache, r.bare, r.bytes)
		results = append(results, r)
	}
	text := table(results)
	fmt.Fprint(stdout, "\n", text)
	if *out == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(*out, "growth.md"), []byte(text), 0o644)
}

// result is what so many users cost.
type result struct {
	users           int
	edgecache, bare float64 // nanoseconds a hit, the median of the rounds
	low, high       float64 // of edgecache's rounds
	bytes           float64 // that a node's heap grew by for each user
	pause           float64 // seconds: the 99th of 100 stops for the collector
	fill            time.Duration
}

// people is the source of truth: it makes up every user that it is asked for.
type people struct{}

// Load implements tier.Loader.
func (people) Load(_ context.Context, id string) (*profile.Profile, error) {
	i, err := strconv.Atoi(id)
	if err != nil {
		return nil, fmt.Errorf("user %q: %w", id, profile.ErrNotFound)
	}
	return sample.User(seed, i), nil
}

// LoadBatch implements tier.Loader.
func (p people) LoadBatch(ctx context.Context, ids []string) (profile.Batch, error) {
	b := profile.Batch{Found: make(map[string]*profile.Profile, len(ids))}
	for _, id := range ids {
		user, err := p.Load(ctx, id)
		if err != nil {
			return b, err
		}
		b.Found[id] = user
	}
	return b, nil
}

// measure has a node and a bare cache with the same users look them up in turns.
func measure(ctx context.Context, users int) (r result, err error) {
	r.users = users
	server, err := redistest.Start(ctx, redistest.Options{})
	if err != nil {
		return r, err
	}
	defer server.Close()
	ids := make([]string, users)
	for i, k := range rand.New(rand.NewPCG(seed, 3)).Perm(users) {
		ids[i] = strconv.Itoa(k + 1)
	}
	before, began := heap(), time.Now()
	n, err := node.New(node.Config{RedisURL: server.URL(), Origin: people{}, Tier: tier.Config{L1Bytes: max(256<<20, int64(users)*roomPerUser)}})
	if err != nil {
		return r, err
	}
	defer n.Close()
	if err := errors.Join(n.Start(ctx), fill(ctx, n, ids)); err != nil {
		return r, err
	}
	r.fill, r.bytes = time.Since(began), float64(heap()-before)/float64(users)
	cache, err := bare(ids)
	if err != nil {
		return r, err
	}
	defer cache.Close()
	return r, r.race(ctx, lookups(ctx, n, ids), cached(cache, ids))
}

// heap returns what is alive, in bytes.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what the first has only finalized
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// fill reads all users until memory has them.
func fill(ctx context.Context, n *node.Node, ids []string) error {
	for range 10 {
		misses := 0
		for some := range slices.Chunk(ids, origin.MaxBatch) {
			got, err := n.BatchGet(ctx, some, tier.Want{})
			if err != nil {
				return err
			}
			for _, one := range got.Found {
				if one.Tier != look.FromL1 {
					misses++
				}
			}
		}
		if misses == 0 {
			return nil
		}
	}
	return errors.New("memory does not take all users")
}

func bare(ids []string) (*ristretto.Cache[string, *profile.Profile], error) {
	cache, err := ristretto.NewCache(&ristretto.Config[string, *profile.Profile]{
		NumCounters: int64(4 * len(ids)), MaxCost: int64(len(ids) * 2 * meanEntry), BufferItems: 64, IgnoreInternalCost: true,
	})
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		p, err := people{}.Load(context.Background(), id)
		if err == nil {
			// its strings in one piece
			p, err = profile.DecodeMsgpack(profile.AppendMsgpack(nil, p))
		}
		if err != nil {
			return nil, err
		}
		if cache.Set(id, p, meanEntry); i%1000 == 0 {
			cache.Wait()
		}
	}
	cache.Wait()
	return cache, nil
}

var errMiss = errors.New("a miss where a hit was expected")

// sink keeps the compiler from leaving out what is only looked at.
var sink atomic.Uint64

func touch(p *profile.Profile) uint64 { return uint64(len(p.FullName)) + uint64(p.UpdatedAt) }

func lookups(ctx context.Context, n *node.Node, ids []string) load.Pass {
	ctx = context.WithoutCancel(ctx)
	return func(_ int, at uint64, count int) error {
		sum := uint64(0)
		for i := range uint64(count) {
			got, err := n.Get(ctx, ids[(at+i)%uint64(len(ids))])
			if err != nil {
				return err
			}
			sum += touch(got.Profile)
		}
		sink.Store(sum)
		return nil
	}
}

func cached(cache *ristretto.Cache[string, *profile.Profile], ids []string) load.Pass {
	return func(_ int, at uint64, count int) error {
		sum := uint64(0)
		for i := range uint64(count) {
			p, ok := cache.Get(ids[(at+i)%uint64(len(ids))])
			if !ok {
				return errMiss
			}
			sum += touch(p)
		}
		sink.Store(sum)
		return nil
	}
}

// race gives both turns, one goroutine each, and forces the collector to work meanwhile.
func (r *result) race(ctx context.Context, edgecache, bare load.Pass) error {
	var mine, others []float64
	stops := stopped()
	for range rounds {
		for pass, times := range map[*load.Pass]*[]float64{&edgecache: &mine, &bare: &others} {
			runtime.GC()
			rate, err := load.ClosedPass(ctx, 1, group, turn, *pass)
			if err != nil {
				return err
			}
			*times = append(*times, 1e9/rate)
		}
	}
	slices.Sort(mine)
	slices.Sort(others)
	r.edgecache, r.bare, r.low, r.high = mine[rounds/2], others[rounds/2], mine[0], mine[rounds-1]
	r.pause = quantile(stopped(), stops, 0.99)
	return nil
}

// stopped returns how often the collector has stopped everything, by for how long.
func stopped() *metrics.Float64Histogram {
	s := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(s)
	h := s[0].Value.Float64Histogram()
	return &metrics.Float64Histogram{Counts: slices.Clone(h.Counts), Buckets: slices.Clone(h.Buckets)}
}

// quantile returns the upper end of the bucket in which the q-quantile of what came after before
// is.
func quantile(now, before *metrics.Float64Histogram, q float64) float64 {
	total, seen := uint64(0), uint64(0)
	for i, n := range now.Counts {
		total += n - before.Counts[i]
	}
	for i, n := range now.Counts {
		if seen += n - before.Counts[i]; total > 0 && float64(seen) >= q*float64(total) {
			return now.Buckets[min(i+1, len(now.Buckets)-1)]
		}
	}
	return math.NaN()
}

const head = `# What more users cost

Hits of one goroutine, users in random order, the median of nine turns of 200 ms beside bare ristretto with as many profiles in the same
process; "growth" is edgecache's time divided by that with the fewest users, and then by ristretto's growth: what is above 1 is edgecache's
own. Bytes are what the heap grew by when a node was filled from the origin through Redis. Pauses are of the garbage collector, forced
before each turn.

| users | edgecache | lowest and highest turn | ristretto | edgecache / ristretto | growth | growth beyond ristretto's (goal 1.5) | bytes a user | p99 of the pauses | to fill |
|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
`

func table(results []result) string {
	var b strings.Builder
	b.WriteString(head)
	first := results[0]
	for _, r := range results {
		growth := r.edgecache / first.edgecache
		fmt.Fprintf(&b, "| %d | %.0f ns | %.0f-%.0f ns | %.0f ns | %.2f | %.2f | %.2f | %.0f | %.0f µs | %.1f s |\n",
			r.users, r.edgecache, r.low, r.high, r.bare, r.edgecache/r.bare, growth, growth/(r.bare/first.bare), r.bytes, r.pause*1e6, r.fill.Seconds())
	}
	return b.String()
}
