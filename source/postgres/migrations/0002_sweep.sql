-- Up to which version (ms since 1970) the users' table was looked through for changes of other programs.
CREATE TABLE edgecache_sweep (
    one   boolean PRIMARY KEY DEFAULT true CHECK (one),
    since bigint  NOT NULL
);
