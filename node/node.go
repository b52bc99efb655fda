// Package node is what a chat node embeds: the two tiers, kept true by the stream of changes. Get
// and BatchGet read, Put and Invalidate tell the whole cluster.
package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/gossip"
	"github.com/chatapp-ngomna/edgecache/internal/redact"
	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/prewarm/hot"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/kv"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
	"github.com/chatapp-ngomna/edgecache/tier/look"
	"github.com/chatapp-ngomna/edgecache/tier/watch"
)

var (
	// ErrNotReady reports a node that has not started, or was closed.
	ErrNotReady = errors.New("node: not ready")
	// ErrNotTold reports a change that Redis and this node have, but that could not be announced to
	// the other nodes: they may answer with the old profile for as long as their L1 holds it. Doing
	// it again is safe.
	ErrNotTold = errors.New("node: the other nodes were not told")
	// ErrGossip reports a Start that could not take part in the cluster.
	ErrGossip = errors.New("node: gossip")
	// ErrNoPrewarm reports a call about prewarms to a node with Config.NoPrewarm.
	ErrNoPrewarm = errors.New("node: this node takes no part in prewarms")
)

// Node is one member of the cluster. Its methods may be called concurrently.
type Node struct {
	conf   Config
	client redis.UniversalClient
	// the tail's and the worker's: a blocked XREAD takes no connection from lookups
	streams   [2]redis.UniversalClient
	watching  [2]redis.UniversalClient // the watch's, of RESP3 and RESP2
	cache     *tier.Cache
	publisher *stream.Publisher
	tail      *stream.Tail
	worker    *stream.Worker // nil with NoWorker
	watch     *watch.Watch   // nil with NoWatch
	hot       *hot.List      // nil with NoPrewarm, as runner is
	runner    *prewarm.Runner
	gossip    *gossip.Cluster // nil without Config.Cluster
	functions *edge.Functions // nil without Config.Functions
	warm      atomic.Bool     // it was ready once
	// nil without Config.Store, or when it cannot be had, for the reason storeless
	store     *kv.Store
	storeless string
	resumes   bool        // the tail goes on from where the store is true
	alone     atomic.Bool // started without Redis, which has not been there since
	states    states
	lookups   *prewarmLookups

	// base ends with Close, and background with what runs under it.
	base       context.Context
	end        context.CancelFunc
	background sync.WaitGroup

	mu        sync.Mutex
	started   bool
	startedAt time.Time
	closed    bool
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
	n := &Node{client: client}
	n.configure(conf)
	for i := range n.streams {
		if n.streams[i], err = redisconn.OpenTailAs([...]string{"tail", "worker"}[i], conf.RedisURL); err != nil {
			return nil, errors.Join(fmt.Errorf("node: %w", err), n.disconnect())
		}
	}
	if n.watching[0], err = redisconn.OpenPush(conf.RedisURL); err == nil {
		n.watching[1], err = redisconn.OpenWatch(conf.RedisURL, watch.Track)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("node: %w", err), n.disconnect())
	}
	if err := n.compose(); err != nil {
		if n.cache != nil {
			err = errors.Join(err, n.cache.Close()) // its engine has goroutines from the start
		}
		if n.functions != nil {
			err = errors.Join(err, n.functions.Close())
		}
		return nil, errors.Join(err, n.store.Close(), n.disconnect())
	}
	return n, nil
}

// configure takes conf, and has the log hold back what repeats itself while Redis is lost.
func (n *Node) configure(conf Config) {
	quiet := newSymptoms(conf.Logger.Handler())
	conf.Logger = slog.New(quiet)
	n.conf, n.states.log, n.states.symptoms = conf, conf.Logger, quiet.held
}

func (n *Node) disconnect() (err error) {
	for _, c := range append(append(n.streams[:], n.client), n.watching[:]...) {
		if c != nil {
			err = errors.Join(err, c.Close())
		}
	}
	return err
}

func (n *Node) compose() (err error) {
	n.base, n.end = context.WithCancel(context.Background())
	n.conf.L2.Client = n.client
	n.conf.Tier.Origin, n.conf.Tier.Logger = n.conf.Origin, n.conf.Logger
	if n.conf.Tier.L2, err = l2.New(n.conf.L2); err != nil {
		return err
	}
	n.conf.Tier.Watched = !n.conf.NoWatch
	n.openStore()
	if n.cache, err = tier.New(n.conf.Tier); err != nil {
		return err
	}
	if n.publisher, err = stream.NewPublisher(stream.PublisherConfig{Client: n.client, MaxLen: n.conf.StreamMaxLen}); err != nil {
		return err
	}
	if err := n.composeFunctions(); err != nil {
		return err
	}
	n.tail, err = n.newTail(stream.TailConfig{Client: n.streams[0], Handler: n.handler(),
		Block: tailBlock(n.conf.Tier.FenceAfter), Logger: n.conf.Logger})
	if err != nil {
		return err
	}
	if !n.conf.NoWatch {
		if n.watch, err = watch.New(watch.Config{Client: n.watching[0], Redirected: n.watching[1],
			Cache: n.cache, Logger: n.conf.Logger}); err != nil {
			return err
		}
	}
	if !n.conf.NoWorker {
		n.worker, err = stream.NewWorker(stream.WorkerConfig{Client: n.streams[1], Applier: n.conf.Tier.L2, MaxLen: n.conf.StreamMaxLen,
			Logger: n.conf.Logger})
		if err != nil {
			return err
		}
	}
	return n.composeCluster()
}

// composeCluster makes what the node has in common with the others beside the stream.
func (n *Node) composeCluster() (err error) {
	if n.conf.Cluster != nil {
		cluster := *n.conf.Cluster
		cluster.Logger = cmp.Or(cluster.Logger, n.conf.Logger)
		if n.gossip, err = gossip.New(cluster); err != nil {
			return err
		}
	}
	if n.conf.NoPrewarm {
		return nil
	}
	if n.hot, err = hot.New(hot.Config{Client: n.client, Logger: n.conf.Logger}); err != nil {
		return err
	}
	n.lookups = &prewarmLookups{Cache: n.cache}
	conf := prewarm.Config{Client: n.client, Cache: n.lookups, Sources: append([]prewarm.Source{n.hot}, n.conf.Sources...),
		Logger: n.conf.Logger}
	if n.gossip != nil {
		conf.Members, conf.Node = membership{n.gossip}, n.gossip.Self().Name
	}
	n.runner, err = prewarm.New(conf)
	return err
}

// Start connects to Redis and follows the stream from its present end; L1 is empty then, so nothing
// older can be in it. With a store it follows the stream from where the store is true. When Redis
// cannot be reached within ctx it returns why, and may be called again; a node whose store has
// profiles starts all the same, answers those, marked stale, and looks for Redis.
func (n *Node) Start(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return tier.ErrClosed
	}
	if n.started {
		return nil
	}
	err := n.startParts(ctx)
	if err == nil {
		n.begun()
	} else if err = n.startAlone(ctx, err); err != nil {
		return err
	}
	n.started, n.startedAt = true, time.Now()
	n.background.Go(func() { n.watchStates(n.base) })
	return nil
}

// begun starts what follows a start with Redis.
func (n *Node) begun() {
	if n.runner != nil {
		n.background.Go(func() { n.keepWarm(n.base) })
	}
}

// startParts starts all that needs Redis. After an error it may be called again: what has started
// stays so.
func (n *Node) startParts(ctx context.Context) error {
	if err := n.cache.Start(ctx); err != nil {
		return fmt.Errorf("node: Redis at %s: %w", redact.Address(n.conf.RedisURL), err)
	}
	if err := n.follow(ctx); err != nil {
		return fmt.Errorf("node: stream on Redis at %s: %w", redact.Address(n.conf.RedisURL), err)
	}
	if n.functions != nil {
		if err := n.functions.Start(ctx); err != nil {
			return fmt.Errorf("node: functions on Redis at %s: %w", redact.Address(n.conf.RedisURL), err)
		}
	}
	return n.meet(ctx)
}

// meet finds the other nodes, then takes part in what they do together.
func (n *Node) meet(ctx context.Context) error {
	if n.gossip != nil {
		if err := n.gossip.Start(ctx); err != nil {
			return fmt.Errorf("%w: %w", ErrGossip, err)
		}
	}
	if n.runner == nil {
		return nil
	}
	if err := errors.Join(n.hot.Start(ctx), n.runner.Start(ctx)); err != nil {
		return fmt.Errorf("node: Redis at %s: %w", redact.Address(n.conf.RedisURL), err)
	}
	return nil
}

// follow starts what reads the stream. What a Start that failed half way has started already stays
// so.
func (n *Node) follow(ctx context.Context) error {
	if err := n.tail.Start(ctx); err != nil {
		return err
	}
	if n.worker != nil {
		if err := n.worker.Start(ctx); err != nil {
			return err
		}
	}
	if n.watch != nil {
		return n.watch.Start(ctx)
	}
	return nil
}

// Close leaves the cluster, stops following the stream, waits for readers and loads, and closes the
// clients. It may be called twice and before Start. The order matters: what feeds the cache ends
// before the cache, then the store, the connections last.
func (n *Node) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	n.end()
	n.background.Wait()
	return errors.Join(n.stopFeeding(), n.cache.Close(), n.store.Close(), n.disconnect())
}

// stopFeeding ends all that reads Redis or the other nodes. They do not need each other, and each
// may wait for a read of half a second.
func (n *Node) stopFeeding() error {
	closers := []func() error{n.tail.Close}
	if n.runner != nil {
		closers = append(closers, n.runner.Close, n.hot.Close)
	}
	if n.gossip != nil {
		closers = append(closers, n.gossip.Close)
	}
	if n.functions != nil {
		closers = append(closers, n.functions.Close)
	}
	if n.watch != nil {
		closers = append(closers, n.watch.Close)
	}
	if n.worker != nil {
		closers = append(closers, n.worker.Close)
	}
	errs := make([]error, len(closers))
	var closing sync.WaitGroup
	for i, end := range closers {
		closing.Go(func() { errs[i] = end() })
	}
	closing.Wait()
	return errors.Join(errs...)
}

// Ready returns nil while the node is started and, with Config.ReadyAt, has been warm once; else an
// error that wraps ErrNotReady. A node that has lost Redis stays ready: it answers from the origin,
// and sending its users elsewhere would help nobody.
func (n *Node) Ready() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.started || n.closed {
		return ErrNotReady
	}
	return n.cold()
}

// Get returns the profile of id from the nearest tier that has it; see tier.Cache.Get for what it
// promises.
//
// Errors wrap profile.ErrInvalidID, profile.ErrNotFound, profile.ErrUnavailable, tier.ErrClosed, or
// the cause of ctx.
func (n *Node) Get(ctx context.Context, id string) (tier.Result, error) {
	got, err := n.cache.GetWith(ctx, id, tier.Want{})
	if err == nil && (got.Tier != look.FromL1 || sampled(got.Age)) {
		n.note(got)
	}
	return got, err
}

// GetWith is Get with demands on the answer's version or age; when no tier has the version, the
// error wraps tier.ErrBehind.
func (n *Node) GetWith(ctx context.Context, id string, w tier.Want) (tier.Result, error) {
	got, err := n.cache.GetWith(ctx, id, w)
	if err == nil && (got.Tier != look.FromL1 || sampled(got.Age)) {
		n.note(got)
	}
	return got, err
}

// BatchGet is GetWith for up to tier.MaxBatch ids; one bad id does not fail the others.
func (n *Node) BatchGet(ctx context.Context, ids []string, w tier.Want) (tier.Batch, error) {
	got, err := n.cache.BatchGet(ctx, ids, w)
	for _, r := range got.Found {
		if r.Tier != look.FromL1 || sampled(r.Age) {
			n.note(r)
		}
	}
	return got, err
}

// tellTimeout bounds the announcement of a change that Redis already has, whatever became of the
// caller's context.
const tellTimeout = 2 * time.Second

// Put tells the cluster what the truth already says about p, which must carry its version
// (UpdatedAt). Redis has it first, the event follows, so that nobody refills from the old record.
// The truth itself is changed at the origin.
//
// A conflict is announced as well: it may be with this very change, whose first reply was lost, so
// that the client of Redis asked again. An event of what is old news harms nobody.
//
// Errors wrap tier.ErrConflict, profile.ErrInvalidID, profile.ErrMalformed, profile.ErrTooLarge,
// ErrNotTold, or are Redis's.
func (n *Node) Put(ctx context.Context, p *profile.Profile) error {
	whole := *p
	whole.Complete()
	err := n.cache.Put(ctx, &whole)
	if err != nil && !errors.Is(err, tier.ErrConflict) {
		return err
	}
	return errors.Join(err, n.tell(ctx, stream.Event{Kind: profile.Updated, UserID: p.ID, Version: p.UpdatedAt, Profile: &whole}))
}

// Invalidate makes Redis and every node forget id, so that the next read asks the origin.
//
// Errors wrap profile.ErrInvalidID, ErrNotTold, or are Redis's.
func (n *Node) Invalidate(ctx context.Context, id string) error {
	if err := n.cache.Invalidate(ctx, id); err != nil {
		return err
	}
	return n.tell(ctx, stream.Event{Kind: profile.Invalidated, UserID: id})
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
