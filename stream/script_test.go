package stream

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

func TestAScriptThatFailsLeavesNothing(t *testing.T) {
	key := []string{Name}
	grouped := func(ctx context.Context, c redis.Cmdable) error {
		if err := c.XGroupCreateMkStream(ctx, Name, defaultGroup, "0").Err(); err != nil {
			return err
		}
		add := &redis.XAddArgs{Stream: Name, ID: "1-1", Values: []any{fieldPayload, "{}"}}
		if err := c.XAdd(ctx, add).Err(); err != nil {
			return err
		}
		for _, consumer := range []string{"one", "idle", "gone"} {
			if err := c.XGroupCreateConsumer(ctx, Name, defaultGroup, consumer).Err(); err != nil {
				return err
			}
		}
		read := &redis.XReadGroupArgs{
			Group: defaultGroup, Consumer: "holder", Streams: []string{Name, ">"},
		}
		return c.XReadGroup(ctx, read).Err()
	}
	redistest.ScriptsAreWhole(t, redistest.Server(t), []redistest.ScriptCase{
		{
			Name: "retire", Prepare: grouped,
			Script: retireScript, Keys: key, Args: []any{defaultGroup, -1, "one"},
		},
		{
			Name: "measure", Prepare: grouped,
			Script: measureScript, Keys: key, Args: []any{"0-0"},
		},
	})
}
