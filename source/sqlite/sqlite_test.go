package sqlite

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
)

func TestSQLiteOpens(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"plain.db", "with space.db", "50%25?mode=ro#x.db", "é&y=1.db"} {
		s, err := New(Config{Path: filepath.Join(dir, name)})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		createOne(t, s)
		if err := s.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("the file is not where it was asked for: %v", err)
		}
	}
}

func TestSQLiteRefusesToOpen(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("no database ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(dir, "newer.db")
	db, err := sql.Open("sqlite", newer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"":                                   "needs a path",
		":memory:":                           "temporary folder",
		filepath.Join(dir, "absent", "o.db"): "absent/o.db",
		garbage:                              "not a database",
		newer:                                "made by a newer edgecache",
	} {
		s, err := New(Config{Path: path})
		if err == nil {
			err = s.Start(t.Context())
			if s.Close() != nil {
				t.Errorf("%s: Close after a Start that did not work", path)
			}
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

func TestSQLiteOneBrokenWriteDoesNotFailItsGroup(t *testing.T) {
	s := opened(t)
	boom := broken("test", errors.New("boom"))
	var wg sync.WaitGroup
	gate := make(chan struct{})
	hold := make(chan struct{})
	wg.Go(func() { // keeps the writer busy until the others wait behind it
		_ = s.writer.do(t.Context(), s.writer.writes, func() error { close(hold); <-gate; return nil })
	})
	<-hold
	errs := make([]error, 20)
	for i := range errs {
		wg.Go(func() {
			if i == 7 {
				errs[i] = s.writer.do(t.Context(), s.writer.writes, func() error { return boom })
				return
			}
			_, errs[i] = s.Create(t.Context(), &profile.Profile{ID: fmt.Sprint(i)})
		})
	}
	close(gate)
	wg.Wait()
	for i, err := range errs {
		if (i == 7) != errors.Is(err, boom) || (i != 7 && err != nil) {
			t.Errorf("write %d: %v", i, err)
		}
	}
	if n, err := s.Count(t.Context()); err != nil || n != 19 {
		t.Errorf("%d users, %v; want 19", n, err)
	}
}

func TestSQLiteMarksBecomeDurableWithoutFurtherWrites(t *testing.T) {
	s := opened(t)
	createOne(t, s)
	claim, err := s.Claim(t.Context(), source.Want{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(claim.Done(t.Context(), []int64{claim.Changes()[0].Seq}), claim.Close()); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 5*time.Second, "the mark is in the database", func() bool {
		var n int
		err := s.readers.QueryRow("SELECT count(*) FROM outbox WHERE done_at IS NOT NULL").Scan(&n)
		return err == nil && n == 1 && len(s.marks.snapshot()) == 0
	})
}

func BenchmarkSQLiteUpdate(b *testing.B) {
	s, err := New(Config{Path: filepath.Join(b.TempDir(), "o.db")})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Create(b.Context(), &profile.Profile{ID: "1", Nom: "Dupont", Prenom: "Jean"}); err != nil {
		b.Fatal(err)
	}
	avatar := "/b.png"
	update := func() {
		if _, err := s.Update(b.Context(), "1", origin.Update{Avatar: &avatar}); err != nil {
			b.Error(err)
		}
	}
	b.Run("one goroutine", func(b *testing.B) {
		for b.Loop() {
			update()
		}
	})
	b.Run("64 goroutines", func(b *testing.B) {
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				update()
			}
		})
	})
}

// opened returns a store in a new file.
func opened(t *testing.T) *Store {
	t.Helper()
	s, err := New(Config{Path: filepath.Join(t.TempDir(), "origin.db")})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// createOne adds the user "1".
func createOne(t *testing.T, s *Store) {
	t.Helper()
	if _, err := s.Create(t.Context(), &profile.Profile{ID: "1"}); err != nil {
		t.Fatal(err)
	}
}
