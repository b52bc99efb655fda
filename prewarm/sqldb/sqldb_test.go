package sqldb

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/pgtest"
	"github.com/chatapp-ngomna/edgecache/prewarm"
)

func TestConfigIsChecked(t *testing.T) {
	const secret = "s3cr3t"
	for name, c := range map[string]struct {
		conf Config
		want string
	}{
		"no URL":               {Config{}, "Config.URL is no address of a database"},
		"another scheme":       {Config{URL: "mysql://a:" + secret + "@h/d"}, "want postgres://USER:PASSWORD@HOST:PORT/NAME or sqlite:PATH"},
		"a bad port":           {Config{URL: "postgres://a:" + secret + "@h:port/d"}, "Config.URL cannot be parsed"},
		"an open bracket":      {Config{URL: "postgres://a:" + secret + "@[::1/d"}, "Config.URL cannot be parsed"},
		"an unescaped percent": {Config{URL: "postgres://a:%" + secret + "@h/d"}, "Config.URL cannot be parsed"},
		"no path":              {Config{URL: "sqlite:"}, `Config.URL is "sqlite:"; want sqlite:PATH of a file`},
		"memory":               {Config{URL: "sqlite::memory:"}, "want sqlite:PATH of a file"},
		"no parameter":         {Config{URL: "sqlite:x.db", Query: "SELECT 1, 2"}, "Config.Query has no parameter; want one, ?"},
		"a short timeout":      {Config{URL: "sqlite:x.db", Timeout: -time.Second}, "Config.Timeout is -1s; want at least 1ms"},
	} {
		_, err := New(c.conf)
		if !errors.Is(err, prewarm.ErrConfig) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error shows the password: %v", name, err)
		}
	}
}

func TestAFileThatIsNotThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.db")
	_, err := read(t, source(t, "sqlite:"+path, ""))
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}

func TestPostgresChecksTheTypesOfAQuery(t *testing.T) {
	server := pgtest.ServerWith(t, pgtest.Options{NoSync: true})
	for query, want := range map[string]string{
		"SELECT 1, now()": "the query has 0 parameters; want one, $1",
		"SELECT 1, now() WHERE now() > $1 AND 5 > $2::int":          "the query has 2 parameters; want one, $1",
		"SELECT 1, 'today' AS day WHERE now() > $1":                 `the column "day", when a user was last active, is of type text`,
		"SELECT 1, 5 AS day WHERE now() > $1":                       `the column "day", when a user was last active, is of type int4`,
		"SELECT 1, now() WHERE $1::text < 'x'":                      "the query's parameter $1 is of type text",
		"SELECT 'x'::uuid, 'infinity'::date WHERE now() > $1":       "invalid input syntax for type uuid",
		"SELECT user_id, updated_at FROM gone WHERE now() > $1":     `relation "gone" does not exist`,
		"SELECT 1, now() FROM pg_database WHERE dated > $1::bigint": `column "dated" does not exist`,
	} {
		_, err := read(t, source(t, server.URL(), query))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", query, err, want)
		}
	}
	uuid := "5f0c7f0e-3c8e-4c53-9d8a-2f5a0a6a3c11"
	got, err := read(t, source(t, server.URL(), "SELECT '"+uuid+"'::uuid, '2026-01-02'::date WHERE now() > $1"))
	if err != nil {
		t.Fatal(err)
	}
	sameUsers(t, got, []prewarm.User{{ID: uuid, LastActive: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)}})
	s := source(t, server.URL(), "SELECT 1, 'infinity'::timestamptz WHERE now() > $1")
	if got, err := read(t, s); err != nil || len(got) > 0 {
		t.Errorf("got %v, %v", got, err)
	}
	if n, why := s.Skipped(); n != 1 {
		t.Errorf("%d rows were passed over, %v; want the one that is active for ever", n, why)
	}
}

func TestPostgresIsAwayAndHidesThePassword(t *testing.T) {
	for _, url := range []string{"postgres://chat:s3cr3t@127.0.0.1:1/chat", "postgresql://chat:s3cr3t@[::1]:1/chat?sslmode=disable"} {
		_, err := read(t, source(t, url, ""))
		if err == nil || strings.Contains(err.Error(), "s3cr3t") || !strings.Contains(err.Error(), "/chat") {
			t.Errorf("got %v", err)
		}
	}
}
