-- beat: a node's sign of life in a run, with what it has done.
-- KEYS the run, its nodes, their beats. ARGV the run's id, the node, its report, for how many ms a beat counts, ttl ms.
-- Returns {the run's state, how many nodes are alive}; {''} when it is another run.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local run = redis.call('HMGET', KEYS[1], 'id', 'state')
if run[1] ~= ARGV[1] then return {'', 0} end
-- Beats from the future are from before the clock was set back. They count once more, until their nodes beat again.
local after = '(' .. string.format('%.0f', now)
local early = redis.call('ZCOUNT', KEYS[3], after, '+inf')
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
if early > 0 then redis.call('ZREMRANGEBYSCORE', KEYS[3], after, '+inf') end
redis.call('ZADD', KEYS[3], string.format('%.0f', now), ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
redis.call('PEXPIRE', KEYS[3], ARGV[5])
if run[2] == 'running' then redis.call('HSET', KEYS[1], 'beat', string.format('%.0f', now)) end
return {run[2], early + redis.call('ZCOUNT', KEYS[3], string.format('%.0f', now - tonumber(ARGV[4])), '+inf')}
