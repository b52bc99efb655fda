package origin

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/pgtest"
)

// schemaURL is the address of a schema of its own for place, which it makes if need be.
func schemaURL(t testing.TB, server *pgtest.Proc, place string) string {
	t.Helper()
	h := fnv.New64a()
	_, _ = h.Write([]byte(place))
	schema := fmt.Sprintf("s%x", h.Sum64())
	execPG(t, server.URL(), "CREATE SCHEMA IF NOT EXISTS "+schema)
	return server.URL() + "&search_path=" + url.QueryEscape(schema)
}

func execPG(t testing.TB, url string, statements ...string) {
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

func openPostgres(t testing.TB, cfg PostgresConfig) *Postgres {
	t.Helper()
	s, err := NewPostgres(cfg)
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

// postgresMaker opens stores in schemas of a server.
func postgresMaker(server *pgtest.Proc) storeMaker {
	return func(t *testing.T, place string, now func() time.Time) Store {
		t.Helper()
		return openPostgres(t, PostgresConfig{URL: schemaURL(t, server, place), Now: now})
	}
}

func second[A any](_ A, err error) error { return err }
