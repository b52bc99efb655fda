-- publish: ends the planning of a run, or says that it goes on.
-- KEYS the run. ARGV its id, the state after planning ("planning" for a sign of life), ttl ms, then field, value, …
-- Returns the state that the run has then; '' when it is another run.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local run = redis.call('HMGET', KEYS[1], 'id', 'state')
if run[1] ~= ARGV[1] then return '' end
if run[2] ~= 'planning' then return run[2] end
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'beat', now)
if ARGV[2] ~= 'planning' and ARGV[2] ~= 'running' then redis.call('HSET', KEYS[1], 'finished', now) end
if #ARGV > 3 then redis.call('HSET', KEYS[1], unpack(ARGV, 4)) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return ARGV[2]
