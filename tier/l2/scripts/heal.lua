-- heal: a key of another type than ours stands where one of ours belongs; it holds no record, and blocks those that would.
-- KEYS profile, guard, lease. Returns how many were removed.
local removed = 0
for i, want in ipairs({'hash', 'hash', 'string'}) do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= 'none' and kind ~= want then
    removed = removed + redis.call('DEL', KEYS[i])
  end
end
return removed
