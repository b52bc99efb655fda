-- begin: may this caller load profiles from the origin?
-- KEYS profile, guard, lease of each user. ARGV token, lease ms, guard ms, absent ms, then for each: the version that the caller
-- knows of; the last hint that it knows of ('' none), for which the origin must have been asked since; and 'x' with the seal of
-- a record that it does not take ('' none).
-- A lease is the time, in 13 digits, at which another may take it, the token, and with a hint ':' and the hint.
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
local function known(at, version, hint, refused)
  local stored = call('HGETALL', KEYS[at])
  local guard = call('HMGET', KEYS[at + 1], 'floor', 'absent', 'hint')
  local asked = hint == '' or guard[3] == hint
  if #stored > 0 and asked then
    local has, seal = 0, 'x'
    for i = 1, #stored, 2 do
      if stored[i] == 'updatedAt' then has = tonumber(stored[i + 1]) or 0 end
      if stored[i] == 'ext' then seal = 'x' .. string.sub(stored[i + 1], -14) end
    end
    if has < 2 ^ 53 and has >= version and seal ~= refused then
      table.insert(stored, 1, 1)
      return stored
    end
  end
  -- A version above the floor is news of a user created after the absence was noted.
  if asked and guard[2] and left(guard[2], ARGV[4]) > 0 and version <= (tonumber(guard[1]) or 0) then
    return 2
  end
  local other = call('GET', KEYS[at + 2])
  local ms = other and left(string.sub(other, 1, 13), ARGV[2]) or 0
  if ms > 0 then
    local token, after = string.match(other, '^([^:]*):?(.*)$', 14)
    if token ~= ARGV[1] and after >= hint then return {3, ms, token} end
  end
end
-- What can fail, a key of another type, fails before the first lease is given.
local replies = {}
for at = 1, #KEYS, 3 do
  local n = (at + 2) / 3
  local arg = 2 + 3 * n
  replies[n] = not cold and known(at, tonumber(ARGV[arg]), ARGV[arg + 1], ARGV[arg + 2]) or 0
end
for n, reply in ipairs(replies) do
  local hint = ARGV[3 + 3 * n]
  if reply == 0 then call('SET', KEYS[3 * n], hint == '' and lease or lease .. ':' .. hint, 'PX', ARGV[3]) end
end
return replies
