-- appear: users were added at the origin; that they are absent is known no longer.
-- KEYS profile, guard, lease.
-- Returns 1 when somebody may have taken the user for absent, or may be about to; 0 when not. Asked again it says the same.
local known = redis.call('HEXISTS', KEYS[2], 'absent')
if redis.call('DEL', KEYS[3]) == 1 then known = 1 end
if known == 1 then
  redis.call('HSET', KEYS[2], 'absent', '0')
  redis.call('PEXPIRE', KEYS[2], ARGV[1])
end
return known
