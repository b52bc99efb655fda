-- measure: how large the entry after a cursor is, for one that does not arrive in time. It writes nothing.
-- KEYS the stream. ARGV the cursor, an entry's id.
-- Returns {id, bytes of its fields and values}, or {} when there is none.
local entry = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', 1)[1]
if not entry then return {} end
local bytes = 0
for _, text in ipairs(entry[2]) do bytes = bytes + #text end
return {entry[1], bytes}
