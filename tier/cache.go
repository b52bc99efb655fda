package tier

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chatapp-ngomna/edgecache/tier/kv"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
)

var (
	// ErrBehind reports that no tier has the version that the reader demanded, yet.
	ErrBehind = errors.New("tier: version not reached yet")
	// ErrConflict reports a Put of a version that is not above what is known.
	ErrConflict = errors.New("tier: as new a version is known")
	// ErrTooMany reports a batch of more than MaxBatch ids.
	ErrTooMany = errors.New("tier: too many ids")
	// ErrClosed reports a call after Close.
	ErrClosed = errors.New("tier: closed")
)

// MaxBatch is how many ids one BatchGet takes, duplicates included.
const MaxBatch = 10_000

// Config configures a Cache. The zero value of a field is its default; L2 and Origin have none.
type Config struct {
	// L2 is the Redis tier.
	L2 *l2.Redis
	// Origin answers what both tiers miss.
	Origin Loader
	// Watched says that package watch tells of writes to Redis beside the stream: what Store has
	// from before a restart is compared with Redis when it is shown. Default: nobody does.
	Watched bool
	// Store is the node's store on disk, which is asked between L1 and Redis. It counts from the
	// first call of Alive on, so a cache that no stream feeds has no use for it. The caller closes
	// it after the cache. Default: none.
	Store *kv.Store
	// L1Bytes is the budget of the node's memory tier, all overhead included. Default 256 MiB, at
	// least 1 MiB.
	L1Bytes int64
	// L1TTL is how long an entry is fresh; each gets up to 10 % less, at random. Default 10 min. In
	// its last tenth the first reader makes the entry load again while it still answers.
	L1TTL time.Duration
	// Negative is how long L1 remembers that a user does not exist. Default 30 s.
	Negative time.Duration
	// LoadDeadline bounds one load, from Redis and the origin together; Redis has half of it before
	// the origin is asked. A read takes at most 100 ms longer, whatever hangs, if the Loader
	// respects its context. Default 2 s.
	LoadDeadline time.Duration
	// MaxLoads is how many calls this node has under way to the origin; the rest queue within their
	// deadline. Default 64.
	MaxLoads int
	// FenceAfter is how long L1 answers as fresh after what the last call of Alive vouched for.
	// Default 3 s; negative: for ever, for a cache that no stream feeds.
	FenceAfter time.Duration
	// MaxStale is the age up to which an entry answers, marked stale, when neither Redis nor the
	// origin does. Default 5 min.
	MaxStale time.Duration
	// ViewBytes is how much memory all that Keep keeps may take, beside L1Bytes. Default 32 MiB.
	ViewBytes int64
	// CountEvery is the pause between two counts of the profiles in Redis. Default 1 min.
	CountEvery time.Duration
	// Trace makes spans of loads: of the questions to Redis and to the origin. Default: none are
	// made.
	//
	// It begins the span of a step of a load: a child of the span in parent, the context of the
	// reader who began the load. It returns ctx with the span in it, and what ends it. It is called
	// concurrently.
	Trace func(ctx, parent context.Context, op string) (context.Context, func(error))
	// TraceID returns the id of the trace that the span in a reader's context belongs to, "" for
	// none, or for one that nobody is told of: the exemplar of how long the lookup took. Default:
	// there are none.
	TraceID func(ctx context.Context) string
	// Logger gets panics of the origin's client and failed counts. Default: none.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.L1Bytes = cmp.Or(c.L1Bytes, 256<<20)
	c.L1TTL = cmp.Or(c.L1TTL, 10*time.Minute)
	c.ViewBytes = cmp.Or(c.ViewBytes, 32<<20)
	c.Negative = cmp.Or(c.Negative, 30*time.Second)
	c.LoadDeadline = cmp.Or(c.LoadDeadline, 2*time.Second)
	c.MaxLoads = cmp.Or(c.MaxLoads, 64)
	c.FenceAfter = cmp.Or(c.FenceAfter, 3*time.Second)
	c.MaxStale = cmp.Or(c.MaxStale, 5*time.Minute)
	c.CountEvery = cmp.Or(c.CountEvery, time.Minute)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

func (c Config) validate() error {
	switch {
	case c.L2 == nil:
		return errors.New("tier: Config.L2 is nil; make one with l2.New")
	case c.Origin == nil:
		return errors.New("tier: Config.Origin is nil; want a Loader")
	case c.L1Bytes < 1<<20:
		return fmt.Errorf("tier: Config.L1Bytes is %d; want at least 1 MiB", c.L1Bytes)
	case c.MaxLoads < 1:
		return fmt.Errorf("tier: Config.MaxLoads is %d; want at least 1", c.MaxLoads)
	case c.ViewBytes < 1:
		return fmt.Errorf("tier: Config.ViewBytes is %d; want a number of bytes above 0", c.ViewBytes)
	case min(c.L1TTL, c.Negative, c.LoadDeadline, c.MaxStale, c.CountEvery) < 0:
		return fmt.Errorf("tier: Config: L1TTL %v, Negative %v, LoadDeadline %v, MaxStale %v, "+
			"CountEvery %v; want positive durations",
			c.L1TTL, c.Negative, c.LoadDeadline, c.MaxStale, c.CountEvery)
	}
	return nil
}

// Cache is the two tiers of one node. Its methods may be called concurrently, Close too.
type Cache struct {
	conf      Config
	l1        *l1
	l2        *l2.Redis
	clock     clock
	times     times
	recent    *recent
	hints     *hints
	foreign   foreign
	doubts    chan struct{} // one element per answer that waits to be asked again
	flights   *flights
	counters  counters
	samples   samples
	pending   pending
	coldReads coldReads
	shares    shares
	loads     chan struct{} // one element per call under way to the origin
	aheads    chan struct{} // one element per refresh-ahead under way
	fence     fence
	total     atomic.Pointer[total]
	closed    atomic.Bool
	flushed   atomic.Int64 // when L1 was last flushed, by clock; 0 for never

	// base ends with Close; every load and background goroutine runs under it.
	base       context.Context
	end        context.CancelCauseFunc
	mu         sync.Mutex // serializes Start and Close
	started    bool
	background sync.WaitGroup
	store      store
	views      views
}

// total is a count of the profiles in Redis, and how full that is.
type total struct {
	count  int64
	memory l2.Memory
	at     time.Time
}

// maxAheads bounds the refresh-aheads under way.
const maxAheads = 16

// New checks conf and returns a Cache that answers, but whose clock stands still until Start.
func New(conf Config) (*Cache, error) {
	conf = conf.withDefaults()
	if err := conf.validate(); err != nil {
		return nil, err
	}
	l1, err := newL1(conf.L1Bytes)
	if err != nil {
		return nil, err
	}
	c := &Cache{
		conf: conf, l1: l1, l2: conf.L2, recent: newRecent(), hints: newHints(), flights: newFlights(),
		loads: make(chan struct{}, conf.MaxLoads), aheads: make(chan struct{}, maxAheads),
		doubts: make(chan struct{}, maxDoubts),
	}
	c.pending.some = make(chan struct{}, 1)
	c.views.max = conf.ViewBytes
	c.store.init(conf.Store, conf.Watched)
	c.clock.start(c.paused)
	c.l1.now = c.clock.nanos
	c.base, c.end = context.WithCancelCause(context.Background())
	c.shares.base, c.shares.within = c.base, conf.LoadDeadline/2
	if conf.FenceAfter < 0 {
		c.fence.until.Store(1<<63 - 1)
	}
	return c, nil
}

// Start pings Redis and starts the clock and the counting. It returns Redis's error; it may be
// called again then.
func (c *Cache) Start(ctx context.Context) error {
	return c.start(func() error { return c.l2.Ping(ctx) })
}

// StartAlone is Start without Redis, for a cache whose Store may answer meanwhile, marked stale.
func (c *Cache) StartAlone() error { return c.start(func() error { return nil }) }

func (c *Cache) start(ready func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		return ErrClosed
	}
	if c.started {
		return nil
	}
	if err := ready(); err != nil {
		return err
	}
	c.started = true
	c.background.Go(func() { c.clock.run(c.base) })
	c.background.Go(func() { c.drainPending(c.base) })
	c.background.Go(func() { c.l2.Pulse(c.base, c.quiet) })
	c.background.Go(func() { c.countForEver(c.base) })
	if c.store.On() {
		c.background.Go(func() { c.vouchForEver(c.base) })
	}
	return nil
}

// Close ends the loads under way, waits for every reader and goroutine, and frees L1. It may be
// called twice and before Start; it does not close the Redis client.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed.Store(true)
	c.end(ErrClosed)
	for !c.counters.idle() {
		time.Sleep(time.Millisecond) // readers under way have just lost their context
	}
	c.background.Wait()
	c.l1.close()
	return nil
}

// Tick brings the clock of the hit path up to date, for a caller that can afford to ask the system:
// it closes the gap after the whole process was stopped and continued.
func (c *Cache) Tick() { c.clock.tick() }

func (c *Cache) countForEver(ctx context.Context) {
	for {
		if n, err := c.l2.Count(ctx); err == nil {
			memory, _ := c.l2.Memory(ctx) // unknown where INFO is forbidden
			c.total.Store(&total{n, memory, time.Now()})
		} else if ctx.Err() == nil {
			c.conf.Logger.Warn("count of the profiles in Redis", "link", "count",
				"error", err, "pause", c.conf.CountEvery)
		}
		select {
		case <-time.After(c.conf.CountEvery):
		case <-ctx.Done():
			return
		}
	}
}
