package sqldb

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/pgtest"
	"github.com/chatapp-ngomna/edgecache/prewarm"
)

// many is how many rows the large query has.
const many = 60_000

// since is the time since when users count, in all of these tests. Its milliseconds are not whole
// seconds.
var since = time.UnixMilli(1_700_000_000_250)

// engine is one kind of database.
type engine struct {
	name string
	// open makes an empty database and returns its address and a connection that may write.
	open func(t *testing.T) (url string, db *sql.DB)
	// parameter is how a query writes its parameter, large a query of 60,000 rows, endless one that
	// does not end.
	parameter, large, endless string
	// stored are the forms in which the database may hold a time: the column's type, and the value.
	stored map[string]func(time.Time) any
}

func engines(t *testing.T) []engine {
	server := pgtest.ServerWith(t, pgtest.Options{NoSync: true})
	n := 0
	asIs := func(at time.Time) any { return at.UTC() }
	ms := func(at time.Time) any { return at.UnixMilli() }
	text := func(layout string) func(time.Time) any {
		return func(at time.Time) any { return at.UTC().Format(layout) }
	}
	return []engine{{
		name:      "postgres",
		parameter: "$1",
		large:     "SELECT i, now() FROM generate_series(1, 60000) i WHERE now() > $1::timestamptz",
		endless:   "SELECT 1, now() FROM pg_sleep(600) WHERE now() > $1::timestamptz",
		stored:    map[string]func(time.Time) any{"timestamptz": asIs, "timestamp": asIs, "bigint": ms, "numeric": ms, "double precision": ms},
		open: func(t *testing.T) (string, *sql.DB) {
			n++
			admin := connect(t, "pgx", server.URL())
			exec(t, admin, fmt.Sprintf("CREATE SCHEMA t%d", n))
			url := server.URL() + fmt.Sprintf("&search_path=t%d", n)
			return url, connect(t, "pgx", url)
		},
	}, {
		name:      "sqlite",
		parameter: "?",
		large:     "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000) SELECT i, 1800000000000 FROM n WHERE 1 < ?",
		endless:   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i), 1 FROM n WHERE 1 < ?",
		stored: map[string]func(time.Time) any{"INTEGER": ms, "TEXT": text("2006-01-02T15:04:05.000Z"),
			"DATETIME": text("2006-01-02 15:04:05.000 +00:00"), "TIMESTAMP": text("2006-01-02 15:04:05.000")},
		open: func(t *testing.T) (string, *sql.DB) {
			path := filepath.Join(t.TempDir(), "chat room#1?.db") // a name that must be escaped
			db := connect(t, "sqlite", "file:"+strings.NewReplacer("#", "%23", "?", "%3f", " ", "%20").Replace(path))
			exec(t, db, "PRAGMA journal_mode = WAL")
			return "sqlite:" + path, db
		},
	}}
}

func connect(t *testing.T, driver, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func exec(t *testing.T, db *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// tables makes the tables of the contract, with columns of the given types, and three
// conversations: old, at the time since when users count, and new. User 2 is in all of them.
func tables(t *testing.T, db *sql.DB, userID, updatedAt string, value func(time.Time) any) {
	t.Helper()
	exec(t, db, "CREATE TABLE conversations (id integer PRIMARY KEY, updated_at "+updatedAt+")")
	exec(t, db, "CREATE TABLE conversation_participants (conversation_id integer, user_id "+userID+")")
	for id, at := range []time.Time{since.Add(-time.Millisecond), since, since.Add(time.Hour)} {
		exec(t, db, "INSERT INTO conversations (id, updated_at) VALUES ($1, $2)", id+1, value(at))
		for _, user := range []int{id + 1, 2} {
			exec(t, db, fmt.Sprintf("INSERT INTO conversation_participants VALUES ($1, '%d')", user), id+1)
		}
	}
}

// read returns what a source yields, by id and time, and the error that ended it.
func read(t *testing.T, s *Source) (users []prewarm.User, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for u, e := range s.Active(ctx, since) {
		if e != nil {
			return users, e
		}
		users = append(users, u)
	}
	slices.SortFunc(users, func(a, b prewarm.User) int {
		return cmp.Or(strings.Compare(a.ID, b.ID), a.LastActive.Compare(b.LastActive))
	})
	return users, nil
}

func source(t *testing.T, url, query string) *Source {
	t.Helper()
	s, err := FromURL(url, query)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// want is what tables holds of those active since then.
var want = []prewarm.User{{ID: "2", LastActive: since}, {ID: "2", LastActive: since}, {ID: "2", LastActive: since.Add(time.Hour)}, {ID: "3", LastActive: since.Add(time.Hour)}}

func sameUsers(t *testing.T, got, want []prewarm.User) {
	t.Helper()
	same := func(a, b prewarm.User) bool { return a.ID == b.ID && a.LastActive.Equal(b.LastActive) }
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("got %v; want %v", got, want)
	}
}

func TestBothDatabases(t *testing.T) {
	for _, e := range engines(t) {
		t.Run(e.name, func(t *testing.T) {
			for updatedAt, value := range e.stored {
				t.Run("reads the tables with times of type "+updatedAt, func(t *testing.T) { e.readsTables(t, "integer", updatedAt, value) })
			}
			t.Run("reads ids of type text", func(t *testing.T) {
				for updatedAt, value := range e.stored {
					e.readsTables(t, "text", updatedAt, value)
					break
				}
			})
			t.Run("reads what a query says", e.readsQuery)
			t.Run("counts rows without a user or a time", e.countsNulls)
			t.Run("refuses what it cannot read", e.refuses)
			t.Run("changes nothing", e.changesNothing)
			t.Run("holds no more than a few rows at a time", e.streams)
			t.Run("stops when no more are wanted", e.stopsEarly)
			t.Run("stops when its time is up", e.stopsLate)
			t.Run("stops when told to", e.stopsWhenTold)
		})
	}
}

func (e engine) readsTables(t *testing.T, userID, updatedAt string, value func(time.Time) any) {
	url, db := e.open(t)
	tables(t, db, userID, updatedAt, value)
	s := source(t, url, "")
	got, err := read(t, s)
	if err != nil || s.Name() != e.name {
		t.Fatalf("%s: %v", s.Name(), err)
	}
	sameUsers(t, got, want)
	if n, why := s.Skipped(); n != 0 {
		t.Errorf("%d rows were passed over: %v", n, why)
	}
}

func (e engine) readsQuery(t *testing.T) {
	url, db := e.open(t)
	exec(t, db, "CREATE TABLE seen (who text, ms bigint)")
	exec(t, db, "INSERT INTO seen VALUES ('a', $1), ('b', $2), ('c', $3)", since.UnixMilli()-1, since.UnixMilli(), since.UnixMilli()+7)
	got, err := read(t, source(t, url, "SELECT who, ms FROM seen WHERE ms >= "+e.parameter))
	if err != nil {
		t.Fatal(err)
	}
	sameUsers(t, got, []prewarm.User{{ID: "b", LastActive: since}, {ID: "c", LastActive: since.Add(7 * time.Millisecond)}})
}

func (e engine) countsNulls(t *testing.T) {
	url, db := e.open(t)
	exec(t, db, "CREATE TABLE seen (who text, ms bigint)")
	for range 8 {
		exec(t, db, "INSERT INTO seen VALUES (NULL, 5), ('a', NULL)")
	}
	exec(t, db, "INSERT INTO seen VALUES ('b', 6)")
	s := source(t, url, "SELECT who, ms FROM seen WHERE 1 < CAST("+e.parameter+" AS bigint)")
	for range 2 { // the second reading counts anew
		got, err := read(t, s)
		if err != nil {
			t.Fatal(err)
		}
		sameUsers(t, got, []prewarm.User{{ID: "b", LastActive: time.UnixMilli(6)}})
		n, why := s.Skipped()
		if n != 16 || len(why) != 10 || !strings.Contains(errors.Join(why...).Error(), "row 2: prewarm: malformed: ms is NULL") {
			t.Errorf("%d rows were passed over: %v", n, why)
		}
	}
}

func (e engine) refuses(t *testing.T) {
	url, db := e.open(t)
	exec(t, db, "CREATE TABLE seen (who text, ms bigint)")
	for query, wanted := range map[string]string{
		"": "conversations", // the table that is not there
		"SELECT who, ms, 1 AS more FROM seen WHERE ms > " + e.parameter:     `the query returns 3 columns, ["who" "ms" "more"]; want two`,
		"SELECT who FROM seen WHERE ms > " + e.parameter:                    `the query returns 1 columns, ["who"]; want two`,
		"SELECT who, at FROM seen WHERE ms > " + e.parameter:                "at",
		"SELEKT who, ms FROM seen WHERE ms > " + e.parameter:                "syntax error",
		"DELETE FROM seen WHERE ms > " + e.parameter + " RETURNING who, ms": map[string]string{"postgres": "read-only transaction", "sqlite": "readonly"}[e.name],
	} {
		_, err := read(t, source(t, url, query))
		if err == nil || !strings.Contains(err.Error(), wanted) || !strings.Contains(err.Error(), source(t, url, "").db.where()) {
			t.Errorf("%s: %v; want %q", query, err, wanted)
		}
	}
}

func (e engine) changesNothing(t *testing.T) {
	url, db := e.open(t)
	exec(t, db, "CREATE TABLE seen (who text, ms bigint)")
	exec(t, db, "INSERT INTO seen VALUES ('a', 1)")
	if _, err := read(t, source(t, url, "UPDATE seen SET ms = ms + 1 WHERE ms < "+e.parameter+" RETURNING who, ms")); err == nil {
		t.Error("an UPDATE was no error")
	}
	var ms int
	if err := db.QueryRowContext(t.Context(), "SELECT ms FROM seen").Scan(&ms); err != nil || ms != 1 {
		t.Errorf("ms is %d, %v; want 1", ms, err)
	}
}

// streams: 60,000 users would take 2.4 MB as a slice alone.
func (e engine) streams(t *testing.T) {
	url, _ := e.open(t)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, n := heap(), 0
	for _, err := range source(t, url, e.large).Active(t.Context(), since) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == many-1 {
			if grown := int64(heap()) - int64(before); grown > 1<<20 {
				t.Errorf("after %d rows %d bytes more are in use", n, grown)
			}
		}
	}
	if n != many {
		t.Errorf("%d rows; want %d", n, many)
	}
}

func (e engine) stopsEarly(t *testing.T) {
	url, _ := e.open(t)
	s := source(t, url, e.large)
	n := 0
	for _, err := range s.Active(t.Context(), since) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("%d rows", n)
	}
}

func (e engine) stopsLate(t *testing.T) {
	url, _ := e.open(t)
	s, err := New(Config{URL: url, Query: e.endless, Timeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, s); err == nil || len(got) > 0 {
		t.Errorf("got %v, %v; want an error", got, err)
	} else if text := err.Error(); !strings.Contains(text, "not done within 100ms") && !strings.Contains(text, "statement timeout") {
		t.Errorf("got %v", err)
	}
}

func (e engine) stopsWhenTold(t *testing.T) {
	url, _ := e.open(t)
	why := errors.New("the run was cancelled")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	n := 0
	var ended error
	for _, err := range source(t, url, e.large).Active(ctx, since) {
		if n++; n == 3 {
			cancel(why)
		}
		ended = err
	}
	if !errors.Is(ended, why) || n >= many {
		t.Errorf("ended after %d rows with %v", n, ended)
	}
}
