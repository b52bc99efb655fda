-- hot: adds visits to the list of hot users.
-- KEYS the list. ARGV tau ms, how many members to keep, ttl ms, then score, id, …
-- A score is the time, in ms, at which one visit would weigh as much as all visits of the user together; two such are one:
-- tau * ln(exp(a / tau) + exp(b / tau)), taken from the larger so that nothing overflows.
-- Returns how many members there are.
local tau, time = tonumber(ARGV[1]), redis.call('TIME')
-- A node whose clock is ahead must not put its users above all others for ever: e^20 visits at once are more than there are.
local top = time[1] * 1000 + 20 * tau
for i = 4, #ARGV, 2 do
  local score, id = tonumber(ARGV[i]), ARGV[i + 1]
  local old = redis.call('ZSCORE', KEYS[1], id)
  if old then
    old = tonumber(old)
    local most, least = math.max(old, score), math.min(old, score)
    score = most + tau * math.log(1 + math.exp((least - most) / tau))
  end
  redis.call('ZADD', KEYS[1], string.format('%.3f', math.min(score, top)), id)
end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -(tonumber(ARGV[2]) + 1))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return redis.call('ZCARD', KEYS[1])
