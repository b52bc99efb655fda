-- write: what any fill has to do, and no more: a lease, here in the guard, and the version are looked at, the hash is written,
-- its time to live set.
-- KEYS profile, guard. ARGV token, ttl s, version, then field, value, …
-- Returns 1 stored; 0 another has the lease; -1 older than what is known.
local guard = redis.call('HMGET', KEYS[2], 'floor', 'token')
if guard[2] and guard[2] ~= ARGV[1] then return 0 end
local stored = tonumber(redis.call('HGET', KEYS[1], 'updatedAt') or 0) or 0
if tonumber(ARGV[3]) < (tonumber(guard[1]) or 0) or tonumber(ARGV[3]) < stored then return -1 end
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
