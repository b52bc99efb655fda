package l2

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Appear is told of users that were added at the origin, and returns those that may be known as
// absent: they were asked for in vain in the last minutes (Config.Guard), or a node loads them now.
// Redis then knows it no longer, but nodes' memory may. Called again it returns the same users.
// Errors wrap profile.ErrInvalidID, or are Redis's.
func (r *Redis) Appear(ctx context.Context, ids []string) (known []string, err error) {
	for _, id := range ids {
		if err := profile.CheckID(id); err != nil {
			return nil, fmt.Errorf("l2: appear: %w", err)
		}
	}
	if known, err = r.appear(ctx, ids); unloaded(err) {
		known, err = r.loadAppear(ctx, ids)
	}
	if err != nil {
		return nil, fmt.Errorf("l2: appear: %w", err)
	}
	return known, nil
}

// loadAppear loads the script where the keys are, and asks again.
func (r *Redis) loadAppear(ctx context.Context, ids []string) ([]string, error) {
	load := func(ctx context.Context, c *redis.Client) error {
		return c.ScriptLoad(ctx, appearSource).Err()
	}
	var err error
	if cluster, ok := r.client.(*redis.ClusterClient); ok {
		err = cluster.ForEachMaster(ctx, load)
	} else {
		err = appear.Load(ctx, r.client).Err()
	}
	if err != nil {
		return nil, err
	}
	return r.appear(ctx, ids)
}

func (r *Redis) appear(ctx context.Context, ids []string) (known []string, err error) {
	pipe := r.client.Pipeline()
	replies := make([]*redis.Cmd, len(ids))
	for i, id := range ids {
		replies[i] = appear.EvalSha(ctx, pipe, keys(id), r.guard())
	}
	_, _ = pipe.Exec(ctx) // the replies have the errors
	var errs []error
	for i, reply := range replies {
		n, err := reply.Int()
		if n == 1 {
			known = append(known, ids[i])
		}
		if unloaded(err) {
			return nil, err
		}
		errs = append(errs, err)
	}
	return known, errors.Join(errs...)
}
