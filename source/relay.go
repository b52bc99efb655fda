package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chatapp-ngomna/edgecache/origin"
)

// RelayConfig configures a Relay.
type RelayConfig struct {
	// Outbox is where changes come from; a Store is one. Required.
	Outbox Outbox
	// Announcer is where they go. Required.
	Announcer Announcer
	// Batch is the number of rows taken from the outbox at once. Default 256.
	Batch int
	// Concurrency is the number of users announced at once, as many of them new as tried again. One
	// who takes long counts no more, up to Batch of them. Default 32.
	Concurrency int
	// Timeout bounds one announcement. Default 2 s.
	Timeout time.Duration
	// Poll is how often the outbox is looked at when nothing woke the relay. Default 500 ms.
	Poll time.Duration
	// MaxPause caps the pause after failures of one user; when the Announcer fails for everybody
	// the cap is a second or MaxPause, whichever is less. Default 5 s.
	MaxPause time.Duration
	// Keep is how long rows stay in the outbox after they were announced. Default 10 min.
	Keep time.Duration
	// Logger gets a line when attempts fail, one in 10 s with the number of users concerned.
	// Default: none.
	Logger *slog.Logger
}

func (c RelayConfig) withDefaults() RelayConfig {
	c.Batch = cmp.Or(c.Batch, 256)
	c.Concurrency = cmp.Or(c.Concurrency, 32)
	c.Timeout = cmp.Or(c.Timeout, 2*time.Second)
	c.Poll = cmp.Or(c.Poll, 500*time.Millisecond)
	c.MaxPause = cmp.Or(c.MaxPause, 5*time.Second)
	c.Keep = cmp.Or(c.Keep, 10*time.Minute)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

func (c RelayConfig) validate() error {
	if c.Outbox == nil || c.Announcer == nil {
		return errors.New("source: a relay needs an Outbox and an Announcer")
	}
	if min(c.Batch, c.Concurrency) < 0 {
		return fmt.Errorf("source: RelayConfig: Batch %d, Concurrency %d; want numbers above 0", c.Batch, c.Concurrency)
	}
	if min(c.Timeout, c.Poll, c.MaxPause, c.Keep) < 0 {
		return fmt.Errorf("source: RelayConfig: Timeout %v, Poll %v, MaxPause %v, Keep %v; want positive durations",
			c.Timeout, c.Poll, c.MaxPause, c.Keep)
	}
	return nil
}

const (
	// minPause is the pause after a first failure.
	minPause = 20 * time.Millisecond
	// maxOutagePause caps the pause while nobody can be announced, so that changes flow again soon
	// after it is over.
	maxOutagePause = time.Second
	// pruneEvery is the time between two prunings.
	pruneEvery = time.Minute
	// lookElsewhere is how often it is looked up whether another process has announced what writers
	// wait for, lookTimeout how long that may take.
	lookElsewhere = 20 * time.Millisecond
	lookTimeout   = 500 * time.Millisecond
	// closeGrace bounds the work that Close waits for beyond the announcements in progress: noting
	// what succeeded.
	closeGrace = time.Second
)

// sharedOutbox is an Outbox on which the relays of several processes may work.
type sharedOutbox interface {
	// Undone returns those of the rows that no process has announced.
	Undone(ctx context.Context, seqs []int64) ([]int64, error)
}

// Relay takes changes from an outbox to an Announcer: per user in version order, at least once,
// several users at once.
//
// It has two lanes. The first takes what is new. A user whose change fails there, or takes long,
// leaves it and is stuck: the second lane tries stuck users again, each after a pause of their own,
// so that they cost the others nothing. While some are stuck more may be, so that the first lane
// takes those changes first that a writer waits for. When changes of many users fail and none
// succeeds it is the Announcer that is down, and both lanes make only a few tries a second. Nothing
// is ever given up.
type Relay struct {
	cfg      RelayConfig
	waiters  *waiters
	ctx      context.Context
	cancel   context.CancelCauseFunc
	stats    relayCounters
	stuck    *stuckUsers
	budget   *budget        // of the retries
	again    chan struct{}  // a note for the first lane: there may be more to take
	retry    chan struct{}  // a note for the second: there are users for it
	attempts sync.WaitGroup // of the first lane
	served   bool           // the first lane's: its last claim was for those who wait

	looking sync.Mutex // held while another process's announcements are looked up
	looked  time.Time  // guarded by looking: when that was last done

	mu      sync.Mutex // guards the life cycle
	started bool
	ended   chan struct{} // closed when both lanes have ended
}

// relayCounters are read by Stats.
type relayCounters struct {
	announced, failures atomic.Int64
	logged              atomic.Int64 // when the last failure was logged, in ms since 1970
}

// NewRelay returns a relay that Start starts.
func NewRelay(cfg RelayConfig) (*Relay, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	return &Relay{cfg: cfg, waiters: newWaiters(), ctx: ctx, cancel: cancel, stuck: newStuckUsers(cfg.MaxPause),
		budget: newBudget(cfg.Concurrency), again: make(chan struct{}, 1), retry: make(chan struct{}, 1), ended: make(chan struct{})}, nil
}

// Start reads the outbox's backlog, which proves that it can be read, and starts relaying. It may
// be called once.
func (r *Relay) Start(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.started || r.ctx.Err() != nil {
		return fmt.Errorf("source: start relay: already started or closed: %w", origin.ErrClosed)
	}
	b, err := r.cfg.Outbox.Backlog(ctx)
	if err != nil {
		return fmt.Errorf("source: start relay: %w", err)
	}
	if b.Oldest.Duration() > time.Second { // users made up just now are no news
		r.cfg.Logger.Info("source: relay: changes wait from before", "rows", b.Rows, "oldest", b.Oldest)
	}
	r.started = true
	go r.run()
	return nil
}

// run runs both lanes until Close, and then notes what the last attempts announced.
func (r *Relay) run() {
	defer close(r.ended)
	var lanes sync.WaitGroup
	lanes.Go(r.loop)
	lanes.Go(r.retryLoop)
	lanes.Wait()
	r.attempts.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), closeGrace)
	defer cancel()
	if told := r.stuck.unnoted(); len(told) > 0 {
		if err := r.retryRound(ctx, told); err != nil {
			r.cfg.Logger.Warn("source: relay: note what was announced; it will be once more", "error", err)
		}
	}
}

// Close lets the announcements in progress end, each within its timeout, and stops; what is left
// waits in the outbox. It may be called twice and before Start.
func (r *Relay) Close() error {
	r.cancel(origin.ErrClosed)
	r.mu.Lock()
	started := r.started
	r.mu.Unlock()
	if started {
		<-r.ended
	}
	return nil
}

// Wait returns true once a change was announced, false when ctx ended or the relay closed first. It
// is for a writer who committed the change just now. Of c it needs Seq and ID.
func (r *Relay) Wait(ctx context.Context, c Change) bool {
	done := r.waiters.add(c)
	if done == nil {
		return true
	}
	defer r.waiters.remove(c.Seq)
	if r.stuck.any() {
		note(r.again) // those who wait come first then
	}
	look := time.NewTicker(lookElsewhere)
	defer look.Stop()
	for {
		select {
		case <-done:
			return true
		case <-look.C:
			r.look(ctx)
		case <-ctx.Done():
			return false
		case <-r.ctx.Done():
			return false
		}
	}
}

// look finds out which of the rows that writers wait for another process has announced. When
// several writers come to it one looks for all of them; none ends the query, since that would end
// its connection.
func (r *Relay) look(ctx context.Context) {
	shared, ok := r.cfg.Outbox.(sharedOutbox)
	if !ok || !r.looking.TryLock() {
		return
	}
	defer r.looking.Unlock()
	if time.Since(r.looked) < lookElsewhere/2 {
		return
	}
	seqs := r.waiters.seqs()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
	defer cancel()
	undone, err := shared.Undone(ctx, seqs)
	r.looked = time.Now()
	if err != nil {
		return
	}
	left := make(map[int64]bool, len(undone))
	for _, seq := range undone {
		left[seq] = true
	}
	for _, seq := range seqs {
		if !left[seq] {
			r.waiters.announced(seq)
		}
	}
}

// Stats returns counters; it may be called at any time.
func (r *Relay) Stats() origin.RelayStats {
	blocked, down := r.stuck.state()
	return origin.RelayStats{Announced: r.stats.announced.Load(), Failures: r.stats.failures.Load(), Blocked: blocked, Down: down}
}

// note leaves a note in ch unless one is there.
func note(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// perUser splits changes by user, users in the order of their first change.
func perUser(changes []Change) (users [][]Change) {
	place := make(map[string]int, len(changes))
	for _, c := range changes {
		i, ok := place[c.ID]
		if !ok {
			i = len(users)
			place[c.ID] = i
			users = append(users, nil)
		}
		users[i] = append(users[i], c)
	}
	return users
}
