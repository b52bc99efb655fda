-- begin: may this caller load profiles from the origin?
-- KEYS profile, guard, lease of each user. ARGV token, lease ms, guard ms, absent ms, then for each the version that the caller
-- knows of. A lease is the time, in 13 digits, at which another may take it, and the token.
-- Returns for each 0 leased to the token; {1, field, value, …} the profile; 2 known absent; {3, ms, token} leased to another.
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = string.format('%013.0f', now + ARGV[2]) .. ARGV[1]
-- While a cluster is warmed up nothing is known of anyone: one look tells that of all.
local cold = call('EXISTS', unpack(KEYS)) == 0
-- A clock that was set back, or that is another's after a failover, must not make a time longer than it was meant to be.
local function left(at, most)
  local ms = (tonumber(at) or 0) - now
  return ms <= tonumber(most) and ms or 0
end
local function known(at, version)
  local stored = call('HGETALL', KEYS[at])
  if #stored > 0 then
    local has = 0
    for i = 1, #stored, 2 do
      if stored[i] == 'updatedAt' then has = tonumber(stored[i + 1]) or 0 end
    end
    if has >= version then
      table.insert(stored, 1, 1)
      return stored
    end
  end
  local guard = call('HMGET', KEYS[at + 1], 'floor', 'absent')
  -- A version above the floor is news of a user created after the absence was noted.
  if guard[2] and left(guard[2], ARGV[4]) > 0 and version <= (tonumber(guard[1]) or 0) then
    return 2
  end
  local other = call('GET', KEYS[at + 2])
  local ms = other and left(string.sub(other, 1, 13), ARGV[2]) or 0
  if ms > 0 and string.sub(other, 14) ~= ARGV[1] then
    return {3, ms, string.sub(other, 14)}
  end
end
-- What can fail, a key of another type, fails before the first lease is given.
local replies = {}
for at = 1, #KEYS, 3 do
  local n = (at + 2) / 3
  replies[n] = not cold and known(at, tonumber(ARGV[4 + n])) or 0
end
for n, reply in ipairs(replies) do
  if reply == 0 then call('SET', KEYS[3 * n], lease, 'PX', ARGV[3]) end
end
return replies
