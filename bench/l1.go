package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/chatapp-ngomna/edgecache/bench/report"
	"github.com/chatapp-ngomna/edgecache/internal/oracle"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

const (
	l1Bytes = 256 << 20 // the default of a node, given to bare ristretto as well
	// meanEntry is what edgecache's entries cost on average; bare ristretto's are accounted with
	// it.
	meanEntry = 500
	// perUser is how much of L1 there should be for each user, so that all stay.
	perUser = 2 * meanEntry
)

const l1Note = "Lookups of users that the process holds in memory, by a goroutine on each processor but one; which, as a chat would ask. A whole node, " +
	"its stream followed, every check on, while users change; and the cache library under it alone, with the same profiles. " +
	"Groups of 64 lookups are due together and the first of each is timed, because no timer plans single ones of 100 ns; " +
	"the rows of the harness are at edgecache's loads and do nothing, and what it shows (the clock, the loop, a processor taken away) is in the others as well."

func (w *world) l1Bytes() int64 { return max(l1Bytes, int64(len(w.ids)*perUser)) }

// measureL1 compares lookups in the process's own memory.
func measureL1(ctx context.Context, w *world, s *report.Suite) error {
	s.Title, s.Note = "a lookup in memory", l1Note
	stop := w.churn(ctx)
	defer stop()
	for _, open := range []func(context.Context) (*contender, error){w.ristretto, w.edgecacheL1} {
		c, err := open(ctx)
		if err != nil {
			return err
		}
		if err = w.measure(ctx, s, c); err == nil {
			err = w.crowd(ctx, s, c)
		}
		if err = errors.Join(err, c.end()); err != nil {
			return err
		}
	}
	if err := w.floor(ctx, s); err != nil {
		return err
	}
	return w.hitRatio(ctx, s)
}

// floor puts the loads of edgecache on nothing.
func (w *world) floor(ctx context.Context, s *report.Suite) error {
	c := w.harness()
	w.progress.say(s.Name + ": " + c.name)
	for _, row := range s.Rows {
		if !strings.HasPrefix(row.Contender, report.Subject) {
			continue
		}
		floor, _, err := w.under(ctx, c, row.Load, row.Offered, w.conf.Duration)
		if err != nil {
			return err
		}
		s.Rows = append(s.Rows, floor)
	}
	return nil
}

// spinners is how many goroutines look up in memory: each keeps a processor busy, and one is left
// for the rest of the process, where there is one.
func spinners() int { return max(1, runtime.GOMAXPROCS(0)-1) }

// sink keeps the compiler from leaving out what is only looked at.
var sink atomic.Uint64

// touch is what every contender does with a profile that it has got: it reads what a message shows.
func touch(p *profile.Profile) uint64 { return uint64(len(p.FullName)) + uint64(p.UpdatedAt) }

// start is where in the order a worker begins, so that not all ask for the same users at once.
func start(worker int) uint64 { return uint64(worker) * 7919 }

func (w *world) harness() *contender {
	return &contender{name: "the harness itself", workers: spinners(), pass: func(worker int, n uint64, count int) error {
		sum := uint64(0)
		for i := range uint64(count) {
			sum += uint64(len(w.ids[w.popular.at(start(worker)+n+i)]))
		}
		sink.Store(sum)
		return nil
	}}
}

var errMiss = errors.New("a miss where a hit was expected")

// ristretto holds decoded profiles whose strings point into one allocation each, as edgecache's
// entries do.
func (w *world) ristretto(ctx context.Context) (*contender, error) {
	cache, err := ristretto.NewCache(&ristretto.Config[string, *profile.Profile]{
		NumCounters: 4 * w.l1Bytes() / 512, MaxCost: w.l1Bytes(), BufferItems: 64, IgnoreInternalCost: true,
	})
	if err != nil {
		return nil, fmt.Errorf("ristretto: %w", err)
	}
	if err := w.intoRistretto(ctx, cache); err != nil {
		cache.Close()
		return nil, err
	}
	return &contender{
		name: "bare ristretto Get of *Profile", workers: spinners(),
		close: func() error { cache.Close(); return nil },
		pass: func(worker int, n uint64, count int) error {
			sum := uint64(0)
			for i := range uint64(count) {
				id := w.ids[w.popular.at(start(worker)+n+i)]
				p, ok := cache.Get(id)
				if !ok {
					return fmt.Errorf("%w: %q", errMiss, id)
				}
				sum += touch(p)
			}
			sink.Store(sum)
			return nil
		},
	}, nil
}

func (w *world) intoRistretto(ctx context.Context, cache *ristretto.Cache[string, *profile.Profile]) error {
	for start := 0; start < len(w.ids); start += page {
		batch, err := w.truth.client.LoadBatch(ctx, w.ids[start:min(start+page, len(w.ids))])
		if err != nil {
			return fmt.Errorf("read the users from the origin: %w", err)
		}
		for id, p := range batch.Found {
			if p, err = profile.DecodeMsgpack(profile.AppendMsgpack(nil, p)); err != nil {
				return err
			}
			cache.Set(id, p, meanEntry)
		}
		cache.Wait() // the queue drops what does not fit
	}
	return nil
}

func (w *world) edgecacheL1(ctx context.Context) (*contender, error) {
	n, err := w.warmed(ctx, node.Config{Tier: tier.Config{L1Bytes: w.l1Bytes()}})
	if err != nil {
		return nil, err
	}
	// as a caller who does not leave; then a load needs no goroutine of its own
	never := context.WithoutCancel(ctx)
	seen := w.judge.oracle.Node("L1")
	return &contender{
		name: report.Subject + " node.Get", workers: spinners(), close: n.Close,
		strays: func() uint64 { return n.Stats().Cache.L1Misses },
		judged: func(i uint64) { w.judgedGet(never, seen, n, w.ids[w.popular.at(i)]) },
		pass: func(worker int, at uint64, count int) error {
			sum := uint64(0)
			for i := range uint64(count) {
				got, err := n.Get(never, w.ids[w.popular.at(start(worker)+at+i)])
				if err != nil {
					return err
				}
				sum += touch(got.Profile)
			}
			sink.Store(sum)
			return nil
		},
	}, nil
}

// judgedGet reads a user and lets the oracle judge.
func (w *world) judgedGet(ctx context.Context, seen *oracle.Node, n *node.Node, id string) {
	read := seen.Begin(id)
	if got, err := n.Get(ctx, id); err == nil {
		read.End(got.Version(), got.Tier == look.FromStale)
	}
}

const (
	// leastLookups and mostLookups bound how many lookups a point of the picture is made of.
	leastLookups, mostLookups = 10_000, 200_000
	// hitWithin bounds how long a point takes, half of it to warm: of a slow Redis it has fewer.
	hitWithin = 3 * time.Second
)

// hitLookups is how many lookups a point of the picture is made of, after as many that only warm.
func (w *world) hitLookups() uint64 {
	return uint64(min(max(2*len(w.ids), leastLookups), mostLookups))
}

// hitRatio measures which share of the lookups L1 answers, by its size: 1 MiB, the least, and up to
// what all users need.
func (w *world) hitRatio(ctx context.Context, s *report.Suite) error {
	curve := report.Curve{Picture: report.PictureHitRatio, Contender: report.Subject}
	all := int64(len(w.ids) * perUser)
	for size := int64(1 << 20); ; size *= 2 {
		w.progress.say(fmt.Sprintf("%s: hit ratio at %d MiB", s.Name, size>>20))
		share, err := w.hitShare(ctx, size)
		if err != nil {
			return fmt.Errorf("hit ratio at %d bytes: %w", size, err)
		}
		curve.Points = append(curve.Points, report.Point{X: float64(size), Y: share})
		if size >= all || share > 0.995 {
			break
		}
	}
	s.Curves = append(s.Curves, curve)
	return nil
}

func (w *world) hitShare(ctx context.Context, size int64) (float64, error) {
	n, err := w.node(ctx, node.Config{Tier: tier.Config{L1Bytes: size}, NoPrewarm: true, NoWorker: true})
	if err != nil {
		return 0, err
	}
	defer n.Close()
	if _, err := w.readAll(ctx, n); err != nil { // the first time of each is no fault of the size
		return 0, err
	}
	if err := w.lookups(ctx, n, 0); err != nil {
		return 0, err
	}
	before := n.Stats().Cache
	if err := w.lookups(ctx, n, w.hitLookups()); err != nil {
		return 0, err
	}
	after := n.Stats().Cache
	hits, misses := after.L1Hits-before.L1Hits, after.L1Misses-before.L1Misses
	return float64(hits) / float64(max(1, hits+misses)), nil
}

// lookups makes those of half a point, from a place in the order on.
func (w *world) lookups(ctx context.Context, n *node.Node, from uint64) error {
	end := time.Now().Add(hitWithin / 2)
	for i := range w.hitLookups() {
		if i%256 == 0 && (ctx.Err() != nil || time.Now().After(end)) {
			break
		}
		if _, err := n.Get(context.WithoutCancel(ctx), w.ids[w.popular.at(from+i)]); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}
