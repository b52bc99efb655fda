-- cancel: ends a run.
-- KEYS the run. Returns the id of the run that was ended, '' when none was under way.
local run = redis.call('HMGET', KEYS[1], 'id', 'state')
if run[2] ~= 'planning' and run[2] ~= 'running' then return '' end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('HSET', KEYS[1], 'state', 'cancelled', 'finished', now)
return run[1]
