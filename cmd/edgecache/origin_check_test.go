package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/pgtest"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
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
			"note: users cannot be added", "--columns attrs.email=email", `tables edgecache_… in the schema "public"`, `table "users": 4 things to mend`}},
		"--table users --columns id=user_id --db " + at.String():                                                     {exitFailed, []string{"may not read and update it: GRANT", "may not make the origin's tables"}},
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

// What another program writes into the table reaches Redis within a second with triggers, and a
// removal too.
func TestOriginCapturesOtherPrograms(t *testing.T) {
	db, redis := pgtest.Server(t).URL(), redistest.Server(t)
	defer http.DefaultClient.CloseIdleConnections()
	truth.ExecPG(t, db, "CREATE TABLE u (matr int PRIMARY KEY, nom text, updated_at timestamptz)")
	start(t, "origin", "--listen", "127.0.0.1:0", "--redis", redis.URL(), "--db", db, "--table", "u", "--capture", "triggers",
		"--columns", "id=matr,prenom=,fullName=('M. ' || nom),avatar=,matricule=,ministere=,sexe=,attrs=")
	client, err := redisconn.Open(redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	name := func() string { return client.HGet(t.Context(), "user:profile:7", "fullName").Val() }
	truth.ExecPG(t, db, "INSERT INTO u VALUES (7, 'Ngo', '2020-01-01')")
	within(t, 10*time.Second, "the new user in Redis", func() bool { return name() == "M. Ngo" })
	truth.ExecPG(t, db, "UPDATE u SET nom = 'Mba'")
	within(t, 10*time.Second, "the change in Redis", func() bool { return name() == "M. Mba" })
	truth.ExecPG(t, db, "DELETE FROM u")
	within(t, 10*time.Second, "the deletion in Redis", func() bool { return name() == "" })
}

func TestOriginMistakesAboutOtherPrograms(t *testing.T) {
	for args, want := range map[string]string{
		"--capture triggers":                              "--capture and --sweep are for PostgreSQL",
		"--sweep 1m --db sqlite:x.db":                     "--capture and --sweep are for PostgreSQL",
		"--capture replication --db postgres://127.0.0.1": `--capture "replication": want triggers or off`,
		"--sweep 1ms --db postgres://127.0.0.1":           "--sweep 1ms: want 1s or more",
	} {
		got := command(t, "", nil, append([]string{"origin", "--redis", "redis://127.0.0.1:1"}, strings.Fields(args)...)...)
		if exitCode(got.err) != exitUsage || !strings.Contains(got.err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, got.err, want)
		}
	}
}
