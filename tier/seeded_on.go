//go:build seeded

package tier

import (
	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/seeded"
)

// justFill fills without a lease, and justDelete changes by a plain DEL, as caches without a guard do.
var (
	justFill = redis.NewScript(`
if #ARGV > 5 then redis.call('HSET', KEYS[1], unpack(ARGV, 6)) end
return 1`)
	justDelete = redis.NewScript(`
redis.call('DEL', KEYS[1])
return 1`)
)

func unguarded(s *redis.Script) *redis.Script {
	switch {
	case seeded.NoLease && s == fill:
		return justFill
	case seeded.NoGuard && s != fill && s != begin:
		return justDelete
	}
	return s
}
