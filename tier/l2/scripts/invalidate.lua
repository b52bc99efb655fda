-- invalidate: forget the profile; no version is known.
-- KEYS profile, guard, lease. Ends any lease, so that a load begun before cannot fill.
redis.call('HDEL', KEYS[2], 'absent')
return redis.call('DEL', KEYS[1], KEYS[3])
