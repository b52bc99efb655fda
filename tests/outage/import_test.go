package outage

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/pgtest"
	"github.com/chatapp-ngomna/edgecache/source/importer"
	"github.com/chatapp-ngomna/edgecache/source/postgres"
	"github.com/chatapp-ngomna/edgecache/source/sample"
)

// copyHeader are the columns of the file, and of the table that a bare COPY fills, under the names
// of both.
var copyHeader = []string{"id", "nom", "prenom", "full_name", "avatar", "matricule", "ministere", "sexe", "attrs", "updated_at"}

// writeUsers writes made-up users as CSV.
func writeUsers(t *testing.T, file string, n int) {
	t.Helper()
	f, err := os.Create(file)
	check(t, err)
	defer f.Close()
	buffered := bufio.NewWriter(f)
	w := csv.NewWriter(buffered)
	check(t, w.Write(copyHeader))
	for p := range sample.Users(1, n) {
		attrs := "{}"
		if len(p.Attrs) > 0 {
			text, err := json.Marshal(p.Attrs)
			check(t, err)
			attrs = string(text)
		}
		check(t, w.Write([]string{p.ID, p.Nom, p.Prenom, p.FullName, p.Avatar, p.Matricule, p.Ministere, p.Sexe, attrs, strconv.FormatInt(p.UpdatedAt, 10)}))
	}
	w.Flush()
	check(t, w.Error())
	check(t, buffered.Flush())
}

// TestImportBesideCopy imports users into PostgreSQL, and has COPY read the same file into a table
// of the same columns and key, in turns; the medians are compared.
func TestImportBesideCopy(t *testing.T) {
	n, rounds := pick(20_000, 300_000), pick(1, 3)
	file, server := filepath.Join(t.TempDir(), "users.csv"), pgtest.Server(t)
	writeUsers(t, file, n)
	conn, err := pgx.Connect(t.Context(), server.URL())
	check(t, err)
	defer conn.Close(context.Background())
	var imports, copies []time.Duration
	for round := range rounds {
		copies = append(copies, bareCopy(t, conn, file, n))
		imports = append(imports, importUsers(t, server.URL(), fmt.Sprint("s", round), conn, file, n))
	}
	bare, took := quantile(copies, 0.5), quantile(imports, 0.5)
	ratio := float64(took) / float64(bare)
	if *long && ratio > 3 {
		t.Errorf("an import takes %.2f x a COPY; want at most 3", ratio)
	}
	result(t, fmt.Sprintf("%d users imported into PostgreSQL beside a bare COPY of the same file: at most 3 x", n),
		"%.2f x: %v, COPY %v (medians of %d)", ratio, took.Round(time.Millisecond), bare.Round(time.Millisecond), rounds)
}

func bareCopy(t *testing.T, conn *pgx.Conn, file string, n int) time.Duration {
	t.Helper()
	_, err := conn.Exec(t.Context(), `DROP TABLE IF EXISTS bare; CREATE TABLE bare (id text COLLATE "C" PRIMARY KEY, nom text, prenom text,
		full_name text, avatar text, matricule text, ministere text, sexe text, attrs jsonb, updated_at bigint NOT NULL)`)
	check(t, err)
	_, err = conn.Exec(t.Context(), "CHECKPOINT")
	check(t, err)
	f, err := os.Open(file)
	check(t, err)
	defer f.Close()
	began := time.Now()
	tag, err := conn.PgConn().CopyFrom(t.Context(), f, "COPY bare FROM STDIN (FORMAT csv, HEADER)")
	check(t, err)
	if tag.RowsAffected() != int64(n) {
		t.Fatalf("copied %d of %d", tag.RowsAffected(), n)
	}
	return time.Since(began)
}

func importUsers(t *testing.T, url, schema string, conn *pgx.Conn, file string, n int) time.Duration {
	t.Helper()
	_, err := conn.Exec(t.Context(), "CREATE SCHEMA "+schema)
	check(t, err)
	_, err = conn.Exec(t.Context(), "CHECKPOINT")
	check(t, err)
	store, err := postgres.New(postgres.Config{URL: url + "&search_path=" + schema})
	check(t, err)
	check(t, store.Start(t.Context()))
	defer store.Close()
	f, err := os.Open(file)
	check(t, err)
	defer f.Close()
	began := time.Now()
	stats, err := importer.Run(t.Context(), store, f, importer.Config{Format: importer.CSV,
		Failed: func(e importer.LineError) { t.Error(e) }})
	check(t, err)
	if stats.Added != int64(n) {
		t.Fatalf("imported %+v of %d", stats, n)
	}
	return time.Since(began)
}
