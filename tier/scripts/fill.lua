-- fill: store what the origin answered, where the lease still holds.
-- KEYS profile, guard of each user. ARGV absent ms, guard ms, then for each: token, ttl s, version, how many arguments follow,
-- then field, value, … (none: the user does not exist, or with version -1: the origin did not answer, only end the lease).
-- Returns for each 1 done; 0 the lease is gone; -1 the answer is older than what is known.
local call = redis.call
local function fill(key, guard, at)
  local had = call('HMGET', guard, 'floor', 'token')
  if had[2] ~= ARGV[at] then return 0 end
  if ARGV[at + 2] == '-1' then
    call('HDEL', guard, 'token', 'until')
    return 1
  end
  if ARGV[at + 3] == '0' then
    local time = call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    call('DEL', key)
    call('HDEL', guard, 'token', 'until')
    call('HSET', guard, 'absent', string.format('%.0f', now + ARGV[1]))
    call('PEXPIRE', guard, ARGV[2])
    return 1
  end
  local version = tonumber(ARGV[at + 2])
  local stored = tonumber(call('HGET', key, 'updatedAt') or 0) or 0
  if version < (tonumber(had[1]) or 0) or version < stored then
    call('HDEL', guard, 'token', 'until')
    return -1
  end
  call('HDEL', guard, 'token', 'until', 'absent')
  call('HSET', key, unpack(ARGV, at + 4, at + 3 + ARGV[at + 3]))
  call('EXPIRE', key, ARGV[at + 1])
  return 1
end
local replies, at = {}, 3
for i = 1, #KEYS, 2 do
  replies[(i + 1) / 2] = fill(KEYS[i], KEYS[i + 1], at)
  at = at + 4 + ARGV[at + 3]
end
return replies
