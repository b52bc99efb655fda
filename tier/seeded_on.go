//go:build seeded

package tier

import (
	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/seeded"
)

// justFill fills without a lease, and justDelete changes by a plain DEL, as caches without a guard do.
var (
	justFill = redis.NewScript(`
local replies, at = {}, 3
for i = 1, #KEYS, 3 do
  if ARGV[at + 3] ~= '0' then redis.call('HSET', KEYS[i], unpack(ARGV, at + 4, at + 3 + ARGV[at + 3])) end
  replies[(i + 2) / 3], at = 1, at + 4 + ARGV[at + 3]
end
return replies`)
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
