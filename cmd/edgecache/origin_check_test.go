package main

import (
	"net/url"
	"strings"
	"testing"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/pgtest"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
)

// origin check names all that is missing with one exit code, and makes nothing.
func TestOriginCheck(t *testing.T) {
	db := pgtest.Server(t).URL()
	truth.ExecPG(t, db, "CREATE TABLE users (user_id text, first_name text, last_name text, sexe text, matricule text, email text NOT NULL, updated_at timestamp(0))",
		"CREATE ROLE reader LOGIN", "GRANT SELECT ON users TO reader",
		"CREATE TABLE good (id text COLLATE \"C\" PRIMARY KEY, nom text, prenom text, \"updatedAt\" timestamptz)")
	at, err := url.Parse(db)
	if err != nil {
		t.Fatal(err)
	}
	at.User = url.User("reader")
	for args, c := range map[string]struct {
		code int
		want []string
	}{
		"--table users --columns id=user_id,nom=last_name,prenom=first_name --db " + db: {exitFailed, []string{
			"1. it lacks full_name, avatar, ministere, attrs; name other columns (or none: --columns fullName=,avatar=,ministere=,attrs=), or: ALTER TABLE",
			"2. column user_id is not unique", "3. column updated_at keeps 0 digits", "4. column updated_at has no time zone",
			"note: users cannot be added", "--columns attrs.email=email", `three tables edgecache_… in the schema "public"`, `table "users": 4 things to mend`}},
		"--table users --columns id=user_id --db " + at.String():                                                     {exitFailed, []string{"may not read and update it: GRANT", "may not make the origin's three tables"}},
		"--table good --columns updatedAt=updatedAt,fullName=,avatar=,matricule=,ministere=,sexe=,attrs= --db " + db: {0, []string{`table "good": the origin can start`}},
		"--table GOOD --db " + db:               {exitFailed, []string{`there is no table "GOOD"; there is: --table public.good`}},
		"--db " + db:                            {0, []string{`there is no table "personnel" yet`}},
		"--db sqlite:x.db":                      {exitUsage, []string{"want the PostgreSQL database"}},
		"--table a.b.c --db " + db:              {exitUsage, []string{"SCHEMA.TABLE"}},
		"--db postgres://127.0.0.1:1/x?a=b":     {exitFailed, []string{"open the database postgres://127.0.0.1:1/x"}},
		"--table good --columns nom --db " + db: {exitUsage, []string{"want FIELD=COLUMN"}},
	} {
		got := command(t, "", nil, append([]string{"origin", "check"}, strings.Fields(args)...)...)
		said := got.stdout + got.stderr
		if got.err != nil {
			said += got.err.Error()
		}
		for _, want := range c.want {
			if exitCode(got.err) != c.code || !strings.Contains(said, want) {
				t.Errorf("%s: exit %d, %s\nwant %d and %q", args, exitCode(got.err), said, c.code, want)
			}
		}
	}
	truth.ExecPG(t, db, `DO $$ BEGIN IF EXISTS (SELECT FROM pg_class WHERE relname LIKE 'edgecache%' OR relname = 'personnel')
		THEN RAISE EXCEPTION 'the check made tables'; END IF; END $$`)
}
