-- fill: store what the origin answered, if the lease still holds.
-- KEYS profile, guard. ARGV token, ttl s, version, absent ms, guard ms, then field, value, … (none: the user does not
-- exist, or with version -1: the origin did not answer, only end the lease).
-- Returns 1 done; 0 the lease is gone; -1 the answer is older than what is known.
local guard = redis.call('HMGET', KEYS[2], 'floor', 'token')
if guard[2] ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[2], 'token', 'until')
if ARGV[3] == '-1' then return 1 end
if #ARGV == 5 then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[2], 'absent', string.format('%.0f', now + ARGV[4]))
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
  return 1
end
local version = tonumber(ARGV[3])
local stored = tonumber(redis.call('HGET', KEYS[1], 'updatedAt') or 0) or 0
if version < (tonumber(guard[1]) or 0) or version < stored then return -1 end
redis.call('HDEL', KEYS[2], 'absent')
redis.call('HSET', KEYS[1], unpack(ARGV, 6))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
