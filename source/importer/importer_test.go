package importer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/plain"
	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/importer"
	"github.com/chatapp-ngomna/edgecache/source/postgres"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/pgtest"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// imported runs an import of text and returns its stats and failures.
func imported(t *testing.T, s importer.BulkLoader, format importer.Format, text string) (importer.Stats, []string) {
	t.Helper()
	var failed []string
	stats, err := importer.Run(t.Context(), s, strings.NewReader(text), importer.Config{Format: format,
		Failed: func(e importer.LineError) { failed = append(failed, e.Error()) }})
	if err != nil {
		t.Fatal(err)
	}
	if stats.Bytes != int64(len(text)) || int(stats.Failed) != len(failed) {
		t.Errorf("stats %+v of %d bytes and %d failures", stats, len(text), len(failed))
	}
	return stats, failed
}

// wantLines wants the failures to begin with these.
func wantLines(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("failed:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for i := range got {
		if !strings.Contains(got[i], want[i]) || strings.Contains(got[i], "\n") {
			t.Errorf("failed %q, want %q", got[i], want[i])
		}
	}
}

func TestImport(t *testing.T) {
	t.Run("CSV, line by line", func(t *testing.T) {
		s := truth.MakeSQLite(t, t.TempDir(), time.Now)
		truth.MustCreate(t, s, profile.Profile{ID: "there"})
		stats, failed := imported(t, s, importer.CSV, "\ufeffid;Nom;prenom;full_name;updated_at;attrs;attrs.floor\r\n"+
			"1;Ngo;Anne;;1700000000000;\"{\"\"a\"\":\"\"b\"\"}\";2\r\n"+
			"\r\n"+
			"2;\"two\nlines\";Luc;Dr Luc;2024-05-01T10:00:00Z;;\r\n"+
			"a b;x;;;;;\r\n"+
			"there;x;;;;;\r\n"+
			"3;x\r\n"+
			"all;x;;;;;\r\n"+
			"4;x;;;yesterday;;\r\n"+
			"5;x;;;;[];\r\n"+
			"6;a\xff;;;;;\r\n"+
			"7;a\"b;;;;;\r\n"+
			"1;again;;;;;\r\n"+
			"8;"+strings.Repeat("x", profile.MaxSize)+";;;;;\r\n"+
			"9;last;;;;;")
		if stats.Users != 13 || stats.Added != 3 || stats.Failed != 8 || stats.Existed() != 2 {
			t.Errorf("stats %+v", stats)
		}
		wantLines(t, failed, []string{"line 6: invalid id", "line 8: malformed: wrong number of fields", `line 9: invalid id: "all" is reserved`,
			"line 10: malformed: the time \"yesterday\"", "line 11: malformed: attrs \"[]\"", "line 12: malformed", "line 13: malformed: bare", "line 15: too large"})
		want := &profile.Profile{ID: "1", Nom: "Ngo", Prenom: "Anne", FullName: "Anne Ngo", UpdatedAt: 1700000000000, Attrs: map[string]string{"a": "b", "floor": "2"}}
		if got := truth.MustGet(t, s, "1"); !testkit.SameProfile(got, want) {
			t.Errorf("got %+v", got)
		}
		if got := truth.MustGet(t, s, "2"); got.Nom != "two\nlines" || got.FullName != "Dr Luc" || got.UpdatedAt != 1714557600000 {
			t.Errorf("got %+v", got)
		}
		if b, err := s.Backlog(t.Context()); err != nil || b.Rows != 2 {
			t.Errorf("backlog %+v, %v; want the create, and one row for those who were added", b, err)
		}
	})
	t.Run("JSON lines", func(t *testing.T) {
		s := truth.MakeSQLite(t, t.TempDir(), time.Now)
		stats, failed := imported(t, s, importer.JSONL, `{"id":"1","nom":"Ngo","prenom":"Anne","updatedAt":5}`+"\n\n"+
			`{"id":2,"nom":null,"updatedAt":"2024-05-01T10:00:00Z"}`+"\r\n"+
			"{\n"+`{"nom":"x"}`+"\n"+`{"id":"3","nom":"`+"\xff"+`"}`+"\n"+`{"id":"4","nom":"`+strings.Repeat("x", (512<<10))+`"}`+"\n"+
			`{"id":"health"}`+"\n"+`{"id":"5"}`)
		if stats.Users != 8 || stats.Added != 3 {
			t.Errorf("stats %+v", stats)
		}
		wantLines(t, failed, []string{"line 4: malformed", "line 5: malformed", "line 6: malformed: it is not UTF-8", "line 7: too large: it is longer", "line 8: invalid id"})
		if got := truth.MustGet(t, s, "2"); got.UpdatedAt != 1714557600000 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("what GET /all gave can be imported", func(t *testing.T) {
		from, to := truth.MakeSQLite(t, t.TempDir(), time.Now), truth.MakeSQLite(t, t.TempDir(), time.Now)
		truth.MustCreate(t, from, profile.Profile{ID: "1", Nom: "é\"\n<", FullName: "Dr", Attrs: map[string]string{"k": "v"}})
		_, url := truth.StartService(t, source.ServiceConfig{Store: from})
		all := truth.Ask(t, "GET", url+"/all", "", "Accept: application/x-ndjson").Body
		if stats, _ := imported(t, to, importer.JSONL, all); stats.Added != 1 || !testkit.SameProfile(truth.MustGet(t, to, "1"), truth.MustGet(t, from, "1")) {
			t.Errorf("stats %+v, got %+v", stats, truth.MustGet(t, to, "1"))
		}
	})
}

// Text that is no Unicode is left out with its line, wherever it stands: it would be stored as
// other text than the file has.
func TestImportLeavesOutWhatIsNoUnicode(t *testing.T) {
	// bytes that are not UTF-8, the second half of a surrogate pair
	for _, text := range []string{"\xff", "\xed\xa0\x80"} {
		s := truth.MakeSQLite(t, t.TempDir(), time.Now)
		file := "id,nom,attrs,attrs.floor\n1," + text + ",,\n2,x,," + text + "\n3,x,\"{\"\"k\"\":\"\"" + text + "\"\"}\",\n4,x,,\n"
		stats, failed := imported(t, s, importer.CSV, file)
		wantLines(t, failed, []string{"line 2: malformed", "line 3: malformed", "line 4: malformed: attrs holds text that is no Unicode"})
		if stats.Added != 1 {
			t.Errorf("%q: %+v; want the last alone", file, stats)
		}
	}
	for _, text := range []string{"\xff", `\ud800`, `\udc00x`, `\ud800\ud800`} {
		s := truth.MakeSQLite(t, t.TempDir(), time.Now)
		file := `{"id":"1","nom":"` + text + "\"}\n" + `{"id":"2","attrs":{"k":"` + text + "\"}}\n" + `{"id":"3","attrs":{"` + text + "\":\"v\"}}\n" +
			`{"id":4,"nom":"` + text + "\"}\n" + `{"id":"5","nom":"\ud83d\ude00"}` + "\n"
		stats, failed := imported(t, s, importer.JSONL, file)
		wantLines(t, failed, []string{"line 1: malformed", "line 2: malformed", "line 3: malformed", "line 4: malformed"})
		if stats.Added != 1 || truth.MustGet(t, s, "5").Nom != "😀" {
			t.Errorf("%q: %+v", file, stats)
		}
	}
	s := truth.MakeSQLite(t, t.TempDir(), time.Now)
	_, failed := imported(t, s, importer.CSV, "id,attrs\n1,\"{\"\"k\"\":\"\"\\ud800\"\"}\"\n2,\"{\"\"k\"\":\"\"\\ud83d\\ude00\"\"}\"\n")
	wantLines(t, failed, []string{"line 2: malformed: attrs holds text that is no Unicode"})
	if got := truth.MustGet(t, s, "2").Attrs["k"]; got != "😀" {
		t.Errorf("a whole pair became %q", got)
	}
}

func TestImportRefusesFiles(t *testing.T) {
	s := truth.MakeSQLite(t, t.TempDir(), time.Now)
	long := "id,nom\n1,a\n2,\"" + strings.Repeat("x\n", (512<<10))
	for _, tt := range []struct {
		format importer.Format
		text   string
		want   string
		added  int64
	}{
		{"xml", "", `format "xml"`, 0}, {importer.CSV, "", "first line must name the columns", 0}, {importer.CSV, "nom\nx\n", "no column is named id", 0},
		{importer.CSV, "id,name\n1,x\n", `unknown column "name"; the columns are id,`, 0}, {importer.CSV, "id,updated_at,updatedAt\n", "there twice", 0},
		{importer.CSV, "id," + strings.Repeat("x", 2*(512<<10)), "longer than", 0}, {importer.CSV, long, "after line 2: too large", 1},
	} {
		stats, err := importer.Run(t.Context(), s, strings.NewReader(tt.text), importer.Config{Format: tt.format})
		if err == nil || !strings.Contains(plain.Text(err), tt.want) || stats.Added != tt.added {
			t.Errorf("%.30q: %+v, %v, want %q", tt.text, stats, err, tt.want)
		}
	}
	boom := errors.New("boom")
	half := io.MultiReader(strings.NewReader(`{"id":"half"}`+"\n"), iotest.ErrReader(boom))
	if stats, err := importer.Run(t.Context(), s, half, importer.Config{Format: importer.JSONL}); !errors.Is(err, boom) || stats.Added != 1 {
		t.Errorf("a reader that fails: %+v, %v", stats, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := importer.Run(ctx, s, strings.NewReader("id\n1\n"), importer.Config{Format: importer.CSV}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestImportFindsWhomTheStoreRefuses(t *testing.T) {
	at := truth.SchemaURL(t, pgtest.Server(t), t.Name())
	truth.ExecPG(t, at, `CREATE TABLE agents (id int PRIMARY KEY, nom varchar(5), prenom text, full_name text, avatar text, matricule text UNIQUE,
		ministere text, sexe text, attrs jsonb, updated_at bigint)`)
	s := truth.OpenPostgres(t, postgres.Config{URL: at, Users: postgres.Table{Name: "agents"}})
	stats, failed := imported(t, s, importer.CSV, "id,nom,matricule\n1,a,A\n2,abcdef,B\n3,b,A\nx,c,C\n4,d,D\n1,e,E\n5,f,F\n")
	if stats.Added != 3 || stats.Users != 7 || stats.Existed() != 1 {
		t.Errorf("stats %+v", stats)
	}
	wantLines(t, failed, []string{"line 3: load users: malformed: ERROR: value too long", "line 4: load users: user exists", `line 5: invalid id: "x"`})
}

// forgetful is a BulkLoader that keeps nothing.
type forgetful struct{ peak uint64 }

func (f *forgetful) BulkLoad(_ context.Context, users iter.Seq[*profile.Profile]) (n int64, err error) {
	for range users {
		n++
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	f.peak = max(f.peak, m.HeapAlloc)
	return n, nil
}

func TestImportNeedsBoundedMemory(t *testing.T) {
	const lines = 3000 // of 60 KiB
	nom, _ := json.Marshal(strings.Repeat("é", 30_000))
	r, w := io.Pipe()
	go func() {
		for i := range lines {
			if _, err := fmt.Fprintf(w, "{\"id\":\"%d\",\"avatar\":%s}\n", i, nom); err != nil {
				return
			}
		}
		_ = w.Close()
	}()
	var reports []int64
	f := new(forgetful)
	stats, err := importer.Run(t.Context(), f, r, importer.Config{Format: importer.JSONL, Progress: func(s importer.Stats) { reports = append(reports, s.Added) }})
	if err != nil || stats.Added != lines || len(reports) < 10 || !slices.IsSorted(reports) {
		t.Errorf("stats %+v, %v, reports %v", stats, err, reports)
	}
	if f.peak > 64<<20 {
		t.Errorf("%d MiB for a file of %d MiB", f.peak>>20, stats.Bytes>>20)
	}
}

func TestImportFormatOf(t *testing.T) {
	for name, want := range map[string]importer.Format{"users.csv": importer.CSV, "/x/U.CSV": importer.CSV, "a.tsv": importer.CSV, "a.jsonl": importer.JSONL,
		"a.ndjson": importer.JSONL, "a.json": "", "a": ""} {
		if got, ok := importer.FormatOf(name); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
}
