package node

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/oracle"
	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream"
)

var (
	stormFor = flag.Duration("storm", 5*time.Second, "how long the storm over three nodes blows")
	stormOut = flag.String("out", "", "folder to which the storm writes consistency.md and consistency.json")
)

const (
	stormUsers   = 2000
	stormWriters = 4
	stormReaders = 6
	stormBurst   = 48 // reads between two pauses of a reader
	bareStream   = "bare"
	// farApart is by how much the slowest in a hundred changes may take longer than a bare entry to
	// reach three readers.
	farApart = 2.0
)

// probe is one change on its way, or one bare entry: it has arrived when all three readers have it.
type probe struct {
	mu      sync.Mutex
	sent    time.Time
	waiting int
	took    time.Duration
	done    chan struct{}
}

func (p *probe) send() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting, p.done = 3, make(chan struct{})
	p.sent = time.Now()
	return p.done
}

func (p *probe) arrive(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting--; p.waiting == 0 {
		p.took = at.Sub(p.sent)
		close(p.done)
	}
}

// gale measures how long changes take to every L1, beside bare entries of the same size to three
// plain readers.
type gale struct {
	*rig
	probes map[string]*probe // by user; nil for all but those that the storm changes
	bare   map[string]*probe

	mu               sync.Mutex
	changes, entries []time.Duration
}

// timed notes when the event before it has been dealt with: from then on L1 refuses what it held.
type timed struct {
	stream.Handler
	probes map[string]*probe
}

func (h timed) Handle(e stream.Event) {
	h.Handler.Handle(e)
	if p := h.probes[e.UserID]; p != nil {
		p.arrive(time.Now())
	}
}

func newGale(t *testing.T, c *canary.Canary) *gale {
	g := &gale{probes: map[string]*probe{}, bare: map[string]*probe{}}
	for id := 1; id <= stormUsers; id++ {
		g.probes[strconv.Itoa(id)], g.bare[strconv.Itoa(id)] = &probe{}, &probe{}
	}
	url := redistest.Server(t).URL()
	g.rig = newRig(t, url, rigConfig{
		users: stormUsers, canary: c, wrap: func(_ int, h stream.Handler) stream.Handler { return timed{h, g.probes} },
	})
	for range 3 {
		client, err := redisconn.OpenTail(url)
		check(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var reading sync.WaitGroup
		reading.Go(func() { g.readBare(ctx, client) })
		t.Cleanup(func() { cancel(); reading.Wait(); _ = client.Close() })
	}
	return g
}

// readBare is the least that a reader of a stream does.
func (g *gale) readBare(ctx context.Context, c redis.UniversalClient) {
	for last := "0"; ctx.Err() == nil; {
		got, err := c.XRead(ctx, &redis.XReadArgs{Streams: []string{bareStream, last}, Count: 256, Block: 500 * time.Millisecond}).Result()
		now := time.Now()
		if err != nil || len(got) == 0 {
			continue
		}
		for _, m := range got[0].Messages {
			last = m.ID
			id, _ := m.Values["id"].(string)
			g.bare[id].arrive(now)
		}
	}
}

// blowFor changes users, one after another in each writer, and in turn sends a bare entry.
func (g *gale) blowFor(d time.Duration) {
	ctx, cancel := context.WithTimeout(g.Context(), d)
	defer cancel()
	var all sync.WaitGroup
	for w := range stormWriters {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(g.seed, uint64(w)))
			for ctx.Err() == nil {
				id := strconv.Itoa(1 + w + stormWriters*rnd.IntN(stormUsers/stormWriters))
				change := g.change(id, rnd.IntN(3) == 0)
				entry := g.entry(id)
				g.mu.Lock()
				g.changes, g.entries = append(g.changes, change), append(g.entries, entry)
				g.mu.Unlock()
			}
		})
	}
	for i := range stormReaders {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(g.seed, uint64(1000+i)))
			for ctx.Err() == nil {
				for range stormBurst {
					_, _ = g.look(g.Context(), i%3, strconv.Itoa(1+rnd.IntN(stormUsers)))
				}
				wait(ctx, time.Millisecond)
			}
		})
	}
	all.Wait()
}

// change makes one change, tells the cluster of it, and returns how long the news took to the last
// L1.
func (g *gale) change(id string, invalidate bool) time.Duration {
	v := g.source.next(id)
	p := person(id, v)
	g.source.set(p)
	e := stream.Event{Kind: profile.Updated, UserID: id, Version: v, Profile: p}
	var err error
	if invalidate {
		e = stream.Event{Kind: profile.Invalidated, UserID: id}
		err = g.source.announcer.L2.Invalidate(g.Context(), id)
	} else {
		_, err = g.source.announcer.L2.Apply(g.Context(), p)
	}
	check(g.T, err)
	arrived := g.probes[id].send()
	_, err = g.source.announcer.Publisher.Publish(g.Context(), e)
	check(g.T, err)
	g.oracle.Acked(id, v, time.Now())
	return g.await(arrived, g.probes[id])
}

func (g *gale) entry(id string) time.Duration {
	values, err := stream.Encode(stream.Event{Kind: profile.Updated, UserID: id, Version: 1, Profile: person(id, 1)})
	check(g.T, err)
	arrived := g.bare[id].send()
	check(g.T, g.nodes[0].client.XAdd(g.Context(), &redis.XAddArgs{
		Stream: bareStream, MaxLen: 100_000, Approx: true, Values: append(values, "id", id),
	}).Err())
	return g.await(arrived, g.bare[id])
}

func (g *gale) await(arrived <-chan struct{}, p *probe) time.Duration {
	select {
	case <-arrived:
		return p.took
	case <-time.After(10 * time.Second):
		g.Error("an entry has not arrived at all three readers after 10 s")
		return 10 * time.Second
	}
}

// spread says how a set of durations is spread.
type spread struct {
	Count int           `json:"count"`
	P50   time.Duration `json:"p50"`
	P99   time.Duration `json:"p99"`
	P999  time.Duration `json:"p999"`
	Max   time.Duration `json:"max"`
}

func spreadOf(ds []time.Duration) spread {
	slices.Sort(ds)
	at := func(q float64) time.Duration { return ds[min(len(ds)-1, int(q*float64(len(ds))))] }
	return spread{len(ds), at(0.5), at(0.99), at(0.999), ds[len(ds)-1]}
}

func (s spread) String() string {
	return fmt.Sprintf("%d: p50 %v, p99 %v, p99.9 %v, max %v", s.Count, s.P50, s.P99, s.P999, s.Max)
}

// result is what the storm has shown. Durations are in nanoseconds.
type result struct {
	Machine string        `json:"machine"`
	Blew    time.Duration `json:"blew"`
	Bound   time.Duration `json:"bound"`
	Oracle  oracle.Stats  `json:"oracle"`
	// Invalidations is how many changes the three nodes took, each node's counted.
	Invalidations uint64 `json:"invalidations"`
	// Change is from XADD to refused by the L1 of all three nodes, Bare from XADD to read by three
	// plain readers.
	Change spread  `json:"change"`
	Bare   spread  `json:"bare"`
	Ratio  float64 `json:"ratioOfP99"`
}

// TestStormOverThreeNodes has every answer judged while changes fall on three nodes as fast as they
// arrive.
func TestStormOverThreeNodes(t *testing.T) {
	canary.Judge(t, stormOverThreeNodes)
}

func stormOverThreeNodes(t *testing.T, c *canary.Canary) {
	g := newGale(t, c)
	g.lookAtAll() // so that the storm finds warm caches
	g.blowFor(*stormFor)
	wait(t.Context(), bound)
	g.lookAtAll()
	g.verdict()
	r := result{
		Machine: fmt.Sprintf("%s/%s, %d processors, %s, Redis over loopback", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version()),
		Blew:    *stormFor, Bound: bound, Oracle: g.oracle.Stats(), Change: spreadOf(g.changes), Bare: spreadOf(g.entries),
	}
	r.Ratio = float64(r.Change.P99) / float64(r.Bare.P99)
	t.Logf("%v\nchange to refused on three nodes %v\nbare entry to three readers      %v\nratio of p99 %.2f", r.Oracle, r.Change, r.Bare, r.Ratio)
	for _, n := range g.nodes {
		r.Invalidations += n.Stats().Cache.Invalidations
	}
	seconds := max(1, int64(*stormFor/time.Second))
	// on the slowest of machines
	reads, invalidations := min(5_000_000, 20_000*seconds), uint64(min(50_000, 60*seconds))
	if *stormFor >= time.Minute {
		reads, invalidations = 5_000_000, 50_000
	}
	t.Logf("result: storm of %v over three nodes | 5,000,000 reads, 50,000 invalidations, 0 stale beyond %v | %d reads, %d invalidations, %d stale",
		*stormFor, bound, r.Oracle.Reads, r.Invalidations, r.Oracle.Violations)
	t.Logf("result: XADD to refused by all three L1, beside bare XADD to three XREAD | p99 at most %.0f x | p50 %v / %v, p99 %v / %v, p99.9 %v / %v, max %v / %v: %.2f x",
		farApart, r.Change.P50, r.Bare.P50, r.Change.P99, r.Bare.P99, r.Change.P999, r.Bare.P999, r.Change.Max, r.Bare.Max, r.Ratio)
	if r.Oracle.Reads < reads || r.Invalidations < invalidations {
		t.Errorf("the storm did not blow: %d reads, %d invalidations; want %d and %d", r.Oracle.Reads, r.Invalidations, reads, invalidations)
	}
	if *stormOut != "" {
		r.write(t, *stormOut)
	}
	if *stormFor >= time.Minute && r.Ratio > farApart {
		t.Errorf("p99 is %.2f times that of a bare entry, want %.1f", r.Ratio, farApart)
	}
}

func (r result) write(t *testing.T, dir string) {
	t.Helper()
	check(t, os.MkdirAll(dir, 0o755))
	b, err := json.MarshalIndent(r, "", "  ")
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "consistency.json"), append(b, '\n'), 0o644))
	check(t, os.WriteFile(filepath.Join(dir, "consistency.md"), []byte(r.markdown()), 0o644))
}

func (r result) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Consistency under load\n\nWritten by `go test ./node -run TestStormOverThreeNodes -storm %v -out benchmarks/results`; %s.\n\n", r.Blew, r.Machine)
	fmt.Fprintf(&b, "Three nodes over one Redis. %d readers ask them for %d users while %d writers change users one after another, a third of the\n"+
		"times by an invalidation that tells no version. The oracle judges every answer.\n\n", stormReaders, stormUsers, stormWriters)
	fmt.Fprintf(&b, "| what | figure |\n|---|---|\n| reads judged | %d |\n| changes | %d |\n| older than %v, or going back | %d |\n| longest time by which an answer was overtaken | %v |\n\n",
		r.Oracle.Reads, r.Change.Count, r.Bound, r.Oracle.Violations, r.Oracle.MaxLag)
	b.WriteString("From XADD to the last of three, in turn in the same run:\n\n| | p50 | p99 | p99.9 | max |\n|---|---|---|---|---|\n")
	for _, row := range []struct {
		name string
		spread
	}{{"refused by the L1 of three nodes", r.Change}, {"read by three bare XREAD", r.Bare}} {
		fmt.Fprintf(&b, "| %s | %v | %v | %v | %v |\n", row.name, row.P50, row.P99, row.P999, row.Max)
	}
	fmt.Fprintf(&b, "\np99 is %.2f times that of the bare entry.\n", r.Ratio)
	return b.String()
}
