-- The changes of some users among many that wait, and those of everybody else.
CREATE INDEX outbox_user ON outbox (user_id, seq) WHERE done_at IS NULL;
DROP INDEX outbox_undone;
CREATE INDEX outbox_undone ON outbox (seq, user_id) WHERE done_at IS NULL;
