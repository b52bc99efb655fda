package compare

import (
	"context"
	"fmt"

	"github.com/redis/rueidis"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
)

const (
	goalL2One   = 1.15
	goalL2Many  = 1.25
	goalBatch   = 1.25
	l2Many      = 128
	batchSize   = 100
	smallL1     = 1 << 20 // so small beside the users that L1 misses, and still evicts and stores
	l2ChunkSize = 4
)

const l2Note = "edgecache's L1 has 1 MiB for users who would need 150: nearly every lookup misses L1 and hits Redis, and L1, which is " +
	"full, takes only who is asked for twice. \"L1 with room\" takes everybody, with one goroutine, where no user is asked for twice. " +
	"\"strays\" are lookups that L1 answered. Once the callers pass a context that cannot end, once one that can: a node then " +
	"runs the load in a goroutine of its own, so that the caller may leave"

// measureL2 compares single lookups that Redis answers, by one goroutine and by many.
func measureL2(ctx context.Context, r *rig) ([]Table, error) {
	p, err := r.l2Contenders(ctx)
	defer func() { closeAll(p.all()) }()
	if err != nil {
		return nil, err
	}
	one := contest{
		title: "L2 hit, one goroutine", note: l2Note, perPass: l2ChunkSize, round: r.Round, rig: r,
		lanes:      r.lanes(1, 1<<16, l2ChunkSize, r.inTurn(r.Users)),
		contenders: []contender{p.plain, p.edgecache.aims(goalL2One), p.leaving.aims(goalL2One), p.roomy, p.rueidis, p.auto},
	}
	many := contest{
		title: fmt.Sprintf("L2 hit, %d goroutines", l2Many), note: l2Note, perPass: l2ChunkSize, round: r.Round, rig: r,
		lanes:      r.lanes(l2Many, 1536, l2ChunkSize, r.uniform(r.Users)),
		contenders: []contender{p.auto, p.edgecache.aims(goalL2Many), p.leaving.aims(goalL2Many), p.rueidis, p.plain},
	}
	return runAll(ctx, one, many)
}

// measureBatch compares bulk lookups that Redis answers.
func measureBatch(ctx context.Context, r *rig) ([]Table, error) {
	p, err := r.batchContenders(ctx)
	defer func() { closeAll(p) }()
	if err != nil {
		return nil, err
	}
	return runAll(ctx, contest{
		title: fmt.Sprintf("Batch of %d from L2, one goroutine", batchSize), perPass: 1, round: r.Round, rig: r,
		note:  "one operation is a whole batch; edgecache's L1 has 1 MiB, see above",
		lanes: r.lanes(1, 1<<13, batchSize, r.uniform(r.Users)), contenders: p,
	})
}

func runAll(ctx context.Context, contests ...contest) (tables []Table, err error) {
	for _, c := range contests {
		t, err := c.run(ctx)
		if err != nil {
			return nil, err
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// aims returns c with a goal.
func (c contender) aims(goal float64) contender {
	c.goal = goal
	return c
}

// l2Set are the contenders of the L2 rows.
type l2Set struct{ plain, auto, rueidis, edgecache, leaving, roomy contender }

func (s *l2Set) all() []contender {
	return []contender{s.plain, s.auto, s.rueidis, s.edgecache, s.leaving, s.roomy}
}

func (r *rig) l2Contenders(ctx context.Context) (s l2Set, err error) {
	if s.plain, s.auto, err = r.bareRedis(ctx); err != nil {
		return s, err
	}
	if s.rueidis, err = r.rueidis(ctx); err != nil {
		return s, err
	}
	if s.edgecache, err = r.edgecacheL2(context.WithoutCancel(ctx), smallL1, "edgecache node.Get"); err != nil {
		return s, err
	}
	if s.roomy, err = r.edgecacheL2(context.WithoutCancel(ctx), 0, "edgecache node.Get, L1 with room"); err != nil {
		return s, err
	}
	leaving, cancel := context.WithCancel(ctx)
	s.leaving, err = r.edgecacheL2(leaving, smallL1, "edgecache node.Get, caller may leave")
	closeNode := s.leaving.close
	s.leaving.close = func() {
		cancel()
		if closeNode != nil {
			closeNode()
		}
	}
	return s, err
}

// bareRedis are go-redis's HGETALL and its auto-pipelined one, each over a client configured as
// edgecache's.
func (r *rig) bareRedis(ctx context.Context) (plain, auto contender, err error) {
	client, err := redisconn.Open(r.server.URL())
	if err != nil {
		return plain, auto, err
	}
	own, err := redisconn.Open(r.server.URL())
	if err != nil {
		return plain, auto, err
	}
	piped, err := own.AutoPipeline()
	if err != nil {
		return plain, auto, fmt.Errorf("auto-pipelining: %w", err)
	}
	alone := func(c *chunk, i int) (*profile.Profile, error) {
		return decodeHash(c.ids[i])(client.HGetAll(ctx, c.keys[i]).Result())
	}
	together := func(c *chunk, i int) (*profile.Profile, error) {
		return decodeHash(c.ids[i])(piped.HGetAll(ctx, c.keys[i]).Result())
	}
	plain = contender{name: "bare go-redis HGETALL", pass: passOf(alone), fetch: each(alone), close: func() { _ = client.Close() }}
	auto = contender{name: "bare go-redis auto-pipelined HGETALL", pass: passOf(together), fetch: each(together), close: func() { _ = own.Close() }}
	return plain, auto, nil
}

func (r *rig) openRueidis() (rueidis.Client, error) {
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{r.server.Addr}, DisableCache: true})
	if err != nil {
		return nil, fmt.Errorf("rueidis: %w", err)
	}
	return client, nil
}

func (r *rig) rueidis(ctx context.Context) (contender, error) {
	client, err := r.openRueidis()
	if err != nil {
		return contender{}, err
	}
	one := func(c *chunk, i int) (*profile.Profile, error) {
		return decodeHash(c.ids[i])(client.Do(ctx, client.B().Hgetall().Key(c.keys[i]).Build()).AsStrMap())
	}
	return contender{name: "rueidis HGETALL", pass: passOf(one), fetch: each(one), close: client.Close}, nil
}

func (r *rig) edgecacheL2(ctx context.Context, l1Bytes int64, name string) (contender, error) {
	n, err := r.node(ctx, l1Bytes)
	if err != nil {
		return contender{}, err
	}
	one := func(c *chunk, i int) (*profile.Profile, error) {
		got, err := n.Get(ctx, c.ids[i])
		return got.Profile, err
	}
	return contender{
		name: name, pass: passOf(one), fetch: each(one), close: func() { _ = n.Close() },
		strays: func() uint64 { return n.Stats().Cache.L1Hits },
	}, nil
}

func (r *rig) batchContenders(ctx context.Context) (all []contender, err error) {
	for _, open := range []func(context.Context) (contender, error){r.barePipeline, r.edgecacheBatch, r.rueidisMulti} {
		c, err := open(ctx)
		if err != nil {
			return all, err
		}
		all = append(all, c)
	}
	return all, nil
}

// bulk makes a contender of a bulk lookup.
func bulk(name string, get func(c *chunk) ([]*profile.Profile, error)) contender {
	return contender{name: name, fetch: get, pass: func(c *chunk) (sum uint64, err error) {
		all, err := get(c)
		for _, p := range all {
			sum += touch(p)
		}
		return sum, err
	}}
}

func (r *rig) barePipeline(ctx context.Context) (contender, error) {
	client, err := redisconn.Open(r.server.URL())
	if err != nil {
		return contender{}, err
	}
	c := bulk(fmt.Sprintf("bare go-redis pipeline of %d HGETALL", batchSize), func(c *chunk) ([]*profile.Profile, error) {
		pipe := client.Pipeline()
		for _, key := range c.keys {
			pipe.HGetAll(ctx, key)
		}
		replies, err := pipe.Exec(ctx)
		if err != nil {
			return nil, err
		}
		out := make([]*profile.Profile, len(replies))
		for i, reply := range replies {
			hash, ok := reply.(interface {
				Result() (map[string]string, error)
			})
			if !ok {
				return nil, errType
			}
			if out[i], err = decodeHash(c.ids[i])(hash.Result()); err != nil {
				return nil, err
			}
		}
		return out, nil
	})
	c.close = func() { _ = client.Close() }
	return c, nil
}

func (r *rig) rueidisMulti(ctx context.Context) (contender, error) {
	client, err := r.openRueidis()
	if err != nil {
		return contender{}, err
	}
	c := bulk(fmt.Sprintf("rueidis DoMulti of %d HGETALL", batchSize), func(c *chunk) ([]*profile.Profile, error) {
		commands := make(rueidis.Commands, len(c.keys))
		for i, key := range c.keys {
			commands[i] = client.B().Hgetall().Key(key).Build()
		}
		out := make([]*profile.Profile, len(c.keys))
		for i, reply := range client.DoMulti(ctx, commands...) {
			if out[i], err = decodeHash(c.ids[i])(reply.AsStrMap()); err != nil {
				return nil, err
			}
		}
		return out, nil
	})
	c.close = client.Close
	return c, nil
}

// edgecacheBatch takes each profile out of the map that BatchGet returns.
func (r *rig) edgecacheBatch(ctx context.Context) (contender, error) {
	n, err := r.node(ctx, smallL1)
	if err != nil {
		return contender{}, err
	}
	c := bulk("edgecache node.BatchGet", func(c *chunk) ([]*profile.Profile, error) {
		found, err := n.BatchGet(ctx, c.ids, tier.Want{})
		if err != nil {
			return nil, err
		}
		out := make([]*profile.Profile, len(c.ids))
		for i, id := range c.ids {
			if out[i] = found.Found[id].Profile; out[i] == nil {
				return nil, fmt.Errorf("%w: %q", errMiss, id)
			}
		}
		return out, nil
	})
	c.goal, c.close = goalBatch, func() { _ = n.Close() }
	c.strays = func() uint64 { return n.Stats().Cache.L1Hits / batchSize }
	return c, nil
}
