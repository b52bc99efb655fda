package tier

import (
	"context"
	_ "embed"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/profile"
)

var (
	//go:embed scripts/appear.lua
	appearSource string
	appear       = redis.NewScript(appearSource)
)

// Appear is told of users who were added at the origin, and returns those who may be known as absent: they were asked for
// in vain in the last minutes (L2Config.Guard), or somebody loads them now. Redis then knows it no longer, but nodes' memory
// may. Called again it returns the same users. Errors: profile.ErrInvalidID, or Redis's.
func (l *L2) Appear(ctx context.Context, ids []string) (known []string, err error) {
	for _, id := range ids {
		if err := profile.CheckID(id); err != nil {
			return nil, fmt.Errorf("tier: appear: %w", err)
		}
	}
	if known, err = l.appear(ctx, ids); unloaded(err) {
		known, err = l.loadAppear(ctx, ids)
	}
	if err != nil {
		return nil, fmt.Errorf("tier: appear: %w", err)
	}
	return known, nil
}

// loadAppear loads the script where the keys are, and asks again. The first user of each server would do; that they are few
// servers is not known here.
func (l *L2) loadAppear(ctx context.Context, ids []string) ([]string, error) {
	load := func(ctx context.Context, c *redis.Client) error { return c.ScriptLoad(ctx, appearSource).Err() }
	var err error
	if cluster, ok := l.client.(*redis.ClusterClient); ok {
		err = cluster.ForEachMaster(ctx, load)
	} else {
		err = appear.Load(ctx, l.client).Err()
	}
	if err != nil {
		return nil, err
	}
	return l.appear(ctx, ids)
}

func (l *L2) appear(ctx context.Context, ids []string) (known []string, err error) {
	pipe := l.client.Pipeline()
	replies := make([]*redis.Cmd, len(ids))
	for i, id := range ids {
		replies[i] = appear.EvalSha(ctx, pipe, keys(id), l.guard())
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
