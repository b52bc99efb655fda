-- updated_at is the version: milliseconds since 1970, strictly increasing per user.
-- full_name is null unless it differs from prenom, a space and nom. attrs is a JSON object of strings, null when empty.
CREATE TABLE personnel (
    id         TEXT    NOT NULL PRIMARY KEY,
    nom        TEXT    NOT NULL DEFAULT '',
    prenom     TEXT    NOT NULL DEFAULT '',
    full_name  TEXT,
    avatar     TEXT    NOT NULL DEFAULT '',
    matricule  TEXT    NOT NULL DEFAULT '',
    ministere  TEXT    NOT NULL DEFAULT '',
    sexe       TEXT    NOT NULL DEFAULT '',
    attrs      TEXT,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The version that a deletion had, so that the same id, created again, gets a higher one.
CREATE TABLE personnel_deleted (
    id      TEXT    NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- profile is the msgpack of the whole profile as the change left it, null when it was deleted. Times are in ms since 1970.
CREATE TABLE outbox (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    kind         INTEGER NOT NULL,
    user_id      TEXT    NOT NULL,
    version      INTEGER NOT NULL,
    profile      BLOB,
    committed_at INTEGER NOT NULL,
    done_at      INTEGER
) STRICT;

CREATE INDEX outbox_undone ON outbox (seq) WHERE done_at IS NULL;
CREATE INDEX outbox_done ON outbox (done_at) WHERE done_at IS NOT NULL;
