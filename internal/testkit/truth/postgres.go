package truth

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/pgtest"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/postgres"
)

// SchemaURL is the address of a schema of its own for place, which it makes if need be.
func SchemaURL(t testing.TB, server *pgtest.Proc, place string) string {
	t.Helper()
	h := fnv.New64a()
	_, _ = h.Write([]byte(place))
	schema := fmt.Sprintf("s%x", h.Sum64())
	ExecPG(t, server.URL(), "CREATE SCHEMA IF NOT EXISTS "+schema)
	return server.URL() + "&search_path=" + url.QueryEscape(schema)
}

// ExecPG runs statements on the database at url.
func ExecPG(t testing.TB, url string, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	for _, s := range statements {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// OpenPostgres starts a store, which ends with the test.
func OpenPostgres(t testing.TB, cfg postgres.Config) *postgres.Store {
	t.Helper()
	s, err := postgres.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// PostgresMaker opens stores in schemas of a server.
func PostgresMaker(server *pgtest.Proc) StoreMaker {
	return func(t *testing.T, place string, now func() time.Time) source.Store {
		t.Helper()
		return OpenPostgres(t, postgres.Config{URL: SchemaURL(t, server, place), Now: now})
	}
}

// Second returns the error of a call that returns two values.
func Second[A any](_ A, err error) error { return err }
