package l2

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// scanPage and scanPause keep Count far from the server's capacity: at most 100,000 keys a second.
const (
	scanPage  = 1000
	scanPause = 10 * time.Millisecond
)

// Count counts the profiles in Redis by a slow SCAN, never by KEYS. A key that changes meanwhile
// may be counted or not.
func (r *Redis) Count(ctx context.Context) (int64, error) {
	var total atomic.Int64
	one := func(ctx context.Context, c redis.Cmdable) error {
		n, err := count(ctx, c)
		total.Add(n)
		return err
	}
	var err error
	if cluster, ok := r.client.(*redis.ClusterClient); ok {
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
			return one(ctx, c)
		})
	} else {
		err = one(ctx, r.client)
	}
	if err != nil {
		return 0, fmt.Errorf("l2: count: %w", err)
	}
	return total.Load(), nil
}

func count(ctx context.Context, c redis.Cmdable) (n int64, err error) {
	for cursor := uint64(0); ; {
		var page []string
		page, cursor, err = c.Scan(ctx, cursor, profile.KeyPrefix+"*", scanPage).Result()
		if err != nil {
			return n, err
		}
		n += int64(len(page))
		if cursor == 0 {
			return n, nil
		}
		select {
		case <-time.After(scanPause):
		case <-ctx.Done():
			return n, context.Cause(ctx)
		}
	}
}
