package l2

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Memory is how full a Redis is, in bytes.
type Memory struct {
	// Used of Limit is in use; Limit is 0 for a server that has none.
	Used, Limit int64
}

// share is how much of the limit is in use, 0 without one.
func (m Memory) share() float64 {
	if m.Limit <= 0 {
		return 0
	}
	return float64(m.Used) / float64(m.Limit)
}

// Memory asks how full Redis is; of a cluster, the fullest of its masters. Errors are Redis's.
func (r *Redis) Memory(ctx context.Context) (fullest Memory, err error) {
	var mu sync.Mutex
	one := func(ctx context.Context, c redis.Cmdable) error {
		text, err := c.Info(ctx, "memory").Result()
		mu.Lock()
		defer mu.Unlock()
		if m := memoryOf(text); err == nil && (m.share() > fullest.share() || fullest == Memory{}) {
			fullest = m
		}
		return err
	}
	if cluster, ok := r.client.(*redis.ClusterClient); ok {
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return one(ctx, c) })
	} else {
		err = one(ctx, r.client)
	}
	if err != nil {
		return Memory{}, fmt.Errorf("l2: memory of Redis: %w", err)
	}
	return fullest, nil
}

// memoryOf reads a reply of INFO.
func memoryOf(info string) (m Memory) {
	for line := range strings.SplitSeq(info, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		n, _ := strconv.ParseInt(value, 10, 64)
		switch name {
		case "used_memory":
			m.Used = n
		case "maxmemory":
			m.Limit = n
		}
	}
	return m
}
