package bench

import (
	"context"
	"errors"
	"fmt"

	"github.com/chatapp-ngomna/edgecache/bench/report"
	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

const l2Note = "Lookups that Redis answers, all users alike. edgecache is a whole node whose memory keeps nobody, so that each lookup goes to " +
	"Redis, while users change; the others are HGETALL of the same hashes by the Redis client alone, decoded to the same profiles: a command " +
	"a round trip, and with the client packing what is asked for at once into one."

// measureL2 compares lookups that Redis answers.
func measureL2(ctx context.Context, w *world, s *report.Suite) error {
	s.Title, s.Note = "a lookup in Redis", l2Note
	if err := w.fill(ctx); err != nil {
		return err
	}
	stop := w.churn(ctx)
	defer stop()
	all := uniform(w.conf.Seed, len(w.ids))
	for _, open := range []func(context.Context, order) (*contender, error){w.plainRedis, w.packedRedis, w.edgecacheL2} {
		c, err := open(ctx, all)
		if err != nil {
			return err
		}
		if err = w.measure(ctx, s, c); err == nil {
			err = w.crowd(ctx, s, c)
		}
		if err = errors.Join(err, c.end()); err != nil {
			return err
		}
	}
	return nil
}

// decode makes a profile of what HGETALL said.
func decode(id string, fields map[string]string, err error) (*profile.Profile, error) {
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

func (w *world) plainRedis(_ context.Context, who order) (*contender, error) {
	client, err := redisconn.Open(w.redisURL)
	if err != nil {
		return nil, err
	}
	return &contender{name: "bare go-redis HGETALL", workers: w.conf.Goroutines, close: client.Close,
		op: func(ctx context.Context, _ int, n uint64) error {
			id := w.ids[who.at(n)]
			fields, err := client.HGetAll(ctx, profile.Key(id)).Result()
			_, err = decode(id, fields, err)
			return err
		}}, nil
}

func (w *world) packedRedis(_ context.Context, who order) (*contender, error) {
	client, err := redisconn.Open(w.redisURL)
	if err != nil {
		return nil, err
	}
	piped, err := client.AutoPipeline()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("auto-pipelining: %w", err), client.Close())
	}
	return &contender{name: "bare go-redis auto-pipelined HGETALL", workers: w.conf.Goroutines, close: client.Close,
		op: func(ctx context.Context, _ int, n uint64) error {
			id := w.ids[who.at(n)]
			fields, err := piped.HGetAll(ctx, profile.Key(id)).Result()
			_, err = decode(id, fields, err)
			return err
		}}, nil
}

func (w *world) edgecacheL2(ctx context.Context, who order) (*contender, error) {
	n, err := w.node(ctx, node.Config{Tier: tier.Config{L1TTL: never}, NoPrewarm: true})
	if err != nil {
		return nil, err
	}
	return w.getting(n, who, "L2", func(s tier.Stats) uint64 { return s.L1Hits + s.OriginLoads }), nil
}

// getting makes a contender of a node's Get, judged by the oracle.
func (w *world) getting(n *node.Node, who order, name string, strays func(tier.Stats) uint64) *contender {
	seen := w.judge.oracle.Node(name)
	return &contender{
		name: report.Subject + " node.Get", workers: w.conf.Goroutines, close: n.Close,
		strays: func() uint64 { return strays(n.Stats().Cache) },
		op: func(ctx context.Context, _ int, i uint64) error {
			id := w.ids[who.at(i)]
			read := seen.Begin(id)
			got, err := n.Get(context.WithoutCancel(ctx), id)
			if err == nil {
				read.End(got.Version(), got.Tier == look.FromStale)
			}
			return err
		},
	}
}
