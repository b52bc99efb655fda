-- invalidate: forget the profile; no version is known.
-- KEYS profile, guard. Ends any lease, so that a load begun before cannot fill.
redis.call('HDEL', KEYS[2], 'token', 'until', 'absent')
return redis.call('DEL', KEYS[1])
