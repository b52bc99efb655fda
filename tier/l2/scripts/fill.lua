-- fill: store what the origin answered, where the lease still holds, and end the lease.
-- KEYS profile, guard, lease of each user, nobody twice. ARGV absent ms, guard ms, then for each: token, ttl s, version, "1" from a node that
-- was told of every change for a minute and of none above the version, how many arguments follow, then field, value, … (none: the user does
-- not exist, or with version -1: the origin did not answer).
-- Returns for each 1 done; 0 the lease is gone; -1 the answer is older than what is known.
-- A floor that no change has raised for a while gives way: what raised it was no change at the origin, or has long been taken
-- back there. It sinks to the answer, or it would refuse the next change; and should the origin lag after all, the record ends
-- when the guard would have. That is before nodes forget the news that sends them to the origin (60 s). For how long it has stood is told
-- by a clock that may be set; a node that has heard of nothing for a minute by its own knows better. But its stream may be late by
-- seconds, so the floor stays and such a record ends soon.
local firm, brief = 50000, 10000
local call = redis.call
local leases, others, spent, replies, places, noted, sunk, ends, hints = {}, {}, {}, {}, {}, {}, {}, {}, {}
for at = 1, #KEYS, 3 do
  leases[#leases + 1] = KEYS[at + 2]
  others[#others + 1] = KEYS[at]
  others[#others + 1] = KEYS[at + 1]
end
local held = call('MGET', unpack(leases))
-- While a cluster is warmed up nothing is known of anyone: one look tells that of all.
local cold = call('EXISTS', unpack(others)) == 0
local function judge(key, guard, at)
  if cold or ARGV[at + 2] == '-1' then return 1 end
  local had, version = call('HMGET', guard, 'floor', 'absent'), tonumber(ARGV[at + 2])
  if ARGV[at + 4] == '0' then return 1 end
  if version < sealed(key) then return -1 end
  if version < (tonumber(had[1]) or 0) then
    local left, whole = call('PTTL', guard), tonumber(ARGV[2])
    local young = left > whole - firm and left <= whole -- more is from a clock that was set back
    if young and ARGV[at + 3] ~= '1' then return -1 end
    sunk[guard], ends[guard] = not young, young and brief or math.min(left, whole)
  end
  noted[guard] = had[2]
  return 1
end
local function absent(key, guard)
  local time = call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  call('DEL', key)
  call('HSET', guard, 'absent', string.format('%.0f', now + ARGV[1]))
  call('PEXPIRE', guard, ARGV[2])
end
local function fill(key, guard, at)
  if ARGV[at + 2] == '-1' then return end
  if ARGV[at + 4] == '0' then return absent(key, guard) end
  if noted[guard] then call('HDEL', guard, 'absent') end
  local left = ends[guard]
  if sunk[guard] then call('HSET', guard, 'floor', ARGV[at + 2]) end
  call('HSET', key, unpack(ARGV, at + 5, at + 4 + ARGV[at + 4]))
  call('EXPIRE', key, ARGV[at + 1])
  if left and left > 0 then call('PEXPIRE', key, math.min(left, ARGV[at + 1] * 1000)) end
end
-- What can fail, a key of another type, fails before the first write.
local at = 3
for n, lease in ipairs(leases) do
  replies[n], places[n] = 0, at
  local token, hint = string.match(held[n] or '', '^([^:]*):?(.*)$', 14)
  if token == ARGV[at] then
    replies[n], hints[n] = judge(KEYS[3 * n - 2], KEYS[3 * n - 1], at), hint
    spent[#spent + 1] = lease
  end
  at = at + 5 + ARGV[at + 4]
end
-- The origin has been asked since this hint.
local function answered(guard, hint)
  call('HSET', guard, 'hint', hint)
  if call('PTTL', guard) < 0 then call('PEXPIRE', guard, ARGV[2]) end
end
for n, place in ipairs(places) do
  if replies[n] == 1 then
    fill(KEYS[3 * n - 2], KEYS[3 * n - 1], place)
    if hints[n] ~= '' and ARGV[place + 2] ~= '-1' then answered(KEYS[3 * n - 1], hints[n]) end
  end
end
if #spent > 0 then call('DEL', unpack(spent)) end
return replies
