package l2

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Versions returns the versions that the records of ids have in Redis, 0 for one that is not there
// or has none, in one pipeline: a tenth of the bytes of reading them. Errors are Redis's.
func (r *Redis) Versions(ctx context.Context, ids []string) ([]int64, error) {
	if err := r.health.ask(ctx); err != nil {
		return nil, err
	}
	pipe := r.client.Pipeline()
	gets := make([]*redis.StringCmd, len(ids))
	for i, id := range ids {
		gets[i] = pipe.HGet(ctx, profile.Key(id), profile.FieldUpdatedAt)
	}
	began := r.health.begin()
	_, err := pipe.Exec(ctx)
	r.health.note(began, err)
	versions := make([]int64, len(ids))
	for i, get := range gets {
		text, err := get.Result()
		switch {
		case err == nil:
			versions[i], _ = strconv.ParseInt(text, 10, 64) // what is no number is no version
		case !errors.Is(err, redis.Nil) && !wrongType(err):
			return nil, fmt.Errorf("l2: read versions from Redis: %w", err)
		}
	}
	return versions, nil
}
