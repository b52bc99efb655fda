package node

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/oracle"
	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

var long = flag.Bool("long", false, "run the fault tests in full instead of in seconds")

// pick returns the short or the long form of a figure.
func pick[T any](short, full T) T {
	if *long {
		return full
	}
	return short
}

const (
	// fence is tier.Config.FenceAfter's default.
	fence = 3 * time.Second
	// cutBound is what docs/guarantees.md promises of a node that is cut off.
	cutBound = fence + bound
	// unjudged is longer than any test, for the second after a fault of which nothing is promised.
	unjudged = time.Hour
	// relayWait is how long a change's answer waits for the cluster to be told, as the origin's
	// does.
	relayWait = 250 * time.Millisecond
)

// rigConfig says what a rig is made of.
type rigConfig struct {
	// links puts a proxy between each node's tail and Redis.
	links bool
	// bare leaves out the watch and the worker, which would make good what a fault of the stream
	// hides.
	bare  bool
	users int
	// fence and block set tier.Config.FenceAfter, and with links the tail's Block, to be quick
	// about it.
	fence, block time.Duration
	// pace is how long a writer waits at most between changes. Default 4 ms.
	pace time.Duration
	// unversioned makes a third of the changes known by an invalidation that tells no version.
	unversioned bool
	// wrap puts something before each node's handler of events.
	wrap func(node int, h stream.Handler) stream.Handler
	// origin puts something before the nodes' origin, and data puts a proxy between each node's
	// lookups and Redis.
	origin func(tier.Loader) tier.Loader
	data   bool
	server string // address of Redis itself, with data
	// shape is the network behind the proxies of links and data.
	shape redistest.Shape
	// canary excuses what the machine held up; nil excuses nothing.
	canary *canary.Canary
	// publisher makes the client that changes are announced with; nil for an ordinary one.
	publisher func(*testing.T) redis.UniversalClient
}

// rig is three nodes over one Redis, an origin in memory that tells them of its changes, and the
// oracle that judges them.
type rig struct {
	*testing.T
	pace  time.Duration // see rigConfig, as unversioned
	users int

	unversioned bool

	oracle  *oracle.Oracle
	canary  *canary.Canary
	source  *truth
	nodes   []*Node
	judges  []*oracle.Node
	links   []*redistest.Proxy // by node; empty without rigConfig.links
	data    []*redistest.Proxy // by node; empty without rigConfig.data
	seed    uint64
	slowest time.Duration // until normal service was back
	backup  string        // of the stream, from before it was damaged

	failed, answered atomic.Int64
}

func newRig(t *testing.T, url string, c rigConfig) *rig {
	t.Helper()
	r := &rig{T: t, canary: c.canary, users: c.users, pace: cmp.Or(c.pace, 4*time.Millisecond), unversioned: c.unversioned,
		seed: uint64(time.Now().UnixNano())}
	if r.users == 0 {
		r.users = 200
	}
	t.Logf("seed %d", r.seed)
	judge := oracle.Config{Bound: bound, MaxBound: unjudged}
	if c.canary != nil {
		judge.Excuses = c.canary.Excuses
	}
	r.oracle = oracle.New(judge)
	r.source = newSource(t, url, r.users, r.oracle, c.publisher)
	from := tier.Loader(r.source)
	if c.origin != nil {
		from = c.origin(from)
	}
	for i := range 3 {
		way := url
		if c.data {
			r.data = append(r.data, redistest.ProxyTo(t, strings.TrimPrefix(url, "redis://")))
			r.data[i].Shape(c.shape)
			way, c.server = "redis://"+r.data[i].Addr, strings.TrimPrefix(url, "redis://")
		}
		n, link := startOn(t, way, from, i, c)
		if link != nil {
			r.links = append(r.links, link)
		}
		r.nodes = append(r.nodes, n)
		r.judges = append(r.judges, r.oracle.Node("node "+strconv.Itoa(i+1)))
	}
	return r
}

// startOn starts a node. If c wants links its tail, and nothing else, goes through a proxy.
func startOn(t *testing.T, url string, from tier.Loader, i int, c rigConfig) (n *Node, link *redistest.Proxy) {
	t.Helper()
	n, err := New(Config{RedisURL: url, Origin: from, NoWatch: c.bare, NoWorker: c.bare, Tier: tier.Config{FenceAfter: c.fence}})
	check(t, err)
	t.Cleanup(func() { check(t, n.Close()) })
	if c.links {
		link = redistest.ProxyTo(t, cmp.Or(c.server, n.client.(*redis.Client).Options().Addr))
		link.Shape(c.shape)
		check(t, n.streams[0].Close())
		n.streams[0], err = redisconn.OpenTail("redis://" + link.Addr)
		check(t, err)
	}
	handler := stream.Handler(feed{n.cache})
	if c.wrap != nil {
		handler = c.wrap(i, handler)
	}
	n.tail, err = stream.NewTail(stream.TailConfig{Client: n.streams[0], Handler: handler, Block: cmp.Or(c.block, tailBlock(c.fence))})
	check(t, err)
	check(t, n.Start(t.Context()))
	return n, link
}

// bind sets the bound of the given nodes, or of all.
func (r *rig) bind(d time.Duration, nodes ...int) {
	for i, j := range r.judges {
		if len(nodes) == 0 || i == nodes[0] {
			j.SetBound(d)
		}
	}
}

// blow lets writers and readers run until the function that it returns is called, which waits for
// them and fails the test if the oracle has found anything.
func (r *rig) blow(writers, readers int) (stop func()) {
	ctx, cancel := context.WithCancel(r.Context())
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() { r.write(ctx, w, writers) })
	}
	gathered := r.gather(readers)
	return sync.OnceFunc(func() {
		cancel()
		writing.Wait()
		gathered()
		r.source.relays.Wait()
		r.Logf("%d changes, %d answered before they were told; %v; %d reads failed",
			r.source.changes.Load(), r.source.untold.Load(), r.oracle.Stats(), r.failed.Load())
		r.verdict()
	})
}

// gather lets readers ask all nodes until the function that it returns is called.
func (r *rig) gather(readers int) (stop func()) {
	ctx, cancel := context.WithCancel(r.Context())
	var reading sync.WaitGroup
	for i := range readers {
		reading.Go(func() { r.read(ctx, i%len(r.nodes), uint64(i)) })
	}
	return sync.OnceFunc(func() {
		cancel()
		reading.Wait()
	})
}

// verdict fails the test if the oracle has found anything.
func (r *rig) verdict() {
	r.Helper()
	if err := r.oracle.Err(); err != nil {
		r.Error(err)
	}
}

// write changes the users that belong to one writer, one at a time.
func (r *rig) write(ctx context.Context, w, writers int) {
	rnd := rand.New(rand.NewPCG(r.seed, uint64(w)))
	for ctx.Err() == nil {
		id := strconv.Itoa(1 + w + writers*rnd.IntN(r.users/writers))
		switch n := rnd.IntN(30); {
		case n < 3:
			r.source.delete(ctx, id)
		case n < 13 && r.unversioned:
			r.source.invalidate(ctx, id)
		default:
			r.source.update(ctx, id)
		}
		wait(ctx, time.Duration(rnd.Int64N(int64(r.pace))))
	}
}

func (r *rig) read(ctx context.Context, node int, n uint64) {
	rnd := rand.New(rand.NewPCG(r.seed, 1000+n))
	for ctx.Err() == nil {
		for range 8 {
			r.look(ctx, node, strconv.Itoa(1+rnd.IntN(r.users)))
		}
		wait(ctx, 200*time.Microsecond)
	}
}

// look has one answer judged. That a user is absent is an answer.
func (r *rig) look(ctx context.Context, node int, id string) (tier.Result, error) {
	judged := r.judges[node].Begin(id)
	got, err := r.nodes[node].Get(ctx, id)
	switch {
	case err == nil:
		judged.End(got.Version(), got.Tier == look.FromStale)
	case errors.Is(err, profile.ErrNotFound):
		judged.Missing()
	case ctx.Err() == nil:
		r.failed.Add(1)
		if !errors.Is(err, profile.ErrUnavailable) {
			r.Errorf("get %q: %v", id, err)
		}
	}
	r.answered.Add(1)
	return got, err
}

// lookAgain looks, and once more for as long as the machine stood still while the node had no
// answer.
func (r *rig) lookAgain(node int, id string) (tier.Result, error) {
	for {
		began := time.Now()
		got, err := r.look(r.Context(), node, id)
		if !errors.Is(err, profile.ErrUnavailable) || r.canary.Stall(began, time.Now()) == 0 {
			return got, err
		}
	}
}

// lookAtAll has an answer of every node for every user judged.
func (r *rig) lookAtAll() {
	for id := 1; id <= r.users; id++ {
		for n := range r.nodes {
			_, _ = r.look(r.Context(), n, strconv.Itoa(id))
		}
	}
}

// awaitService waits until every node answers from L1 again, and a change is seen on all of them,
// which may take most.
func (r *rig) awaitService(since time.Time, most time.Duration) {
	r.Helper()
	id := strconv.Itoa(r.users + 1) // nobody else changes this one
	version := r.source.update(r.Context(), id)
	for n := range r.nodes {
		eventually(r.T, "service on node "+strconv.Itoa(n+1), func() bool {
			got, err := r.look(r.Context(), n, id)
			return err == nil && got.Tier == look.FromL1 && got.Version() == version && !r.nodes[n].Stats().Cache.Fenced
		})
		if at := time.Now(); !r.canary.Excuses("service", since, at, most) {
			r.Errorf("node %d: service only %v after Redis was back, want %v; stream %+v", n+1, at.Sub(since), most, r.nodes[n].Stats().Stream)
		}
	}
	r.slowest = max(r.slowest, time.Since(since))
	r.Logf("normal service after %v", time.Since(since).Round(time.Millisecond))
}

// wait waits for d or for the end of ctx.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// truth is an origin in memory whose changes are announced as the real one's are: true at once,
// then told to Redis, then put on the stream, again and again until it is done; the answer waits
// for that up to relayWait.
type truth struct {
	*people
	announcer source.RedisAnnouncer
	oracle    *oracle.Oracle
	// cut makes a change that could not be told bind from when it was made, as the bound of a node
	// that is cut off says.
	cut atomic.Bool

	mu       sync.Mutex
	versions map[string]int64

	changes, untold, pending atomic.Int64
	relays                   sync.WaitGroup
	ctx                      context.Context
}

func newSource(t *testing.T, url string, users int, o *oracle.Oracle, open func(*testing.T) redis.UniversalClient) *truth {
	t.Helper()
	client, err := redisconn.Open(url)
	check(t, err)
	lower, err := l2.New(l2.Config{Client: client})
	check(t, err)
	publishing := client
	if open != nil {
		publishing = open(t)
	}
	publisher, err := stream.NewPublisher(stream.PublisherConfig{Client: publishing})
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	s := &truth{
		people: newPeople(users + 1), announcer: source.RedisAnnouncer{L2: lower, Publisher: publisher}, oracle: o,
		versions: map[string]int64{}, ctx: ctx,
	}
	t.Cleanup(func() { cancel(); s.relays.Wait(); _ = client.Close() })
	return s
}

func (s *truth) next(id string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions[id] = max(s.versions[id], 1) + 1
	return s.versions[id]
}

func (s *truth) version(id string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.versions[id]
}

// update changes a user, or creates him anew, and returns the version once the change is
// acknowledged.
func (s *truth) update(ctx context.Context, id string) int64 {
	v := s.next(id)
	s.set(person(id, v))
	kind := profile.Updated
	if v%2 == 0 {
		kind = profile.Created // the same to everyone who hears of it
	}
	c := source.Change{Kind: kind, ID: id, Version: v, Profile: person(id, v)}
	s.acknowledge(ctx, s.announce(c), func(at time.Time) { s.oracle.Acked(id, v, at) })
	return v
}

// invalidate changes a user, and tells the cluster only that something has changed.
func (s *truth) invalidate(ctx context.Context, id string) {
	v := s.next(id)
	s.set(person(id, v))
	s.acknowledge(ctx, func(ctx context.Context) error {
		if err := s.announcer.L2.Invalidate(ctx, id); err != nil {
			return err
		}
		_, err := s.announcer.Publisher.Publish(ctx, stream.Event{Kind: profile.Invalidated, UserID: id})
		return err
	}, func(at time.Time) { s.oracle.Acked(id, v, at) })
}

func (s *truth) announce(c source.Change) func(context.Context) error {
	return func(ctx context.Context) error { return s.announcer.Announce(ctx, c) }
}

func (s *truth) delete(ctx context.Context, id string) {
	v := s.next(id)
	s.oracle.Removing(id)
	s.remove(id)
	c := source.Change{Kind: profile.Deleted, ID: id, Version: v}
	s.acknowledge(ctx, s.announce(c), func(at time.Time) { s.oracle.Removed(id, v, at) })
}

// acknowledge has the cluster told of a change, and says when its writer had an answer.
func (s *truth) acknowledge(ctx context.Context, tell func(context.Context) error, acked func(time.Time)) {
	made := time.Now()
	s.changes.Add(1)
	s.pending.Add(1)
	told := make(chan struct{})
	s.relays.Go(func() {
		defer close(told)
		defer s.pending.Add(-1)
		s.relay(tell)
	})
	select {
	case <-told:
	case <-time.After(relayWait):
		s.untold.Add(1)
		if s.cut.Load() {
			acked(made)
			return
		}
		<-told // binds nobody before the cluster could know of it
	}
	acked(time.Now())
}

// relay tells of a change until that succeeds.
func (s *truth) relay(tell func(context.Context) error) {
	for s.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(s.ctx, time.Second)
		err := tell(ctx)
		cancel()
		if err == nil {
			return
		}
		wait(s.ctx, 20*time.Millisecond)
	}
}
