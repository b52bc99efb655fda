// Package verify watches a running cluster from outside, after Meta's Polaris: it follows the
// stream of changes, asks every node for each changed user a moment later through the public API,
// and says how often a node did not know what it had time to hear of.
//
// A Verifier reads the stream with a stream.Tail, so that it knows when it missed something. Each
// change is checked on each node at each checkpoint (250 ms and 2.5 s after it was read) by its
// lane. Answers that are marked stale promise nothing and are counted apart, and so are those that
// a node does not give. No clock but this process's monotonic one is judged by.
package verify

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/life"
	"github.com/chatapp-ngomna/edgecache/stream"
)

const (
	// tailBlock is short, so that Close is.
	tailBlock = 100 * time.Millisecond
	tailCount = 1000
)

var (
	// ErrConfig reports a configuration that cannot work; the text names the field.
	ErrConfig = errors.New("verify: bad configuration")
	// ErrClosed reports a Start after Close.
	ErrClosed = life.ErrClosed
)

// Verifier checks a cluster. Its methods may be called concurrently.
type Verifier struct {
	cfg    Config
	seed   maphash.Seed
	limit  uint64 // hashes up to it are sampled
	book   *book
	marks  *marks
	tally  *tally
	lanes  []*lane
	truth  *content // nil: answers are not compared with one
	tail   *stream.Tail
	first  string // the stream's last id when the tail had begun; set by Start
	told   chan *Violation
	counts metricDescs

	telling sync.Mutex
	tells   int          // violations told whole
	untold  atomic.Int64 // in told, or being told

	life life.Life
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
		c, err := newClient(raw, cfg)
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
	if cfg.Truth != nil {
		v.truth = newContent(v)
	}
	var err error
	v.tail, err = stream.NewTail(stream.TailConfig{Client: cfg.Client, Stream: cfg.Stream, Handler: handler{v}, Block: tailBlock, Count: tailCount,
		Replay: -1, Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return v, nil
}

// Start asks every node and Redis once and returns the error of the first that does not answer as
// it should; after one it may be called again, and once it succeeded that does nothing. Changes
// made after it returned are checked, until Close.
func (v *Verifier) Start(ctx context.Context) error { return v.life.Start(ctx, v.begin) }

func (v *Verifier) begin(ctx context.Context) error {
	for _, l := range v.lanes {
		if _, err := l.node.batch(ctx, []string{}); err != nil {
			return fmt.Errorf("verify: node at %s: %w", l.node.name, err)
		}
	}
	if err := v.follow(ctx); err != nil {
		return err
	}
	for _, l := range v.lanes {
		v.life.Go(l.run)
	}
	if v.truth != nil {
		v.life.Go(v.truth.run)
	}
	v.life.Go(v.markForEver)
	v.life.Go(v.tellForEver)
	return nil
}

// follow starts to read the stream. A mark is made before, for the first changes.
func (v *Verifier) follow(ctx context.Context) (err error) {
	if _, err := v.marks.ask(ctx); err != nil {
		return err
	}
	v.tally.start(time.Now())
	if err := v.tail.Start(ctx); err != nil {
		return fmt.Errorf("verify: stream: %w", err)
	}
	v.first, err = v.marks.ask(ctx)
	return err
}

// Drain reads the stream to its present end and no further, and waits until every check is made and
// every violation told, or until ctx ends; after that only Close is of use. It takes about as long
// as the last checkpoint.
func (v *Verifier) Drain(ctx context.Context) {
	v.catchUp(ctx)
	_ = v.tail.Close() // it returns nil
	tick := time.NewTicker(laneTick)
	defer tick.Stop()
	for ctx.Err() == nil && !v.idle() {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// idle reports whether every check is made and every violation told.
func (v *Verifier) idle() bool {
	busy := slices.ContainsFunc(v.lanes, func(l *lane) bool { return !l.idle() })
	return !busy && v.untold.Load() == 0
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

// Close ends everything and waits. Checks that still wait count as dropped. It may be called twice
// and before Start; the caller closes the Redis client after it.
func (v *Verifier) Close() error {
	_ = v.tail.Close() // it returns nil; no checks come any more
	return v.life.Close(func() error {
		for _, l := range v.lanes {
			l.node.close()
		}
		return nil
	})
}

// Window returns what was found since the last call, or since Start.
func (v *Verifier) Window() Report { return v.tally.window(v, time.Now()) }

// Total returns what was found since Start.
func (v *Verifier) Total() Report { return v.tally.whole(v, time.Now()) }

// handler takes what the tail reads.
type handler struct{ v *Verifier }

// Handle implements stream.Handler.
func (h handler) Handle(e stream.Event) {
	if e.Function != "" {
		return // no user changed
	}
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
func (handler) Alive(time.Duration) {}

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

// tell has a violation told whole, unless there were enough. It returns what is to be told again
// when that is over.
func (v *Verifier) tell(seen *Violation) *Violation {
	v.telling.Lock()
	defer v.telling.Unlock()
	if v.tells == v.cfg.MaxViolations {
		return nil
	}
	v.tells++
	v.send(seen)
	return seen
}

// tellEnd tells that a violation that was told is over.
func (v *Verifier) tellEnd(end *Violation) { v.send(end) }

// send never waits: there is room for the beginning and the end of all that are told.
func (v *Verifier) send(one *Violation) {
	v.untold.Add(1)
	v.told <- one
}

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
			v.untold.Add(-1)
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
