-- The version that a deletion had, so that the same id, created again, gets a higher one.
CREATE TABLE edgecache_deleted (
    id      text   COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL
);

-- profile is the user's row as the change left it: a JSON array of the columns in the order of personnel, null when the user was
-- deleted; of a bulk load the ids. Times are in ms since 1970.
CREATE TABLE edgecache_outbox (
    seq          bigint   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         smallint NOT NULL,
    user_id      text     COLLATE "C" NOT NULL,
    version      bigint   NOT NULL,
    profile      bytea,
    committed_at bigint   NOT NULL,
    done_at      bigint
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX edgecache_outbox_undone ON edgecache_outbox (seq) WHERE done_at IS NULL;
CREATE INDEX edgecache_outbox_user   ON edgecache_outbox (user_id, seq) WHERE done_at IS NULL;
CREATE INDEX edgecache_outbox_done   ON edgecache_outbox (done_at) WHERE done_at IS NOT NULL;
