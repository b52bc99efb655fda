-- hint: another service says that a user has changed. What it says is shown until the origin has been asked.
-- KEYS profile, guard, lease. ARGV the hint, guard ms, then field, value, … of what it says; none: it does not say.
-- A hint is the place of its entry in the stream, written so that a later one is greater.
-- Returns 1 changed; 0 the origin has been asked for this hint.
local call, hint = redis.call, ARGV[1]
local guard = call('HMGET', KEYS[2], 'hint', 'said')
if guard[1] == hint then return 0 end
-- What can fail, a key of another type, fails before the first write.
local lease = call('GET', KEYS[3])
-- When the origin was asked for a later one, or the stream has gone back to lower ids, what is true is not known.
local last = (guard[1] or '') <= hint and (guard[2] or '') <= hint
if #ARGV > 2 and last and call('EXISTS', KEYS[1]) == 1 then
  call('HSET', KEYS[1], unpack(ARGV, 3))
  call('HDEL', KEYS[1], 'updatedAt') -- nobody knows which version it is now
else
  call('DEL', KEYS[1])
end
if last then call('HSET', KEYS[2], 'said', hint) end
call('HDEL', KEYS[2], 'absent')
if call('PTTL', KEYS[2]) < 0 then call('PEXPIRE', KEYS[2], ARGV[2]) end
-- A load that began after the hint goes on.
if lease and string.match(lease, ':(.*)$') ~= hint then call('DEL', KEYS[3]) end
return 1
