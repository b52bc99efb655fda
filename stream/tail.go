package stream

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/histo"
	"github.com/chatapp-ngomna/edgecache/internal/life"
)

const (
	maxBlock      = 500 * time.Millisecond // also the default
	maxCount      = 10_000
	defaultCount  = 256
	defaultReplay = time.Minute
	// identifyEvery is how often a link that works is asked who the server is. A failover ends the
	// link as a rule; this is for a master that was demoted without.
	identifyEvery = time.Second
	// freshness is how far the cursor may lie behind the stream's end and the tail still count as
	// having caught up.
	freshness = 100 * time.Millisecond
)

// Handler is what a Tail calls: always from one goroutine, one call at a time, in the order of the
// stream. A call that does not return holds up the tail, which the fence of the node then shows. A
// panic is recovered, counted, and followed by a Flush, because nobody knows what was left undone.
type Handler interface {
	// Handle takes one event. The same event may come more than once.
	Handle(Event)
	// Flush says that entries may have been missed, before the entries that follow the gap. The
	// reason is one of
	//	trimmed    entries were trimmed, or deleted, before they were read
	//	deleted    the stream is gone
	//	backwards  its last id is below what was read: it was restored, or created anew with lower ids
	//	rewritten  fewer entries were ever added than were read: it is another stream under the same name
	//	failover   another server answers, or the same after a restart: what it acknowledged last may be lost
	//	unproven   the server does not tell enough to exclude a gap
	//	panic      the handler panicked, so that an event may have been handled in part
	Flush(reason string)
	// Alive proves that the tail has caught up: it has handled all that the server had age ago,
	// about a second at most. It comes after every successful read, once its entries are handled,
	// but not while the tail is behind.
	Alive(age time.Duration)
}

// TailConfig configures a Tail.
type TailConfig struct {
	// Client reads the stream. Required: a *redis.Client (also with Sentinel) or a
	// *redis.ClusterClient. The tail keeps one of its connections busy at all times, so give it a
	// client of its own, which the caller closes after the tail. It should not retry (MaxRetries
	// -1), because the tail does.
	Client redis.UniversalClient
	// Stream is the key of the stream. Default Name.
	Stream string
	// Block is how long one read waits for an entry, and about how long Close takes: 1 to 500 ms.
	// Default 500 ms. The link is given up when a reply takes half a second longer.
	Block time.Duration
	// Count is how many entries one read takes at most. Default 256. It falls while reads fail, so
	// that large entries of others arrive within the timeout. An event has up to 128 KiB.
	Count int64
	// Replay is how far before the stream's end a tail begins that does not know what came before:
	// at Start, and after a gap that made the stream another one. It covers what the cluster's
	// Worker may not have applied yet. Default one minute; negative for none.
	Replay time.Duration
	// Resume is what Checkpoint was given last by a tail that has ended, in another process maybe;
	// nil for none. The tail goes on from there, and proves as after a lost link that nothing was
	// missed, or flushes. Start does not wait for the server then. What it reads once more, because
	// hints may not have been answered, has Event.Known.
	Resume []byte
	// Checkpoint, unless nil, is called after each read with the place up to which all is handled:
	// where to Resume. It is called as the Handler is, and owns at.
	Checkpoint func(at []byte)
	// Handler gets the events. Required.
	Handler Handler
	// Logger gets one line per failed attempt to read, per gap, and per batch with entries that
	// were refused. Default: nothing is logged.
	Logger *slog.Logger
}

// Tail reads every entry of the stream with plain XREAD from a cursor of its own, and tells its
// Handler to flush, once, when entries were missed. What counts as missed is exact on Redis 7.0 and
// later, which count the entries ever added. Below, and on the embedded server, a stream that was
// trimmed up to the cursor and has new entries counts as a gap as well.
//
// A server that does not say who it is (INFO is forbidden, or it is the embedded one) cannot show
// that it is the one that was read before, so every new connection to it counts as a gap.
type Tail struct {
	cfg  TailConfig
	life life.Life

	// The rest belongs to the goroutine that reads, after Start.
	ledger     ledger
	who        identity
	identified time.Time // when who was last asked
	// the last read did not reach the stream's end, so the next one must not wait
	behind   bool
	replayed entryID // up to here entries are old at their handling, and say nothing about lag
	owed     string  // reason of a flush that is still to be done; "" for none
	pace     pace
	resuming bool    // the ledger is that of a checkpoint, and no server has been met since
	known    entryID // up to here a tail that has ended has handled everything
	hinted   entryID // the last entry of another service
	catching bool    // it has not caught up since it resumed

	stats tailStats
}

// NewTail returns a Tail that has not started. Errors wrap ErrCheckpoint when Resume cannot be
// used.
func NewTail(cfg TailConfig) (*Tail, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	t := &Tail{cfg: cfg, pace: newPace(cfg.Count)}
	if cfg.Resume != nil {
		if err := t.resume(cfg.Resume); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (c TailConfig) withDefaults() TailConfig {
	c.Stream = cmp.Or(c.Stream, Name)
	c.Block = cmp.Or(c.Block, maxBlock)
	c.Count = cmp.Or(c.Count, defaultCount)
	c.Replay = cmp.Or(c.Replay, defaultReplay)
	c.Logger = loggerOr(c.Logger)
	return c
}

func (c TailConfig) validate() error {
	switch {
	case c.Handler == nil:
		return fmt.Errorf("%w: TailConfig.Handler is nil", errConfig)
	case c.Block < time.Millisecond || c.Block > maxBlock:
		return fmt.Errorf("%w: TailConfig.Block is %v; want 1ms to %v", errConfig, c.Block, maxBlock)
	case c.Count < 1 || c.Count > maxCount:
		return fmt.Errorf("%w: TailConfig.Count is %d; want 1 to %d", errConfig, c.Count, maxCount)
	}
	return checkClient(c.Client)
}

// Start connects and fixes where to begin: an event that is published after Start returned is
// handled, and so are those of the last Replay before. Then it reads in a goroutine of its own
// until Close. ctx bounds the connecting only. Errors: ErrClosed, or why the server did not answer;
// after the last Start may be called again. A second Start does nothing.
func (t *Tail) Start(ctx context.Context) error {
	return t.life.Start(ctx, func(ctx context.Context) error {
		if t.resuming {
			t.life.Go(func(ctx context.Context) { t.run(ctx, nil) })
			return nil
		}
		l, err := t.begin(ctx)
		if err != nil {
			return err
		}
		return l.serve(&t.life, t.run)
	})
}

// Close ends the reading and waits for it, and for a call of the Handler that is under way: for
// Block at most on a link that works, half a second more on one that does not. It may be called
// twice and before Start.
func (t *Tail) Close() error {
	return t.life.Close(nil)
}

// Stats returns what the tail has done so far. It may be called at any time, concurrently.
func (t *Tail) Stats() TailStats { return t.stats.snapshot() }

// Ages returns how old entries were when they had been handled, as TailStats.Lag counts them.
func (t *Tail) Ages() *histo.Snapshot { return t.stats.ages.Snapshot() }

func (t *Tail) begin(ctx context.Context) (*link, error) {
	l, err := open(ctx, t.cfg.Client, t.cfg.Stream, t.cfg.Block+linkGrace)
	if err != nil {
		return nil, err
	}
	a, err := l.greet(ctx)
	if err != nil {
		l.close()
		return nil, err
	}
	t.anchor(a.state)
	t.who, t.identified = a.who, time.Now()
	if !a.who.known() {
		t.cfg.Logger.WarnContext(ctx, "stream: the server does not say who it is; every new connection will flush")
	}
	return l, nil
}

func (t *Tail) anchor(s state) {
	t.ledger, t.replayed, t.behind = s.anchor(t.cfg.Replay), s.last, true
}

// run serves the first link and, after each failure, a new one.
func (t *Tail) run(ctx context.Context, l *link) {
	retry(ctx, t.cfg.Logger, "tail", func(works func()) error {
		if l == nil {
			var err error
			if l, err = t.reconnect(ctx); err != nil {
				return err
			}
		}
		err := t.serve(ctx, l, works)
		l.close()
		l = nil
		t.pace.slower()
		t.stats.linkLost()
		return err
	})
	if l != nil {
		l.close()
	}
}

// reconnect makes a new link and flushes if the server behind it is not provably the one that was
// read before. Whether entries were missed in between is for the first read to see.
func (t *Tail) reconnect(ctx context.Context) (*link, error) {
	l, err := open(ctx, t.cfg.Client, t.cfg.Stream, t.cfg.Block+linkGrace)
	if err != nil {
		return nil, err
	}
	a, err := l.greet(ctx)
	if err != nil {
		l.close()
		return nil, err
	}
	t.behind = true
	lost := t.meet(ctx, a, true)
	switch {
	case !t.resuming:
		t.stats.reconnected()
	case lost:
		t.resuming = false
	default:
		t.rewind(a.state)
	}
	if err := t.passHuge(ctx, l); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// meet compares who answered with who did before. It reports true after it has flushed and started
// over, because the history of the server may be another one. A new connection to a server that
// does not say who it is counts as that.
func (t *Tail) meet(ctx context.Context, a answer, blind bool) bool {
	before := t.who
	if t.identified = time.Now(); a.who.known() {
		t.who = a.who
	}
	known := a.who.known() && before.known()
	if known && !a.who.lostHistory(before, blind) || !known && !blind {
		return false
	}
	gap := gapFailover
	if !known {
		gap = gapUnproven
	}
	t.anchor(a.state)
	t.flushFor(ctx, gap, a.state)
	return true
}
