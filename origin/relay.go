package origin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/life"
)

// RelayConfig configures a Relay.
type RelayConfig struct {
	// Outbox is where changes come from; a Store is one. Required.
	Outbox Outbox
	// Announcer is where they go. Required.
	Announcer Announcer
	// Batch is the number of rows taken from the outbox at once. Default 256.
	Batch int
	// Concurrency is the number of users announced at once. Default 32.
	Concurrency int
	// Timeout bounds one announcement. Default 2 s.
	Timeout time.Duration
	// Poll is how often the outbox is looked at when nothing woke the relay. Default 500 ms.
	Poll time.Duration
	// MaxPause caps the pause after failures of one user; when whoever announces fails for everybody the cap is a second
	// or MaxPause, whichever is less. Default 5 s.
	MaxPause time.Duration
	// Keep is how long rows stay in the outbox after they were announced. Default 10 min.
	Keep time.Duration
	// Logger gets one line for each attempt that failed. Default: none.
	Logger *slog.Logger
}

func (c RelayConfig) withDefaults() RelayConfig {
	if c.Batch <= 0 {
		c.Batch = 256
	}
	if c.Concurrency <= 0 {
		c.Concurrency = 32
	}
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{{&c.Timeout, 2 * time.Second}, {&c.Poll, 500 * time.Millisecond}, {&c.MaxPause, 5 * time.Second}, {&c.Keep, 10 * time.Minute}} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	c.Logger = loggerOr(c.Logger)
	return c
}

func (c RelayConfig) validate() error {
	if c.Outbox == nil || c.Announcer == nil {
		return errors.New("origin: a relay needs an Outbox and an Announcer")
	}
	return nil
}

const (
	// minPause is the pause after a first failure.
	minPause = 20 * time.Millisecond
	// maxOutagePause caps the pause while nobody can be announced, so that changes flow again soon after it is over.
	maxOutagePause = time.Second
	// probeBatch is the number of rows tried at once while nobody can be announced.
	probeBatch = 4
	// pruneEvery is the time between two prunings.
	pruneEvery = time.Minute
	// lookElsewhere is how often a writer looks whether another process has announced his change.
	lookElsewhere = 20 * time.Millisecond
	// closeGrace bounds the work that Close waits for beyond the announcements in progress: noting what succeeded.
	closeGrace = time.Second
)

// sharedOutbox is an Outbox on which the relays of several processes may work.
type sharedOutbox interface {
	// Announced reports whether the row was announced, by whichever process.
	Announced(ctx context.Context, seq int64) (bool, error)
}

// Relay takes changes from an outbox to an Announcer: per user in version order, at least once, several users at once.
//
// A user whose change fails waits and is tried again; the others go on. When changes of different users fail one after
// another it is the Announcer that is down, and the whole relay pauses between a few tries. Nothing is ever given up.
type Relay struct {
	cfg     RelayConfig
	waiters *waiters
	ctx     context.Context
	cancel  context.CancelCauseFunc
	stats   relayCounters

	mu      sync.Mutex // guards the life cycle
	started bool
	ended   chan struct{} // closed when the loop is over

	// Owned by the loop.
	blocked    map[string]*blockedUser
	outage     int    // failures in a row, each of another user than the one before
	lastFailed string // the user of the last failure
}

// blockedUser is a user whose oldest change failed.
type blockedUser struct {
	failures int
	until    time.Time
}

// relayCounters are read by Stats.
type relayCounters struct {
	announced, failures, blocked atomic.Int64
	down                         atomic.Bool
}

// RelayStats is a snapshot of what a relay did since Start.
type RelayStats struct {
	// Announced counts the changes that were announced.
	Announced int64 `json:"announced"`
	// Failures counts attempts that failed.
	Failures int64 `json:"failures"`
	// Blocked is the number of users who wait after a failure of their own.
	Blocked int64 `json:"blocked"`
	// Down tells whether nobody can be announced at present.
	Down bool `json:"down"`
}

// NewRelay returns a relay that Start starts.
func NewRelay(cfg RelayConfig) (*Relay, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	return &Relay{cfg: cfg.withDefaults(), waiters: newWaiters(), ctx: ctx, cancel: cancel,
		ended: make(chan struct{}), blocked: make(map[string]*blockedUser)}, nil
}

// Start reads the outbox's backlog, which proves that it can be read, and starts relaying. It may be called once.
func (r *Relay) Start(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.started || r.ctx.Err() != nil {
		return fmt.Errorf("origin: start relay: already started or closed: %w", ErrClosed)
	}
	b, err := r.cfg.Outbox.Backlog(ctx)
	if err != nil {
		return fmt.Errorf("origin: start relay: %w", err)
	}
	if b.Rows > 0 {
		r.cfg.Logger.Info("origin: relay: changes wait from before", "rows", b.Rows, "oldest", b.Oldest)
	}
	r.started = true
	go r.loop()
	return nil
}

// Close lets the announcements in progress end, each within its timeout, and stops; what is left waits in the outbox. It
// may be called twice and before Start.
func (r *Relay) Close() error {
	r.cancel(ErrClosed)
	r.mu.Lock()
	started := r.started
	r.mu.Unlock()
	if started {
		<-r.ended
	}
	return nil
}

// Wait returns true once the change with this Seq was announced, false when ctx ended or the relay closed first. It is for
// whoever committed the change just now.
func (r *Relay) Wait(ctx context.Context, seq int64) bool {
	done := r.waiters.add(seq)
	if done == nil {
		return true
	}
	defer r.waiters.remove(seq)
	look := time.NewTicker(lookElsewhere)
	defer look.Stop()
	for {
		select {
		case <-done:
			return true
		case <-look.C:
			if r.elsewhere(ctx, seq) {
				return true
			}
		case <-ctx.Done():
			return false
		case <-r.ctx.Done():
			return false
		}
	}
}

// elsewhere reports whether the relay of another process on the same outbox announced a change.
func (r *Relay) elsewhere(ctx context.Context, seq int64) bool {
	shared, ok := r.cfg.Outbox.(sharedOutbox)
	if !ok {
		return false
	}
	done, err := shared.Announced(ctx, seq)
	return err == nil && done
}

// Stats returns counters; it may be called at any time.
func (r *Relay) Stats() RelayStats {
	return RelayStats{Announced: r.stats.announced.Load(), Failures: r.stats.failures.Load(),
		Blocked: r.stats.blocked.Load(), Down: r.stats.down.Load()}
}

// loop is the relay's goroutine.
func (r *Relay) loop() {
	defer close(r.ended)
	prune := time.NewTicker(pruneEvery)
	defer prune.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for failed := 0; r.ctx.Err() == nil; {
		n, err := r.cycle()
		pause := r.pause(n)
		if err != nil && r.ctx.Err() == nil {
			failed++
			pause = life.Backoff(failed, minPause, r.cfg.MaxPause)
			r.cfg.Logger.Error("origin: relay: read outbox", "attempt", failed, "error", err, "pause", pause)
		} else {
			failed = 0
		}
		r.idle(pause, timer, prune)
	}
}

// idle waits until there is something to do. A wake cuts a wait short unless the relay paused because of failures.
func (r *Relay) idle(pause time.Duration, timer *time.Timer, prune *time.Ticker) {
	if pause == 0 {
		return
	}
	wake := r.cfg.Outbox.Wake()
	if r.outage > 1 {
		wake = nil
	}
	timer.Reset(pause)
	select {
	case <-r.ctx.Done():
	case <-wake:
	case <-timer.C:
	case <-prune.C:
		r.prune()
	}
}

// pause is how long to wait after a cycle that relayed n rows: not at all while there are more, until the first blocked
// user's turn when that is sooner than the poll, and as the outage says when nobody can be announced.
func (r *Relay) pause(n int) time.Duration {
	if r.outage > 1 {
		return life.Backoff(r.outage-1, minPause, min(maxOutagePause, r.cfg.MaxPause))
	}
	if n > 0 {
		return 0
	}
	pause := r.cfg.Poll
	now := time.Now()
	for _, b := range r.blocked {
		pause = min(pause, max(time.Millisecond, b.until.Sub(now)))
	}
	return pause
}

// prune forgets rows announced long ago. That it failed is worth a line, nothing more: it comes again.
func (r *Relay) prune() {
	if _, err := r.cfg.Outbox.Prune(r.ctx, time.Now().Add(-r.cfg.Keep)); err != nil && r.ctx.Err() == nil {
		r.cfg.Logger.Warn("origin: relay: prune outbox", "error", err)
	}
}

// cycle takes what waits in the outbox, announces it and notes what succeeded. It returns how many rows it announced.
func (r *Relay) cycle() (int, error) {
	limit := r.cfg.Batch
	if r.outage > 1 {
		limit = min(limit, probeBatch)
	}
	claim, err := r.cfg.Outbox.Claim(r.ctx, limit, r.excluded(time.Now()))
	if err != nil {
		return 0, err
	}
	outcomes := r.announceAll(perUser(claim.Changes()))
	done := r.settle(outcomes)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), closeGrace)
	defer cancel()
	if len(done) > 0 {
		err = claim.Done(ctx, done)
	}
	return len(done), errors.Join(err, claim.Close())
}

// excluded lists the users whose turn has not come yet.
func (r *Relay) excluded(now time.Time) (ids []string) {
	for id, b := range r.blocked {
		if b.until.After(now) {
			ids = append(ids, id)
		}
	}
	return ids
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
