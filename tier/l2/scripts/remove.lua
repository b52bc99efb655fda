-- remove: the user was deleted at the origin.
-- KEYS profile, guard, lease. ARGV version, absent ms, guard ms.
-- Returns 1 removed; 0 a newer version is known, so the deletion is history.
local version = tonumber(ARGV[1])
local floor = tonumber(redis.call('HGET', KEYS[2], 'floor') or 0) or 0
local stored = sealed(KEYS[1])
if floor > version or stored > version then return 0 end
-- Told again. What has ended the absence since, an invalidation without a version, knew more.
if floor == version and stored == 0 then return 1 end
redis.call('DEL', KEYS[1], KEYS[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[2], 'floor', ARGV[1], 'absent', string.format('%.0f', now + ARGV[2]))
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
