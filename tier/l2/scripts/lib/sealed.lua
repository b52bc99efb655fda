-- The version of a record that our scripts wrote, which its ext repeats in the last 8 bytes; of others, 0.
local function sealed(key)
  local record = redis.call('HMGET', key, 'updatedAt', 'ext')
  local version, ext, n = tonumber(record[1] or ''), record[2] or '', 0
  for i = math.max(#ext - 7, 1), #ext do n = n * 256 + string.byte(ext, i) end
  return version == n and n or 0
end
