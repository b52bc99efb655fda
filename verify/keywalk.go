package verify

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// keyWalk goes round the users in Redis by SCAN, a few at a time.
type keyWalk struct {
	client  redis.UniversalClient
	cursors map[string]uint64 // by server of a cluster
	found   []string
}

// next returns the next n users at most, in no order. A page of SCAN is kept until it is used up.
func (w *keyWalk) next(ctx context.Context, n int) ([]string, error) {
	for tries := 0; len(w.found) < n && tries < 3; tries++ {
		if err := w.page(ctx, n); err != nil {
			return nil, err
		}
	}
	n = min(n, len(w.found))
	out := w.found[:n:n]
	w.found = w.found[n:]
	return out, nil
}

// page reads a page of each server.
func (w *keyWalk) page(ctx context.Context, n int) error {
	if w.cursors == nil {
		w.cursors = map[string]uint64{}
	}
	var mu sync.Mutex
	one := func(ctx context.Context, name string, c redis.Cmdable) error {
		mu.Lock()
		defer mu.Unlock()
		keys, cursor, err := c.Scan(ctx, w.cursors[name], profile.KeyPrefix+"*", int64(max(10, n))).Result()
		if err != nil {
			return fmt.Errorf("verify: scan: %w", err)
		}
		w.cursors[name] = cursor
		for _, key := range keys {
			if id := strings.TrimPrefix(key, profile.KeyPrefix); profile.CheckID(id) == nil {
				w.found = append(w.found, id)
			}
		}
		return nil
	}
	if cluster, ok := w.client.(*redis.ClusterClient); ok {
		err := cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
			return one(ctx, c.Options().Addr, c)
		})
		rand.Shuffle(len(w.found), func(i, j int) { w.found[i], w.found[j] = w.found[j], w.found[i] })
		return err
	}
	return one(ctx, "", w.client)
}
