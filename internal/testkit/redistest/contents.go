package redistest

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Contents returns what every key of the database holds, as text, and when it expires. Strings,
// hashes, lists, sets, sorted sets and streams are known. Two that are equal are of a database that
// nothing has changed.
func Contents(ctx context.Context, c redis.Cmdable) (map[string]string, error) {
	all := map[string]string{}
	keys, err := c.Keys(ctx, "*").Result()
	if err != nil {
		return nil, fmt.Errorf("redistest: contents: %w", err)
	}
	for _, key := range keys {
		held, err := content(ctx, c, key)
		if err != nil {
			return nil, fmt.Errorf("redistest: contents of %q: %w", key, err)
		}
		until, err := c.PExpireTime(ctx, key).Result()
		if err != nil {
			return nil, fmt.Errorf("redistest: expiry of %q: %w", key, err)
		}
		all[key] = fmt.Sprintf("%v until %d", held, until.Milliseconds())
	}
	return all, nil
}

func content(ctx context.Context, c redis.Cmdable, key string) (any, error) {
	kind, err := c.Type(ctx, key).Result()
	if err != nil {
		return nil, err
	}
	switch kind {
	case "string":
		return c.Get(ctx, key).Result()
	case "hash":
		return c.HGetAll(ctx, key).Result()
	case "list":
		return c.LRange(ctx, key, 0, -1).Result()
	case "zset":
		return c.ZRangeWithScores(ctx, key, 0, -1).Result()
	case "stream":
		return streamContent(ctx, c, key)
	}
	return c.SMembers(ctx, key).Result()
}

// streamContent is the entries of a stream and the consumers of its groups, with how many entries
// each holds.
func streamContent(ctx context.Context, c redis.Cmdable, key string) (any, error) {
	entries, err := c.XRange(ctx, key, "-", "+").Result()
	if err != nil {
		return nil, err
	}
	groups, err := c.XInfoGroups(ctx, key).Result()
	if err != nil {
		return nil, err
	}
	held := map[string]int64{}
	for _, group := range groups {
		consumers, err := c.XInfoConsumers(ctx, key, group.Name).Result()
		if err != nil {
			return nil, err
		}
		for _, consumer := range consumers {
			held[group.Name+" "+consumer.Name] = consumer.Pending
		}
	}
	return []any{entries, held}, nil
}
