package compare

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
)

const (
	goalChange   = 2.0
	listeners    = 3
	changedUsers = 1000
	// hearWithin is when a change that nobody noticed ends the run.
	hearWithin = 5 * time.Second
)

// changer tells listeners of a change, and when each of them knew.
type changer struct {
	name string
	goal float64
	// prepare does what comes before the change and is not timed.
	prepare func(e stream.Event) error
	// change is timed from its beginning.
	change func(e stream.Event) error
	// known waits until every listener knows of e and returns when each did.
	known func(e stream.Event) ([]time.Time, error)
	// check looks, after each turn, whether the listeners show the newest of what was changed; nil
	// for nothing to look at.
	check func(newest map[string]int64) error
	close func()
}

// changes is a contest of changers.
type changes struct {
	title, note string
	changers    []changer
	rig         *rig
}

// measureChange tells how long after a change the three nodes' L1 refuse what they held.
func measureChange(ctx context.Context, r *rig) (tables []Table, err error) {
	for _, open := range []func(context.Context, *rig) (*changes, error){openHandled, openPolled} {
		c, err := open(ctx, r)
		if err == nil {
			var t Table
			if t, err = c.run(); err == nil {
				tables = append(tables, t)
			}
		}
		for _, one := range c.changers {
			one.close()
		}
		if err != nil {
			return nil, err
		}
	}
	return tables, nil
}

func (c *changes) run() (Table, error) {
	delays := make([][][]float64, len(c.changers))
	rnd := rand.New(rand.NewPCG(c.rig.Seed, 5))
	for range c.rig.Rounds {
		for _, i := range rnd.Perm(len(c.changers)) {
			d, err := c.turn(&c.changers[i])
			if err != nil {
				return Table{}, fmt.Errorf("%s: %w", c.changers[i].name, err)
			}
			delays[i] = append(delays[i], d)
		}
	}
	return c.table(delays), nil
}

// turn makes changes one after another for the length of a round, and returns the delay in ms of
// each listener for each.
func (c *changes) turn(one *changer) (delays []float64, err error) {
	runtime.GC()
	newest := map[string]int64{}
	for end := time.Now().Add(c.rig.Round); time.Now().Before(end); {
		c.rig.version++
		p := c.rig.user(1 + int(c.rig.version%int64(c.rig.changing())))
		p.UpdatedAt = c.rig.version
		e := stream.Event{Kind: profile.Updated, UserID: p.ID, Version: p.UpdatedAt, Profile: p}
		if err := one.prepare(e); err != nil {
			return nil, err
		}
		began := time.Now()
		if err := one.change(e); err != nil {
			return nil, err
		}
		known, err := one.known(e)
		if err != nil {
			return nil, err
		}
		for _, at := range known {
			delays = append(delays, float64(at.Sub(began))/float64(time.Millisecond))
		}
		newest[p.ID] = p.UpdatedAt
	}
	if one.check != nil {
		err = one.check(newest)
	}
	return delays, err
}

func (c *changes) table(delays [][][]float64) Table {
	t := Table{Title: c.title, Note: c.note, Unit: "ms p99 of a round"}
	for i, one := range c.changers {
		var all, p99 []float64
		for _, round := range delays[i] {
			all, p99 = append(all, round...), append(p99, quantile(round, 0.99))
		}
		row := newRow(one.name, p99)
		row.Extras = []Extra{
			{"p50 of all", quantile(all, 0.5)}, {"p99 of all", quantile(all, 0.99)}, {"p99.9 of all", quantile(all, 0.999)},
			{"changes", float64(len(all) / listeners)},
		}
		row.against(&t, one.goal)
		t.Rows = append(t.Rows, row)
	}
	return t
}

// openHandled times the moment at which a listener has done what the change asks of it.
func openHandled(ctx context.Context, r *rig) (*changes, error) {
	c := &changes{rig: r, title: fmt.Sprintf("Change to refused by L1, %d nodes", listeners),
		note: "from the XADD until a reader has the entry, or until a cache that follows the stream has refused its old entry and taken " +
			"the new one; the write to Redis that comes before the event is not part of it"}
	ears := newEars()
	bare, err := r.bareReaders(ctx, "bench:changes:handled", func(i int, version int64) { ears[i] <- heard{version, time.Now()} })
	bare.known = func(e stream.Event) ([]time.Time, error) { return await(ears, e.Version) }
	c.changers = append(c.changers, bare)
	if err != nil {
		return c, err
	}
	followers, err := r.followers(ctx)
	c.changers = append(c.changers, followers)
	return c, err
}

// changing is how many users change; they are in every L1 before.
func (r *rig) changing() int { return min(changedUsers, r.L1Users) }

// heard is one listener's news of one version.
type heard struct {
	version int64
	at      time.Time
}

var errUnheard = errors.New("a change was not noticed in time")

// await returns when each listener knew of version.
func await(ears []chan heard, version int64) ([]time.Time, error) {
	late := time.After(hearWithin)
	out := make([]time.Time, len(ears))
	for i, ear := range ears {
		for out[i].IsZero() {
			select {
			case h := <-ear:
				if h.version >= version {
					out[i] = h.at
				}
			case <-late:
				return nil, errUnheard
			}
		}
	}
	return out, nil
}

// newEars makes a channel for each listener, with room for what nobody waits for any more.
func newEars() []chan heard {
	ears := make([]chan heard, listeners)
	for i := range ears {
		ears[i] = make(chan heard, 1024)
	}
	return ears
}

// follower is a cache that follows the stream as a node's does, and tells when it has.
type follower struct {
	cache *tier.Cache
	ear   chan<- heard
}

// Handle implements stream.Handler.
func (f follower) Handle(e stream.Event) {
	f.cache.Refresh(e.Profile)
	f.ear <- heard{e.Version, time.Now()}
}

// Flush implements stream.Handler.
func (f follower) Flush(string) { f.cache.Flush() }

// Alive implements stream.Handler.
func (f follower) Alive(age time.Duration) { f.cache.Alive(age) }

// followers are edgecache's tail and cache, three times.
func (r *rig) followers(ctx context.Context) (changer, error) {
	const key = "bench:changes:followed"
	closers := new(closing)
	c := changer{name: "edgecache, event to stamp", goal: goalChange, close: closers.run}
	lower, err := l2.New(l2.Config{Client: r.client})
	if err != nil {
		return c, err
	}
	publisher, err := stream.NewPublisher(stream.PublisherConfig{Client: r.client, Stream: key})
	if err != nil {
		return c, err
	}
	ears := newEars()
	caches := make([]*tier.Cache, listeners)
	for i, ear := range ears {
		if caches[i], err = r.follower(ctx, key, lower, ear, closers); err != nil {
			return c, err
		}
	}
	c.prepare = func(e stream.Event) error { _, err := lower.Apply(ctx, e.Profile); return err }
	c.change = func(e stream.Event) error { _, err := publisher.Publish(ctx, e); return err }
	c.known = func(e stream.Event) ([]time.Time, error) { return await(ears, e.Version) }
	c.check = func(newest map[string]int64) error { return checkNewest(ctx, newest, caches) }
	return c, nil
}

func (r *rig) follower(ctx context.Context, key string, lower *l2.Redis, ear chan<- heard, closers *closing) (*tier.Cache, error) {
	cache, err := tier.New(tier.Config{L2: lower, Origin: noOrigin{}})
	if err != nil {
		return nil, err
	}
	closers.add(cache.Close)
	if err := cache.Start(ctx); err != nil {
		return nil, err
	}
	client, err := redisconn.OpenTail(r.server.URL())
	if err != nil {
		return nil, err
	}
	closers.add(client.Close)
	tail, err := stream.NewTail(stream.TailConfig{Client: client, Stream: key, Handler: follower{cache, ear}})
	if err != nil {
		return nil, err
	}
	closers.add(tail.Close)
	if err := tail.Start(ctx); err != nil {
		return nil, err
	}
	return cache, warm(ctx, cache, r.shuffled(r.changing()))
}

// getter is a node, or its cache alone.
type getter interface {
	Get(ctx context.Context, id string) (tier.Result, error)
}

func checkNewest[G getter](ctx context.Context, newest map[string]int64, nodes []G) error {
	for id, version := range newest {
		for _, n := range nodes {
			got, err := n.Get(ctx, id)
			if err != nil {
				return err
			}
			if got.Version() != version {
				return fmt.Errorf("%w: %q has version %d, not %d", errUnheard, id, got.Version(), version)
			}
		}
	}
	return nil
}

// closing closes what was opened, the last first.
type closing struct{ all []func() error }

func (c *closing) add(f func() error) { c.all = append(c.all, f) }

func (c *closing) run() {
	for i := len(c.all) - 1; i >= 0; i-- {
		_ = c.all[i]()
	}
}
