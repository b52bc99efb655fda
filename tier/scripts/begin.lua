-- begin: may this caller load profiles from the origin?
-- KEYS profile, guard of each user. ARGV token, lease ms, guard ms, then for each the version that the caller knows of.
-- Returns for each 0 leased to the token; {1, field, value, …} the profile; 2 known absent; {3, ms} leased to another.
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local till = string.format('%.0f', now + ARGV[2])
local function begin(key, guard, known)
  local stored = call('HGETALL', key)
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
  local had = call('HMGET', guard, 'floor', 'token', 'until', 'absent')
  -- A version above the floor is news of a user created after the absence was noted.
  if had[4] and tonumber(had[4]) > now and known <= (tonumber(had[1]) or 0) then
    return 2
  end
  if had[2] and had[2] ~= ARGV[1] and tonumber(had[3]) > now then
    return {3, tonumber(had[3]) - now}
  end
  call('HSET', guard, 'token', ARGV[1], 'until', till)
  call('PEXPIRE', guard, ARGV[3])
  return 0
end
local replies = {}
for i = 1, #KEYS, 2 do
  local n = (i + 1) / 2
  replies[n] = begin(KEYS[i], KEYS[i + 1], tonumber(ARGV[3 + n]))
end
return replies
