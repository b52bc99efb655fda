-- done: ranges whose users have all been loaded, or have failed twice. The first report of a range counts.
-- KEYS the run, its ranges, its failures. ARGV the run's id, ttl ms, how many failures to keep, then for each range: its
-- number, processed, cached, missing, errors, how many failures follow, then id, reason, …
-- Returns the state that the run has then; '' when it is another run.
local names = {'processed', 'cached', 'missing', 'errors'}
local run = redis.call('HMGET', KEYS[1], 'id', 'state', 'ranges', unpack(names))
if run[1] ~= ARGV[1] then return '' end
if run[2] ~= 'running' then return run[2] end
-- What can fail fails before the first write, or a range would count as reported with a part of its counts.
local kept = redis.call('LLEN', KEYS[3])
for n = 3, 7 do
  if not string.match(run[n] or '0', '^%-?%d+$') then return redis.error_reply('ERR the run counts in no numbers') end
end
local i = 4
while i <= #ARGV do
  local failures = tonumber(ARGV[i + 5])
  if redis.call('HSETNX', KEYS[2], ARGV[i], ARGV[i + 1]) == 1 then
    for n, name in ipairs(names) do redis.call('HINCRBY', KEYS[1], name, ARGV[i + n]) end
    for f = i + 6, i + 4 + 2 * failures, 2 do
      if kept < tonumber(ARGV[3]) then
        redis.call('RPUSH', KEYS[3], ARGV[f], ARGV[f + 1])
        kept = kept + 2
      end
    end
  end
  i = i + 6 + 2 * failures
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('PEXPIRE', KEYS[3], ARGV[2])
if redis.call('HLEN', KEYS[2]) < tonumber(run[3] or 0) then return 'running' end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('HSET', KEYS[1], 'state', 'done', 'finished', now)
return 'done'
