-- begin: may this caller load the profile from the origin?
-- KEYS profile, guard. ARGV token, lease ms, version that the caller knows of, guard ms.
-- Returns {0} leased to the token; {1, field, value, …} the profile; {2} known absent; {3, ms} leased to another.
local stored = redis.call('HGETALL', KEYS[1])
local known = tonumber(ARGV[3])
if #stored > 0 then
  local version = 0
  for i = 1, #stored, 2 do
    if stored[i] == 'updatedAt' then version = tonumber(stored[i + 1]) or 0 end
  end
  if version >= known then
    table.insert(stored, 1, 1)
    return stored
  end
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local guard = redis.call('HMGET', KEYS[2], 'floor', 'token', 'until', 'absent')
-- A version above the floor is news of a user created after the absence was noted.
if guard[4] and tonumber(guard[4]) > now and known <= (tonumber(guard[1]) or 0) then
  return {2}
end
if guard[2] and guard[2] ~= ARGV[1] and tonumber(guard[3]) > now then
  return {3, tonumber(guard[3]) - now}
end
redis.call('HSET', KEYS[2], 'token', ARGV[1], 'until', string.format('%.0f', now + ARGV[2]))
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return {0}
