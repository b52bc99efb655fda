-- apply: an update that is already true at the origin.
-- KEYS profile, guard, lease. ARGV version, ttl s, guard ms, "1" to create a record that is not there, then field, value, …
-- Returns 1 stored; 2 nothing to do: the record has this version already, or there is none to change; 0 a newer version is
-- known, or this one was applied before. What another service wrote has no version that counts.
local version = tonumber(ARGV[1])
local had = redis.call('HMGET', KEYS[2], 'floor', 'absent')
if version <= (tonumber(had[1]) or 0) then return 0 end
-- What can fail, a key of another type, fails before the first write: a raised floor says that the rest is done as well.
local has = sealed(KEYS[1])
redis.call('HSET', KEYS[2], 'floor', ARGV[1])
if had[2] then redis.call('HDEL', KEYS[2], 'absent') end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('DEL', KEYS[3])
if has > version then return 0 end
if has == version then return 2 end
if ARGV[4] ~= '1' and redis.call('EXISTS', KEYS[1]) == 0 then return 2 end
redis.call('HSET', KEYS[1], unpack(ARGV, 5))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
