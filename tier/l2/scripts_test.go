package l2

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

// TestAScriptThatFailsLeavesNothing has two users, of which the second is broken, in the scripts
// that serve several.
func TestAScriptThatFailsLeavesNothing(t *testing.T) {
	both := append(keys("1"), keys("2")...)
	record := []any{"fullName", "Amélie", "updatedAt", "5"}
	leases := []any{"token", 5000, 600_000, 30_000, 9, "2", "", 9, "2", ""}
	known := func(ctx context.Context, c redis.Cmdable) error {
		for _, id := range []string{"1", "2"} {
			if err := apply.Run(ctx, c, keys(id), 3, 1000, 600_000, "1", "fullName", "Nobody", "updatedAt", "3").Err(); err != nil {
				return err
			}
			if err := c.HSet(ctx, keys(id)[1], "absent", "1").Err(); err != nil {
				return err
			}
		}
		return nil
	}
	leased := func(ctx context.Context, c redis.Cmdable) error {
		if err := known(ctx, c); err != nil {
			return err
		}
		return begin.Run(ctx, c, both, leases...).Err()
	}
	fillOf := func(version int, fields ...any) []any {
		args := []any{30_000, 600_000}
		for range 2 {
			args = append(append(args, "token", 1000, version, 0, len(fields)), fields...)
		}
		return args
	}
	redistest.ScriptsAreWhole(t, redistest.Server(t), []redistest.ScriptCase{
		{Name: "begin", Prepare: known, Script: begin, Keys: both, Args: leases},
		{Name: "fill", Prepare: leased, Script: fill, Keys: both, Args: fillOf(5, record...)},
		{Name: "fill, no such user", Prepare: leased, Script: fill, Keys: both, Args: fillOf(0)},
		{Name: "fill, no answer", Prepare: leased, Script: fill, Keys: both, Args: fillOf(-1)},
		{Name: "apply", Prepare: leased, Script: apply, Keys: keys("2"), Args: append([]any{5, 1000, 600_000, "1"}, record...)},
		{Name: "apply, new user", Script: apply, Keys: keys("2"), Args: append([]any{5, 1000, 600_000, "1"}, record...)},
		{Name: "hint", Prepare: leased, Script: hint, Keys: keys("2"), Args: []any{"3", 600_000, "fullName", "Amélie"}},
		{Name: "hint that says nothing", Prepare: leased, Script: hint, Keys: keys("2"), Args: []any{"3", 600_000}},
		{Name: "remove", Prepare: leased, Script: remove, Keys: keys("2"), Args: []any{5, 30_000, 600_000}},
		{Name: "invalidate", Prepare: leased, Script: invalidate, Keys: keys("2")},
		{Name: "heal", Prepare: leased, Script: heal, Keys: keys("2")},
		{Name: "appear", Prepare: leased, Script: appear, Keys: keys("2"), Args: []any{600_000}},
	})
}
