-- retire: removes consumers that are idle and hold no entries, in one step: deleting one that holds some loses them.
-- KEYS the stream. ARGV the group, after how many ms a consumer is idle, one that stays.
-- Returns how many it has removed.
local removed = 0
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local has = {}
  for i = 1, #consumer, 2 do has[consumer[i]] = consumer[i + 1] end
  if has.pending == 0 and has.idle > tonumber(ARGV[2]) and has.name ~= ARGV[3] then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], has.name)
    removed = removed + 1
  end
end
return removed
