// Package prewarm loads the users who were active lately before they ask for anything. One node
// reads who is active, makes the plan and puts it into Redis. All live nodes then load the users of
// their own ranges, newest first, inside one budget for the whole cluster, and fill their own
// memory from Redis at the end.
//
// Whatever has to be known by several nodes is in Redis, not in anyone's memory: the run, its plan,
// which ranges are done. So any node may die, join or start again in the middle, the one that began
// the run too.
package prewarm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/life"
	"github.com/chatapp-ngomna/edgecache/internal/nodename"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
)

var (
	// ErrRunning reports a run that cannot begin because another is under way in the cluster.
	ErrRunning = errors.New("prewarm: a run is under way")
	// ErrNoRun reports that there is no run to cancel or to tell about.
	ErrNoRun = errors.New("prewarm: no run")
	// ErrNotStarted reports a call that needs Start first.
	ErrNotStarted = errors.New("prewarm: not started")
	// ErrClosed reports a call after Close.
	ErrClosed = life.ErrClosed
	// ErrConfig reports a Config, or Options, with a value that breaks its rule.
	ErrConfig = errors.New("prewarm: bad configuration")
	// ErrMalformed reports a line, a plan or a record in Redis that cannot be read.
	ErrMalformed = errors.New("prewarm: malformed")
)

// User is one active user.
type User struct {
	// ID is the user's id; one that breaks profile.CheckID is counted and passed over.
	ID string
	// LastActive is when the user was last active.
	LastActive time.Time
}

// Source streams the users who were active since a time, in any order, duplicates allowed. One run
// calls it once; several runs do not overlap.
type Source interface {
	// Name tells the source from others in counts and errors.
	Name() string
	// Active yields the users. An error item ends the stream; what came before it counts.
	Active(ctx context.Context, since time.Time) iter.Seq2[User, error]
}

// Membership says which ranges are this node's. gossip's member list is one. Its methods may be
// called concurrently.
type Membership interface {
	// Owned returns, for each range of profile.RangeOf, whether it is this node's, and how many
	// nodes are alive, this one included.
	Owned() (ranges *[profile.Ranges]bool, live int)
	// Changed returns a channel that receives, or is closed, when Owned may answer otherwise than
	// before. It is asked for anew before each call of Owned.
	Changed() <-chan struct{}
}

// Cache is what users are loaded through; *tier.Cache is one.
type Cache interface {
	// BatchGet loads users from the nearest tier, and into Redis if they came from the origin.
	BatchGet(ctx context.Context, ids []string, w tier.Want) (tier.Batch, error)
	// Warm brings users from Redis into memory, never from the origin, and returns how many are
	// there now.
	Warm(ctx context.Context, ids []string) (int, error)
	// Stats tells how full the memory is.
	Stats() tier.Stats
}

// Config configures a Runner. Client and Cache are required; the zero value of everything else is a
// default.
type Config struct {
	// Client is where the cluster keeps its run. The caller closes it, after the Runner.
	Client redis.UniversalClient
	// Cache is what users are loaded through.
	Cache Cache
	// Members says which ranges are this node's. Default: all, because no other node is there.
	Members Membership
	// Sources say who is active. The same user may come from several.
	Sources []Source
	// Node is this node's name, unique in the cluster. Default: host name, process id and a random
	// part.
	Node string
	// Prefix begins the names of the keys in Redis. Clusters that share one Redis need different
	// ones. Default "edgecache:prewarm".
	Prefix string
	// Settle is how long the number of live nodes must have been lower before this node takes a
	// larger share of the budget, and how long a node waits after Start before it takes any. It
	// must be longer than news of a member takes to spread. Default 3 s; at least 2.5 s, except
	// without Members, where nothing settles.
	Settle time.Duration
	// Fill is the share of the memory's capacity up to which it is filled from Redis after a run, 0
	// to 1. Default 0.8; negative: not at all.
	Fill float64
	// Logger gets one line per run and per failed attempt to reach Redis. Default: none.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.Sources = slices.Clone(c.Sources)
	c.Prefix = cmp.Or(c.Prefix, "edgecache:prewarm")
	c.Settle = cmp.Or(c.Settle, 3*time.Second)
	c.Fill = cmp.Or(c.Fill, 0.8)
	if c.Node == "" {
		c.Node = nodename.New()
	}
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

func (c Config) validate() error {
	switch {
	case c.Client == nil:
		return fmt.Errorf("%w: Config.Client is nil; want a Redis client", ErrConfig)
	case c.Cache == nil:
		return fmt.Errorf("%w: Config.Cache is nil; want a tier.Cache", ErrConfig)
	case len(c.Node) > maxNode:
		return fmt.Errorf("%w: Config.Node has %d bytes; at most %d", ErrConfig, len(c.Node), maxNode)
	case c.Members != nil && c.Settle < leastSettle:
		return fmt.Errorf("%w: Config.Settle is %v; want at least %v", ErrConfig, c.Settle, leastSettle)
	case c.Fill > 1:
		return fmt.Errorf("%w: Config.Fill is %g; want at most 1", ErrConfig, c.Fill)
	}
	return checkSources(c.Sources)
}

func checkSources(sources []Source) error {
	for i, s := range sources {
		if s == nil {
			return fmt.Errorf("%w: source %d is nil", ErrConfig, i)
		}
	}
	return nil
}

// Runner is one node's part in the cluster's prewarming. Its methods may be called concurrently.
type Runner struct {
	conf  Config
	store *store
	// again is how long a second try waits.
	again time.Duration
	// nudge makes the watch look at once.
	nudge chan struct{}

	// base ends with Close; every goroutine runs under it.
	life life.Life

	mu      sync.Mutex
	started time.Time // zero before Start
	now     *part     // what this node takes part in, or took part in last
	own     Status    // of a run that this node is planning, or failed to plan
	share   share
}

// New checks conf and returns a Runner that has not started.
//
// Errors wrap ErrConfig.
func New(conf Config) (*Runner, error) {
	conf = conf.withDefaults()
	if err := conf.validate(); err != nil {
		return nil, err
	}
	r := &Runner{conf: conf, store: newStore(conf.Client, conf.Prefix, conf.Node), again: againAfter, nudge: make(chan struct{}, 1)}
	r.own.State = Idle
	r.share.settle = conf.Settle
	return r, nil
}

// Start asks Redis whether a run is under way, and from then on takes part in whatever run there
// is. It returns Redis's error, and may be called again then.
func (r *Runner) Start(ctx context.Context) error {
	return r.life.Start(ctx, func(ctx context.Context) error {
		if _, err := r.store.read(ctx); err != nil && !errors.Is(err, ErrNoRun) && !errors.Is(err, ErrMalformed) {
			return err // a record that cannot be read is a run that this node takes no part in
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.started = time.Now()
		r.life.Go(r.watch)
		return nil
	})
}

// Close leaves the run, which goes on without this node, and waits for what is under way. It may be
// called twice and before Start. It closes neither the client nor the cache, which must outlive it.
func (r *Runner) Close() error { return r.life.Close(nil) }

// ready returns nil between Start and Close.
func (r *Runner) ready() error {
	switch {
	case r.life.Closed():
		return ErrClosed
	case !r.life.Started():
		return ErrNotStarted
	}
	return nil
}
