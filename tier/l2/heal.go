package l2

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// wrongType reports that Redis holds a key of another type where a record, a guard or a lease
// belongs: somebody's SET user:profile:12. Below Redis 7 a script's error has it behind words of
// its own.
func wrongType(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && strings.Contains(reply.Error(), "WRONGTYPE")
}

// heal removes what is of another type at the keys of a user, and reports whether there was
// anything.
func (r *Redis) heal(ctx context.Context, id string) bool {
	n, err := heal.Run(ctx, r.client, keys(id)).Int()
	return err == nil && n > 0
}

// run runs a script for one user, and once more after what was of another type was removed.
func (r *Redis) run(ctx context.Context, script *redis.Script, id string, args ...any) *redis.Cmd {
	cmd := script.Run(ctx, r.client, keys(id), args...)
	if wrongType(cmd.Err()) && r.heal(ctx, id) {
		return script.Run(ctx, r.client, keys(id), args...)
	}
	return cmd
}

// unread is the error of a read that Redis refused. A key of another type is a record that does not
// decode; it is removed, so that the next read finds nothing in its place.
func (r *Redis) unread(ctx context.Context, id string, err error) error {
	if wrongType(err) {
		r.heal(ctx, id)
		return fmt.Errorf("l2: read %q from Redis: %w: %w", id, profile.ErrMalformed, err)
	}
	return fmt.Errorf("l2: read %q from Redis: %w", id, err)
}
