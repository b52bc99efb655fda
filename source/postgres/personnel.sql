-- updated_at is the version: milliseconds since 1970, strictly increasing per user.
-- full_name is null unless it differs from prenom, a space and nom. attrs is an object of strings, null when empty.
CREATE TABLE IF NOT EXISTS personnel (
    id         text   COLLATE "C" PRIMARY KEY,
    nom        text   NOT NULL DEFAULT '',
    prenom     text   NOT NULL DEFAULT '',
    full_name  text,
    avatar     text   NOT NULL DEFAULT '',
    matricule  text   NOT NULL DEFAULT '',
    ministere  text   NOT NULL DEFAULT '',
    sexe       text   NOT NULL DEFAULT '',
    attrs      jsonb,
    updated_at bigint NOT NULL
);
