package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/life"
	"github.com/chatapp-ngomna/edgecache/internal/nodename"
	"github.com/chatapp-ngomna/edgecache/profile"
)

const (
	// defaultGroup is the consumer group that all workers of a cluster share.
	defaultGroup = "edgecache:worker"

	workerBatch = 128
	// createWithin is how old an event may be and still create a record. What L2 remembers of a
	// profile that is gone lives ten minutes; an older event could bring back what a newer one,
	// forgotten since, has removed.
	createWithin = time.Minute
	// rereadSpan is how much of the stream is applied again after a failover, and where a new group
	// begins.
	rereadSpan = 10 * time.Minute
	// applyTimeout bounds the work on one entry, and failingTimeout that on those that follow
	// failingAfter failures in a row: when a part of the second tier is cut off, the events of the
	// others must not wait long behind those for it.
	applyTimeout   = 2 * time.Second
	failingTimeout = 100 * time.Millisecond
	failingAfter   = 4
	// goneAfter is when a consumer that asks for nothing and holds nothing is removed from the
	// group.
	goneAfter = time.Hour
	trimEvery = time.Minute
	// countEvery is how often the group is asked how much is pending.
	countEvery = 5 * time.Second
)

// Applier is the second tier as a Worker needs it; l2.Redis is one. Its methods may be called
// concurrently by several workers, in any order and more than once for one event: versions decide,
// and the places of hints.
type Applier interface {
	// Apply stores a profile unless as new a version is known, and creates the record if there is
	// none.
	Apply(ctx context.Context, p *profile.Profile) (bool, error)
	// Replace is Apply, but creates no record.
	Replace(ctx context.Context, p *profile.Profile) (bool, error)
	// Remove deletes the record of a user who was deleted in that version.
	Remove(ctx context.Context, id string, version int64) (bool, error)
	// Hint takes what another service says of a user, in the entry of this Order, unless the origin
	// has been asked since: says is shown until it is, and nil forgets the record.
	Hint(ctx context.Context, id, order string, says *profile.Patch) (bool, error)
}

// WorkerConfig configures a Worker.
type WorkerConfig struct {
	// Client reads the stream. Required: as TailConfig.Client, and like there a client of the
	// worker's own.
	Client redis.UniversalClient
	// Applier is where the events go. Required. Its own client should not be Client.
	Applier Applier
	// Stream is the key of the stream. Default Name.
	Stream string
	// Group is the consumer group. Default "edgecache:worker". A group that is not there is created
	// and begins ten minutes before now or before the last entry, whichever is earlier.
	Group string
	// Consumer is this worker's name in the group, unique among the workers. Default: host name,
	// process id and a number.
	Consumer string
	// Block is how long one read waits for an entry, and about how long Close takes: 1 to 500 ms.
	// Default 500 ms.
	Block time.Duration
	// MaxDeliveries is how often an entry is tried before it goes to the dead-letter stream.
	// Default 5.
	MaxDeliveries int64
	// ClaimAfter is how long an entry that was delivered and not acknowledged is left to its
	// consumer. Then any worker takes it over, so it is also the pause before an entry that failed
	// is tried again. Default 15 s.
	ClaimAfter time.Duration
	// MaxLen is how many entries the worker leaves in the stream, about, for writers that do not
	// trim; up to ten times as many while another group, that was at work within a day, has still
	// to read them. Default 100,000.
	MaxLen int64
	// MaxDead is how many entries the dead-letter stream keeps, about. Default 10,000.
	MaxDead int64
	// Logger gets one line per failed attempt to read, per batch with entries that failed or were
	// refused, and per failover. Default: nothing is logged.
	Logger *slog.Logger
}

// Worker applies the events of the stream to the second tier, together with the other workers of
// its group: each entry goes to one of them, and again to any of them when that one fails or dies.
// An entry that fails MaxDeliveries times, and one that is no good event, goes to the dead-letter
// stream.
//
// When a server has lost its memory in a failover, so may the second tier have lost what it was
// told. The worker then applies the last ten minutes of the stream again. Which servers it knew is
// kept in the key <stream>:worker:servers, so that it finds out even if it was restarted meanwhile.
type Worker struct {
	cfg  WorkerConfig
	dead *DeadLetters
	life life.Life

	// The rest belongs to the goroutine that reads, after Start.
	server   string    // run id of the server that the link leads to, "" when it does not say
	clock    time.Time // the Redis server's time when it last told
	claimAt  time.Time
	trimAt   time.Time
	checkAt  time.Time // when to look whether servers have changed
	countAt  time.Time // when to ask how much is pending
	rereads  int       // attempts to apply the last minutes again that left something undone
	checked  bool      // the servers were looked at since the link was made
	created  bool      // the group is new, so that the last minutes come through it
	byHand   bool      // XAUTOCLAIM is of no use on this server
	trimmer  trimmer
	failures int // attempts that failed since the last that did not
	pace     pace
	stats    workerStats
}

// NewWorker returns a Worker that has not started.
func NewWorker(cfg WorkerConfig) (*Worker, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	dead, err := NewDeadLetters(DeadConfig{Client: cfg.Client, Stream: cfg.Stream, MaxLen: cfg.MaxDead})
	if err != nil {
		return nil, err
	}
	return &Worker{cfg: cfg, dead: dead, pace: newPace(workerBatch)}, nil
}

func (c WorkerConfig) withDefaults() WorkerConfig {
	c.Stream = cmp.Or(c.Stream, Name)
	c.Group = cmp.Or(c.Group, defaultGroup)
	c.Block = cmp.Or(c.Block, maxBlock)
	c.MaxDeliveries = cmp.Or(c.MaxDeliveries, 5)
	c.ClaimAfter = cmp.Or(c.ClaimAfter, 15*time.Second)
	c.MaxLen = cmp.Or(c.MaxLen, DefaultMaxLen)
	if c.Consumer == "" {
		c.Consumer = nodename.New()
	}
	c.Logger = loggerOr(c.Logger)
	return c
}

func (c WorkerConfig) validate() error {
	switch {
	case c.Applier == nil:
		return fmt.Errorf("%w: WorkerConfig.Applier is nil", errConfig)
	case c.Block < time.Millisecond || c.Block > maxBlock:
		return fmt.Errorf("%w: WorkerConfig.Block is %v; want 1ms to %v", errConfig, c.Block, maxBlock)
	case c.MaxDeliveries < 1:
		return fmt.Errorf("%w: WorkerConfig.MaxDeliveries is %d; want at least 1", errConfig, c.MaxDeliveries)
	case c.ClaimAfter < time.Millisecond:
		return fmt.Errorf("%w: WorkerConfig.ClaimAfter is %v; want at least 1ms", errConfig, c.ClaimAfter)
	case c.MaxLen < 1:
		return fmt.Errorf("%w: WorkerConfig.MaxLen is %d; want at least 1", errConfig, c.MaxLen)
	}
	return checkClient(c.Client)
}

// Start connects, makes sure that the group is there, and works in a goroutine of its own until
// Close. ctx bounds the connecting only. Errors: ErrClosed, or why the server did not answer; after
// the last Start may be called again. A second Start does nothing.
func (w *Worker) Start(ctx context.Context) error {
	return w.life.Start(ctx, func(ctx context.Context) error {
		l, err := w.connect(ctx)
		if err != nil {
			return err
		}
		return l.serve(&w.life, w.run)
	})
}

// Close ends the work and waits for the entry under way, about Block at most. What was read and not
// done is left to the other workers. It may be called twice and before Start.
func (w *Worker) Close() error {
	return w.life.Close(nil)
}

// Stats returns what the worker has done so far. It may be called at any time, concurrently.
func (w *Worker) Stats() WorkerStats { return w.stats.snapshot() }

func (w *Worker) connect(ctx context.Context) (*link, error) {
	l, err := open(ctx, w.cfg.Client, w.cfg.Stream, w.cfg.Block+linkGrace)
	if err != nil {
		return nil, err
	}
	a, err := l.greet(ctx)
	if err == nil {
		err = w.ensureGroup(ctx, l)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	w.server = a.who.runID
	w.checked, w.checkAt, w.claimAt = false, time.Time{}, time.Time{}
	return l, nil
}

// ensureGroup creates the group if it is not there, with the stream if that is not there either.
func (w *Worker) ensureGroup(ctx context.Context, l *link) error {
	now, err := l.conn.Time(ctx).Result()
	if err != nil {
		return fmt.Errorf("stream: time of the server: %w", err)
	}
	w.clock = now
	from, _, err := w.lastMinutes(ctx, l)
	if err != nil {
		return err
	}
	err = l.conn.XGroupCreateMkStream(ctx, w.cfg.Stream, w.cfg.Group, from.String()).Err()
	w.created = err == nil
	if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
		return fmt.Errorf("stream: create group %q: %w", w.cfg.Group, err)
	}
	return nil
}

func (w *Worker) run(ctx context.Context, l *link) {
	retry(ctx, w.cfg.Logger, "worker", func(works func()) error {
		if l == nil {
			var err error
			if l, err = w.connect(ctx); err != nil {
				return err
			}
		}
		err := w.serve(ctx, l, works)
		l.close()
		l = nil
		w.pace.slower()
		return err
	})
	if l != nil {
		l.close()
	}
}

func (w *Worker) serve(ctx context.Context, l *link, works func()) error {
	for ctx.Err() == nil {
		if err := w.turn(ctx, l); err != nil {
			return err
		}
		works()
		w.pace.faster()
	}
	return nil
}

// turn does what is due and then one batch.
func (w *Worker) turn(ctx context.Context, l *link) error {
	now := time.Now()
	if !now.Before(w.checkAt) {
		w.checkAt = now.Add(checkEvery)
		if err := w.checkServers(ctx, l); err != nil {
			return err
		}
	}
	if !now.Before(w.claimAt) {
		w.claimAt = now.Add(w.cfg.ClaimAfter / 3)
		if err := w.claim(ctx, l); err != nil {
			return err
		}
	}
	if !now.Before(w.countAt) {
		w.countAt = now.Add(countEvery)
		if err := w.count(ctx, l); err != nil {
			return err
		}
	}
	if !now.Before(w.trimAt) {
		w.trimAt = now.Add(trimEvery)
		w.tidy(ctx, l)
	}
	return w.batch(ctx, l)
}

// count asks how much is pending, and how many entries are dead.
func (w *Worker) count(ctx context.Context, l *link) error {
	pipe := l.conn.Pipeline()
	pending := pipe.XPending(ctx, w.cfg.Stream, w.cfg.Group)
	dead := pipe.XLen(ctx, w.cfg.Stream+deadSuffix)
	if _, err := pipe.Exec(ctx); err != nil && !isReply(err) {
		return fmt.Errorf("stream: count what is pending: %w", err)
	}
	// else the rights are missing, and nothing is told
	if pending.Err() == nil && dead.Err() == nil {
		w.stats.counted(pending.Val().Count, dead.Val())
	}
	return nil
}

// batch reads entries that no worker has had, and applies them.
func (w *Worker) batch(ctx context.Context, l *link) error {
	pipe := l.conn.Pipeline()
	read := pipe.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: w.cfg.Group, Consumer: w.cfg.Consumer, Streams: []string{w.cfg.Stream, ">"}, Count: w.pace.now, Block: w.cfg.Block,
	})
	clock := pipe.Time(ctx)
	if _, err := pipe.Exec(ctx); err != nil && !isReply(err) {
		return fmt.Errorf("stream: read group %q: %w", w.cfg.Group, err)
	}
	streams, err := read.Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		// the next link creates a group that is gone
		return fmt.Errorf("stream: read group %q: %w", w.cfg.Group, err)
	}
	w.clock = clock.Val()
	if len(streams) == 0 {
		return nil
	}
	return w.work(ctx, l, streams[0].Messages, nil)
}

// work applies entries and acknowledges those that are done. deliveries holds how often each was
// delivered, this time included; 1 for those that are not in it.
func (w *Worker) work(ctx context.Context, l *link, entries []redis.XMessage, deliveries map[string]int64) error {
	var failed refusal
	done := make([]string, 0, len(entries))
	for _, entry := range entries {
		if ctx.Err() != nil {
			break
		}
		n := max(1, deliveries[entry.ID])
		err := w.dispose(ctx, entry, n)
		if failed.add(entry.ID, err); err == nil || errors.Is(err, errDead) {
			done = append(done, entry.ID)
		}
		w.stats.handled(entry.ID, n)
	}
	failed.log(ctx, w.cfg.Logger)
	if len(done) == 0 {
		return nil
	}
	// Close must not leave what is done to be done again.
	ctx = context.WithoutCancel(ctx)
	if err := l.conn.XAck(ctx, w.cfg.Stream, w.cfg.Group, done...).Err(); err != nil {
		return fmt.Errorf("stream: acknowledge %d entries: %w", len(done), err)
	}
	return nil
}

// tidy trims the stream, for writers that do not, and removes consumers that are gone. Neither is
// worth failing for.
func (w *Worker) tidy(ctx context.Context, l *link) {
	err := w.trim(ctx, l)
	args := []any{w.cfg.Group, goneAfter.Milliseconds(), w.cfg.Consumer}
	if err = errors.Join(err, retireScript.Eval(ctx, l.conn, []string{w.cfg.Stream}, args...).Err()); err != nil {
		w.cfg.Logger.DebugContext(ctx, "stream: tidy", "error", err)
	}
}

// WorkerStats is what a Worker has done since it was made.
type WorkerStats struct {
	// Entries counts the entries handled, each time anew.
	Entries uint64 `json:"entries"`
	// Applied counts the events that changed the second tier, Unchanged those that it knew already.
	Applied   uint64 `json:"applied"`
	Unchanged uint64 `json:"unchanged"`
	// Failed counts the attempts that failed; the entry is tried again.
	Failed uint64 `json:"failed"`
	// Claimed counts the entries taken over from a consumer, this one included, that did not finish
	// them.
	Claimed uint64 `json:"claimed"`
	// Dead counts the entries moved to the dead-letter stream by reason: as TailStats.Refused, or
	// "failed".
	Dead map[string]uint64 `json:"dead"`
	// Rereads counts how often the last minutes were applied again after a failover, and Reread the
	// entries of it.
	Rereads uint64 `json:"rereads"`
	Reread  uint64 `json:"reread"`
	// LastID is the id of the entry handled last, "" before the first.
	LastID string `json:"lastId"`
	// LastDone is when that was; zero before.
	LastDone time.Time `json:"lastDone"`
	// Pending is how many entries the group was given and has not done, Letters how many dead ones
	// there are, both of the whole cluster, as Redis told CountedAt; the zero time before it was
	// asked.
	Pending   int64     `json:"pending"`
	Letters   int64     `json:"letters"`
	CountedAt time.Time `json:"countedAt,omitzero"`
}

// workerStats is WorkerStats under a lock.
type workerStats struct{ guarded[WorkerStats] }

func (c *workerStats) snapshot() (s WorkerStats) {
	c.update(func(now *WorkerStats) {
		s = *now
		s.Dead = maps.Clone(now.Dead)
	})
	return s
}

func (c *workerStats) handled(id string, deliveries int64) {
	c.update(func(s *WorkerStats) {
		s.Entries++
		s.LastID, s.LastDone = id, time.Now()
		if deliveries > 1 {
			s.Claimed++
		}
	})
}

func (c *workerStats) applied(changed bool) {
	c.update(func(s *WorkerStats) {
		if changed {
			s.Applied++
		} else {
			s.Unchanged++
		}
	})
}

func (c *workerStats) counted(pending, dead int64) {
	c.update(func(s *WorkerStats) { s.Pending, s.Letters, s.CountedAt = pending, dead, time.Now() })
}

func (c *workerStats) failed() { c.update(func(s *WorkerStats) { s.Failed++ }) }

func (c *workerStats) died(reason string) { c.update(func(s *WorkerStats) { count(&s.Dead, reason) }) }

func (c *workerStats) reread(n int, finished bool) {
	c.update(func(s *WorkerStats) {
		s.Reread += uint64(n)
		if finished {
			s.Rereads++
		}
	})
}
