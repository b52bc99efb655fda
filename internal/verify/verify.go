// Package verify watches a running cluster from outside, after Meta's Polaris: it follows the stream of changes, asks every
// node for each changed user a moment later through the public API, and says how often a node did not know what it had time to
// hear of.
//
// A Verifier reads the stream with a stream.Tail, so that it knows when it missed something. Each change is checked on each
// node at each checkpoint (250 ms and 2.5 s after it was read) by its lane. Answers that are marked stale promise nothing and
// are counted apart, and so are those that a node does not give. No clock but this process's monotonic one is judged by.
package verify

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/stream"
)

var (
	// ErrConfig reports a configuration that cannot work; the text names the field.
	ErrConfig = errors.New("verify: bad configuration")
	// ErrClosed reports a Start after Close.
	ErrClosed = errors.New("verify: closed")
	// ErrStarted reports a second Start.
	ErrStarted = errors.New("verify: already started")
)

// Config configures a Verifier. Client and Nodes are required; the zero value of everything else is a default.
type Config struct {
	// Client reads the stream; as stream.TailConfig.Client, and like there a client of its own.
	Client redis.UniversalClient
	// Stream is the key of the stream. Default stream.Name.
	Stream string
	// Nodes are the URLs of the nodes' HTTP API, each once.
	Nodes []string
	// Sample is the share of the users whose changes are checked, above 0 and up to 1. Default 1. It is drawn by a hash of
	// the id with a seed of this run: a user is followed with all changes or not at all.
	Sample float64
	// After are the checkpoints: how long after a change was read the nodes are asked. Each from 1 ms to 10 s, rising. Default
	// 250 ms and 2.5 s.
	After []time.Duration
	// MaxRate bounds the users asked of each node in a second. Default 0, no bound. What it does not allow is dropped, and counted.
	MaxRate int
	// History is how many changes of each user are remembered and shown. Default 16.
	History int
	// MaxPending is how many checks may wait for each node. Default 200,000. More are dropped, and counted.
	MaxPending int
	// MaxViolations is how many violations are told whole; more are only counted. Default 20.
	MaxViolations int
	// Timeout bounds one request. Default 2 s.
	Timeout time.Duration
	// OnViolation is called for each violation that is told whole, and once more when it is over. Calls come one at a time.
	// Optional.
	OnViolation func(Violation)
	// OnGap is called when entries of the stream may have been missed, with stream.Handler's reason. Optional.
	OnGap func(reason string)
	// Logger gets one line when a node stops answering and when it goes on, and what the tail has to say. Default: none.
	Logger *slog.Logger
}

const (
	maxAfter = 10 * time.Second
	// tailBlock is short, so that Close is.
	tailBlock = 100 * time.Millisecond
	tailCount = 1000
)

func (c Config) withDefaults() Config {
	c.Stream = or(c.Stream, stream.Name)
	c.Sample = or(c.Sample, 1)
	if c.After = slices.Clone(c.After); len(c.After) == 0 {
		c.After = []time.Duration{250 * time.Millisecond, 2500 * time.Millisecond}
	}
	c.History = or(c.History, 16)
	c.MaxPending = or(c.MaxPending, 200_000)
	c.MaxViolations = or(c.MaxViolations, 20)
	c.Timeout = or(c.Timeout, 2*time.Second)
	if c.OnViolation == nil {
		c.OnViolation = func(Violation) {}
	}
	if c.OnGap == nil {
		c.OnGap = func(string) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func (c Config) validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...)
	}
	switch {
	case c.Client == nil:
		return bad("Client is nil")
	case len(c.Nodes) == 0:
		return bad("Nodes is empty; want the URL of every node, such as http://10.0.0.7:8003")
	case !(c.Sample > 0 && c.Sample <= 1):
		return bad("Sample is %v; want above 0 and up to 1", c.Sample)
	case c.MaxRate < 0:
		return bad("MaxRate is %d; want 0 or more reads a second", c.MaxRate)
	case c.History < 1 || c.MaxPending < 1 || c.MaxViolations < 0:
		return bad("History is %d, MaxPending %d, MaxViolations %d; want 1, 1 and 0 or more", c.History, c.MaxPending, c.MaxViolations)
	case c.Timeout < time.Millisecond:
		return bad("Timeout is %v; want 1ms or more", c.Timeout)
	case !slices.IsSorted(c.After) || c.After[0] < time.Millisecond || c.After[len(c.After)-1] > maxAfter:
		return bad("After is %v; want rising times from 1ms to %v", c.After, maxAfter)
	}
	return nil
}

// Verifier checks a cluster. Its methods may be called concurrently.
type Verifier struct {
	cfg    Config
	seed   maphash.Seed
	limit  uint64 // hashes up to it are sampled
	book   *book
	marks  *marks
	tally  *tally
	lanes  []*lane
	tail   *stream.Tail
	first  string // the stream's last id when the tail had begun; set by Start
	told   chan *Violation
	counts metricDescs

	telling sync.Mutex
	tells   int // violations told whole

	mu         sync.Mutex // serializes Start and Close
	started    bool
	closed     bool
	end        context.CancelFunc
	background sync.WaitGroup
}

// New checks cfg and returns a Verifier that has not started.
func New(cfg Config) (*Verifier, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	v := &Verifier{cfg: cfg, seed: maphash.MakeSeed(), limit: math.MaxUint64, book: newBook(cfg.History), counts: newMetricDescs(),
		marks: &marks{client: cfg.Client, stream: cfg.Stream}, told: make(chan *Violation, 2*cfg.MaxViolations+1)}
	if cfg.Sample < 1 {
		v.limit = uint64(cfg.Sample * math.MaxUint64)
	}
	v.tally = newTally(len(cfg.Nodes), len(cfg.After))
	for i, raw := range cfg.Nodes {
		c, err := newClient(raw, cfg.Timeout)
		if err != nil {
			return nil, err
		}
		for _, other := range v.lanes {
			if other.node.url == c.url {
				return nil, fmt.Errorf("%w: node %s is named twice", ErrConfig, c.name)
			}
		}
		v.lanes = append(v.lanes, newLane(v, i, c))
	}
	var err error
	v.tail, err = stream.NewTail(stream.TailConfig{Client: cfg.Client, Stream: cfg.Stream, Handler: handler{v}, Block: tailBlock, Count: tailCount,
		Replay: -1, Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return v, nil
}

// Start asks every node and Redis once and returns the error of the first that does not answer as it should; after one it
// may be called again. Changes made after it returned are checked, until Close.
func (v *Verifier) Start(ctx context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return ErrClosed
	}
	if v.started {
		return ErrStarted
	}
	for _, l := range v.lanes {
		if _, err := l.node.batch(ctx, []string{}); err != nil {
			return fmt.Errorf("verify: node at %s: %w", l.node.name, err)
		}
	}
	if err := v.follow(ctx); err != nil {
		return err
	}
	v.started = true
	background, end := context.WithCancel(context.Background())
	v.end = end
	for _, l := range v.lanes {
		v.background.Go(func() { l.run(background) })
	}
	v.background.Go(func() { v.markForEver(background) })
	v.background.Go(func() { v.tellForEver(background) })
	return nil
}

// follow starts to read the stream. A mark is made before, for the first changes.
func (v *Verifier) follow(ctx context.Context) (err error) {
	if _, err := v.marks.ask(ctx); err != nil {
		return err
	}
	v.tally.start(time.Now())
	if err := v.tail.Start(ctx); err != nil && !errors.Is(err, stream.ErrStarted) {
		return fmt.Errorf("verify: stream: %w", err)
	}
	v.first, err = v.marks.ask(ctx)
	return err
}

// Drain reads the stream to its present end and no further, and waits until every check is made, or until ctx ends; after that
// only Close is of use. It takes about as long as the last checkpoint.
func (v *Verifier) Drain(ctx context.Context) {
	v.catchUp(ctx)
	_ = v.tail.Close() // it returns nil
	tick := time.NewTicker(laneTick)
	defer tick.Stop()
	for ctx.Err() == nil && slices.ContainsFunc(v.lanes, func(l *lane) bool { return !l.idle() }) {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// catchUp waits until the tail has handled what is in the stream now, for a second at most.
func (v *Verifier) catchUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	end, err := v.marks.ask(ctx)
	tick := time.NewTicker(laneTick)
	defer tick.Stop()
	for err == nil && stream.EntryBefore(v.first, end) && stream.EntryBefore(v.tail.Stats().LastID, end) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Close ends everything and waits. Checks that still wait count as dropped. It may be called twice and before Start; the
// caller closes the Redis client after it.
func (v *Verifier) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	_ = v.tail.Close() // it returns nil
	if v.end != nil {
		v.end()
	}
	v.background.Wait()
	for _, l := range v.lanes {
		l.node.close()
	}
	return nil
}

// Window returns what was found since the last call, or since Start.
func (v *Verifier) Window() Report { return v.tally.window(v, time.Now()) }

// Total returns what was found since Start.
func (v *Verifier) Total() Report { return v.tally.whole(v, time.Now()) }

// handler takes what the tail reads.
type handler struct{ v *Verifier }

// Handle implements stream.Handler.
func (h handler) Handle(e stream.Event) {
	now := time.Now()
	sampled := maphash.String(h.v.seed, e.UserID) <= h.v.limit
	h.v.tally.change(sampled)
	if !sampled {
		return
	}
	u, c := h.v.book.note(e, now, h.v.marks.before(e.ID))
	for _, l := range h.v.lanes {
		l.push(u, c)
	}
}

// Flush implements stream.Handler: entries may have been missed.
func (h handler) Flush(reason string) {
	h.v.tally.gap(reason)
	h.v.cfg.OnGap(reason)
}

// Alive implements stream.Handler.
func (handler) Alive() {}

func (v *Verifier) markForEver(ctx context.Context) {
	tick := time.NewTicker(markEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_, _ = v.marks.ask(ctx) // what it misses makes the next one count for longer
		case <-ctx.Done():
			return
		}
	}
}

// tell has a violation told whole, unless there were enough. It returns what is to be told again when that is over.
func (v *Verifier) tell(seen *Violation) *Violation {
	v.telling.Lock()
	defer v.telling.Unlock()
	if v.tells == v.cfg.MaxViolations {
		return nil
	}
	v.tells++
	v.told <- seen // it has room for all
	return seen
}

// tellEnd tells that a violation that was told is over.
func (v *Verifier) tellEnd(end *Violation) { v.told <- end }

// tellForEver asks all nodes about the user of a violation and calls OnViolation.
func (v *Verifier) tellForEver(ctx context.Context) {
	for {
		select {
		case seen := <-v.told:
			whole := *seen
			if !whole.Over {
				whole.Nodes = v.lookAround(ctx, whole.User)
			}
			v.cfg.OnViolation(whole)
		case <-ctx.Done():
			return
		}
	}
}

// lookAround asks every node for one user.
func (v *Verifier) lookAround(ctx context.Context, id string) []NodeAnswer {
	out := make([]NodeAnswer, len(v.lanes))
	var asking sync.WaitGroup
	for i, l := range v.lanes {
		asking.Go(func() { out[i] = l.node.look(ctx, id) })
	}
	asking.Wait()
	return out
}
