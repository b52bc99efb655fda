-- claim: begins a run, unless one is under way.
-- KEYS the run. ARGV its id, the node, options, ttl ms, after how many ms without a sign of life a run is dead.
-- Returns {1}, or {0, id, state, node} of the run under way.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local old = redis.call('HMGET', KEYS[1], 'id', 'state', 'node', 'beat')
if old[1] == ARGV[1] then return {1} end -- the reply was lost, and the call made again
-- A sign of life from the future is from before the clock was set back: that run, if it lives, gives another within a second.
local silent = math.abs(now - (tonumber(old[4]) or 0))
if (old[2] == 'planning' or old[2] == 'running') and silent < tonumber(ARGV[5]) then
  return {0, old[1], old[2], old[3]}
end
now = string.format('%.0f', now)
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'state', 'planning', 'node', ARGV[2], 'options', ARGV[3], 'started', now, 'beat', now)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {1}
