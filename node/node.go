// Package node is what a chat node embeds: the two tiers, kept true by the stream of changes. Get and BatchGet read,
// Put and Invalidate tell the whole cluster.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/seeded"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier"
)

var (
	// ErrNotReady reports a node that has not started, or was closed.
	ErrNotReady = errors.New("node: not ready")
	// ErrNotTold reports a change that Redis and this node have, but that could not be announced to the other nodes: they
	// may answer with the old profile for as long as their L1 holds it. Doing it again is safe.
	ErrNotTold = errors.New("node: the other nodes were not told")
)

// Config configures a Node. RedisURL and Origin are required; the zero value of everything else is a default.
type Config struct {
	// RedisURL is redis://[user:password@]host:port[/db], rediss://…, redis+cluster://host:port,… or
	// redis+sentinel://host:port,…/master. The node opens its own clients: one for lookups, one for the stream.
	RedisURL string
	// Origin is the source of truth; origin.NewClient makes one for a service behind HTTP. One with a method
	// Stats() origin.ClientStats is shown in the node's.
	Origin tier.Loader
	// L2 sets the times of the Redis tier; its Client is the node's.
	L2 tier.L2Config
	// Tier sets the sizes and times of L1 and of loads; its L2, Origin, and Logger are the node's.
	Tier tier.Config
	// NoWorker keeps this node from helping to apply to Redis what other services put on the stream; some node should.
	NoWorker bool
	// NoWatch keeps this node from watching for writes to Redis that bypass the stream; they are seen when L1's TTL ends.
	NoWatch bool
	// Logger gets what an operator should know. Default: none.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.RedisURL == "":
		return errors.New("node: Config.RedisURL is empty; want an address such as redis://127.0.0.1:6379")
	case c.Origin == nil:
		return errors.New("node: Config.Origin is nil; want a tier.Loader")
	}
	return nil
}

// Node is one member of the cluster. Its methods may be called concurrently.
type Node struct {
	conf      Config
	client    redis.UniversalClient
	streams   [2]redis.UniversalClient // the tail's and the worker's: a blocked XREAD takes no connection from lookups
	tracking  redis.UniversalClient    // the watch's
	cache     *tier.Cache
	publisher *stream.Publisher
	tail      *stream.Tail
	worker    *stream.Worker // nil with NoWorker
	watch     *tier.Watch    // nil with NoWatch

	mu      sync.Mutex
	started bool
	closed  bool
}

// New checks conf and returns a Node that has not started. Nothing is sent yet.
func New(conf Config) (*Node, error) {
	conf = conf.withDefaults()
	if err := conf.validate(); err != nil {
		return nil, err
	}
	client, err := redisconn.Open(conf.RedisURL)
	if err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	n := &Node{conf: conf, client: client}
	for i := range n.streams {
		if n.streams[i], err = redisconn.OpenTail(conf.RedisURL); err != nil {
			return nil, errors.Join(fmt.Errorf("node: %w", err), n.disconnect())
		}
	}
	if n.tracking, err = redisconn.OpenWatch(conf.RedisURL, tier.Track); err != nil {
		return nil, errors.Join(fmt.Errorf("node: %w", err), n.disconnect())
	}
	if err := n.compose(); err != nil {
		return nil, errors.Join(err, n.disconnect())
	}
	return n, nil
}

func (n *Node) disconnect() (err error) {
	for _, c := range append(n.streams[:], n.client, n.tracking) {
		if c != nil {
			err = errors.Join(err, c.Close())
		}
	}
	return err
}

func (n *Node) compose() (err error) {
	n.conf.L2.Client = n.client
	n.conf.Tier.Origin, n.conf.Tier.Logger = n.conf.Origin, n.conf.Logger
	if n.conf.Tier.L2, err = tier.NewL2(n.conf.L2); err != nil {
		return err
	}
	if n.cache, err = tier.New(n.conf.Tier); err != nil {
		return err
	}
	if n.publisher, err = stream.NewPublisher(stream.PublisherConfig{Client: n.client}); err != nil {
		return err
	}
	if n.tail, err = stream.NewTail(stream.TailConfig{Client: n.streams[0], Handler: feed{n.cache}, Logger: n.conf.Logger}); err != nil {
		return err
	}
	if !n.conf.NoWatch {
		if n.watch, err = tier.NewWatch(tier.WatchConfig{Client: n.tracking, Cache: n.cache, Logger: n.conf.Logger}); err != nil {
			return err
		}
	}
	if !n.conf.NoWorker {
		n.worker, err = stream.NewWorker(stream.WorkerConfig{Client: n.streams[1], Applier: n.conf.Tier.L2, Logger: n.conf.Logger})
	}
	return err
}

// Start connects to Redis and follows the stream from its present end; L1 is empty then, so nothing older can be in it.
// When Redis cannot be reached within ctx it returns why, and may be called again.
func (n *Node) Start(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return tier.ErrClosed
	}
	if n.started {
		return nil
	}
	if err := n.cache.Start(ctx); err != nil {
		return fmt.Errorf("node: Redis at %s: %w", redisconn.Redact(n.conf.RedisURL), err)
	}
	if err := n.follow(ctx); err != nil {
		return fmt.Errorf("node: stream on Redis at %s: %w", redisconn.Redact(n.conf.RedisURL), err)
	}
	n.started = true
	return nil
}

// follow starts what reads the stream. What a Start that failed half way has started already stays so.
func (n *Node) follow(ctx context.Context) error {
	if err := n.tail.Start(ctx); err != nil && !errors.Is(err, stream.ErrStarted) {
		return err
	}
	if n.worker != nil {
		if err := n.worker.Start(ctx); err != nil && !errors.Is(err, stream.ErrStarted) {
			return err
		}
	}
	if n.watch != nil {
		return n.watch.Start(ctx)
	}
	return nil
}

// Close stops following the stream, waits for readers and loads, and closes the clients. It may be called twice and
// before Start. The order matters: what feeds the cache ends before the cache, the connections last.
func (n *Node) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	var feeding error
	if n.watch != nil {
		feeding = n.watch.Close()
	}
	if n.worker != nil {
		feeding = errors.Join(feeding, n.worker.Close())
	}
	return errors.Join(feeding, n.tail.Close(), n.cache.Close(), n.disconnect())
}

// Ready returns nil while the node is started, else an error that wraps ErrNotReady. A node that has lost Redis stays
// ready: it answers from the origin, and sending its users elsewhere would help nobody.
func (n *Node) Ready() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.started || n.closed {
		return ErrNotReady
	}
	return nil
}

// Get returns the profile of id from the nearest tier that has it; see tier.Cache.Get for what it promises.
//
// Errors wrap profile.ErrInvalidID, profile.ErrNotFound, profile.ErrUnavailable, tier.ErrClosed, or the cause of ctx.
func (n *Node) Get(ctx context.Context, id string) (tier.Result, error) {
	return n.cache.GetWith(ctx, id, tier.Want{})
}

// GetWith is Get with demands on the answer's version or age; when no tier has the version, the error wraps
// tier.ErrBehind.
func (n *Node) GetWith(ctx context.Context, id string, w tier.Want) (tier.Result, error) {
	return n.cache.GetWith(ctx, id, w)
}

// BatchGet is GetWith for up to tier.MaxBatch ids; one bad id does not fail the others.
func (n *Node) BatchGet(ctx context.Context, ids []string, w tier.Want) (tier.Batch, error) {
	return n.cache.BatchGet(ctx, ids, w)
}

// tellTimeout bounds the announcement of a change that Redis already has, whatever became of the caller's context.
const tellTimeout = 2 * time.Second

// Put tells the cluster what the truth already says about p, which must carry its version (UpdatedAt). Redis has it first,
// the event follows, so that nobody refills from the old record. The truth itself is changed at the origin.
//
// Errors wrap tier.ErrConflict, profile.ErrInvalidID, profile.ErrMalformed, profile.ErrTooLarge, ErrNotTold, or are Redis's.
func (n *Node) Put(ctx context.Context, p *profile.Profile) error {
	whole := *p
	whole.Complete()
	if err := n.cache.Put(ctx, &whole); err != nil {
		return err
	}
	return n.tell(ctx, stream.Event{Kind: stream.Updated, UserID: p.ID, Version: p.UpdatedAt, Profile: &whole})
}

// Invalidate makes Redis and every node forget id, so that the next read asks the origin.
//
// Errors wrap profile.ErrInvalidID, ErrNotTold, or are Redis's.
func (n *Node) Invalidate(ctx context.Context, id string) error {
	if seeded.EventFirst {
		_ = n.tell(ctx, stream.Event{Kind: stream.Invalidated, UserID: id})
		return n.cache.Invalidate(ctx, id)
	}
	if err := n.cache.Invalidate(ctx, id); err != nil {
		return err
	}
	return n.tell(ctx, stream.Event{Kind: stream.Invalidated, UserID: id})
}

func (n *Node) tell(ctx context.Context, e stream.Event) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTimeout)
	defer cancel()
	if _, err := n.publisher.Publish(ctx, e); err != nil {
		return fmt.Errorf("%w of %q: %w", ErrNotTold, e.UserID, err)
	}
	return nil
}

// Tick brings the node's coarse clock up to date; see tier.Cache.Tick.
func (n *Node) Tick() { n.cache.Tick() }

// Stats is a snapshot of the node's counters.
type Stats struct {
	// Cache counts by tier.
	Cache tier.Stats `json:"cache"`
	// Stream tells how the tail of the stream does.
	Stream stream.TailStats `json:"stream"`
	// Worker tells what this node applied to Redis from the stream; nil with NoWorker.
	Worker *stream.WorkerStats `json:"worker,omitempty"`
	// Watch tells about writes to Redis that bypass the stream; nil with NoWatch.
	Watch *tier.WatchStats `json:"watch,omitempty"`
	// Origin tells about the calls of the source of truth, its circuit breaker for one; nil when Config.Origin does not say.
	Origin *origin.ClientStats `json:"origin,omitempty"`
	// L2TTL is how long a profile stays in Redis.
	L2TTL time.Duration `json:"l2TTL"`
}

// Stats returns a snapshot.
func (n *Node) Stats() Stats {
	s := Stats{Cache: n.cache.Stats(), Stream: n.tail.Stats(), L2TTL: n.conf.Tier.L2.TTL()}
	if n.worker != nil {
		w := n.worker.Stats()
		s.Worker = &w
	}
	if n.watch != nil {
		w := n.watch.Stats()
		s.Watch = &w
	}
	if counting, ok := n.conf.Origin.(interface{ Stats() origin.ClientStats }); ok {
		o := counting.Stats()
		s.Origin = &o
	}
	return s
}
