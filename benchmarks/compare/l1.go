package compare

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

const (
	goalL1  = 1.35
	l1Bytes = 256 << 20 // the default of edgecache, given to bare ristretto as well
	// what edgecache's entries cost on average; bare ristretto's are accounted with that
	meanEntry = 500
)

var errMiss = errors.New("a miss where a hit was expected")

// measureL1 compares lookups in the process's own memory, by one goroutine and by all cores, of
// users chosen uniformly and by popularity.
func measureL1(ctx context.Context, r *rig) ([]Table, error) {
	all, err := r.l1Contenders(ctx)
	defer func() { closeAll(all) }()
	if err != nil {
		return nil, err
	}
	var tables []Table
	for _, choice := range []struct {
		name string
		draw func() int
	}{{"uniform", r.uniform(r.L1Users)}, {"Zipf 1.0", r.zipf(r.L1Users)}} {
		lanes := r.lanes(runtime.GOMAXPROCS(0), 256, 256, choice.draw)
		for _, many := range []bool{false, true} {
			c := contest{
				title: fmt.Sprintf("L1 hit, one goroutine, %s choice of %d users", choice.name, r.L1Users),
				lanes: lanes[:1], perPass: 256, round: r.L1Round, rig: r, contenders: all,
			}
			if many {
				c.title = fmt.Sprintf("L1 hit, all %d cores, %s choice of %d users", len(lanes), choice.name, r.L1Users)
				c.lanes = lanes
			}
			t, err := c.run(ctx)
			if err != nil {
				return nil, err
			}
			tables = append(tables, t)
		}
	}
	return tables, nil
}

func (r *rig) l1Contenders(ctx context.Context) (all []contender, err error) {
	for _, open := range []func(context.Context) (contender, error){
		r.bareRistretto, r.edgecacheL1, r.otterV2, r.rueidisTrackedHash, r.rueidisTrackedPacked, r.redisTrackedHash, r.redisTrackedPacked, r.redisCache,
	} {
		c, err := open(ctx)
		if err != nil {
			return all, err
		}
		all = append(all, c)
	}
	return all, nil
}

// bareRistretto holds decoded profiles whose strings point into one allocation, as edgecache's
// entries do, read from Redis one by one in random order, as edgecache's entries are.
func (r *rig) bareRistretto(ctx context.Context) (contender, error) {
	cache, err := ristretto.NewCache(&ristretto.Config[string, *profile.Profile]{
		NumCounters: 4 * l1Bytes / 512, MaxCost: l1Bytes, BufferItems: 64, IgnoreInternalCost: true,
	})
	if err != nil {
		return contender{}, fmt.Errorf("ristretto: %w", err)
	}
	for i, id := range r.shuffled(r.L1Users) {
		p, err := r.compact(ctx, id)
		if err != nil {
			return contender{}, err
		}
		if cache.Set(id, p, meanEntry); i%1000 == 0 {
			cache.Wait() // the queue drops what does not fit
		}
	}
	cache.Wait()
	return contender{
		name: "bare ristretto Get of *Profile", goal: 0, close: cache.Close,
		pass: func(c *chunk) (sum uint64, err error) {
			for _, id := range c.ids {
				p, ok := cache.Get(id)
				if !ok {
					return 0, fmt.Errorf("%w: %q", errMiss, id)
				}
				sum += touch(p)
			}
			return sum, nil
		},
		fetch: each(func(c *chunk, i int) (*profile.Profile, error) {
			p, _ := cache.Get(c.ids[i])
			return p, nil
		}),
	}, nil
}

// compact reads a user from Redis; the profile's strings point into one allocation.
func (r *rig) compact(ctx context.Context, id string) (*profile.Profile, error) {
	p, err := decodeHash(id)(r.client.HGetAll(ctx, profile.Key(id)).Result())
	if err != nil {
		return nil, err
	}
	return profile.DecodeMsgpack(profile.AppendMsgpack(nil, p))
}

// decodeHash returns the decoder of what HGETALL said about id.
func decodeHash(id string) func(fields map[string]string, err error) (*profile.Profile, error) {
	return func(fields map[string]string, err error) (*profile.Profile, error) {
		if err != nil {
			return nil, err
		}
		if len(fields) == 0 {
			return nil, fmt.Errorf("%w: %q", errMiss, id)
		}
		p := &profile.Profile{ID: id}
		r := profile.Record{Profile: p}
		for name, value := range fields {
			if err := r.Set(name, value); err != nil {
				return nil, err
			}
		}
		return p, nil
	}
}

// each makes a fetch of a lookup of one id.
func each(get func(c *chunk, i int) (*profile.Profile, error)) func(c *chunk) ([]*profile.Profile, error) {
	return func(c *chunk) ([]*profile.Profile, error) {
		out := make([]*profile.Profile, len(c.ids))
		for i := range c.ids {
			p, err := get(c, i)
			if err != nil {
				return nil, err
			}
			out[i] = p
		}
		return out, nil
	}
}

// passOf makes a pass of a lookup of one id, for lookups that take so long that a call through a
// pointer does not matter.
func passOf(get func(c *chunk, i int) (*profile.Profile, error)) func(c *chunk) (uint64, error) {
	return func(c *chunk) (sum uint64, err error) {
		for i := range c.ids {
			p, err := get(c, i)
			if err != nil {
				return 0, err
			}
			sum += touch(p)
		}
		return sum, nil
	}
}

// edgecacheL1 is a whole node, its stream followed, every check on.
func (r *rig) edgecacheL1(ctx context.Context) (contender, error) {
	n, err := r.node(ctx, 0)
	if err != nil {
		return contender{}, err
	}
	c := contender{
		name: "edgecache node.Get", goal: goalL1, close: func() { _ = n.Close() },
		strays: func() uint64 { return n.Stats().Cache.L1Misses },
		pass: func(c *chunk) (sum uint64, err error) {
			for _, id := range c.ids {
				got, err := n.Get(ctx, id)
				if err != nil {
					return 0, err
				}
				sum += touch(got.Profile)
			}
			return sum, nil
		},
		fetch: each(func(c *chunk, i int) (*profile.Profile, error) {
			got, err := n.Get(ctx, c.ids[i])
			return got.Profile, err
		}),
	}
	return c, warm(ctx, n, r.shuffled(r.L1Users))
}

// warm reads ids one by one until all are in L1: the engine may refuse an entry, and stores it a
// moment after it took it.
func warm(ctx context.Context, n getter, ids []string) error {
	for range 10 {
		misses := 0
		for _, id := range ids {
			got, err := n.Get(ctx, id)
			if err != nil {
				return err
			}
			if got.Tier != look.FromL1 {
				misses++
			}
		}
		if misses == 0 {
			return nil
		}
	}
	return fmt.Errorf("L1 does not take all of %d users", len(ids))
}
