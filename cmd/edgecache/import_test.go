package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/pgtest"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/source/importer"
)

// someUsers has three good lines, two bad ones, and a user who is there twice.
const someUsers = "id,nom,prenom,attrs.floor\n1,Ngo,Anne,2\n2,Fotso,Luc,\na b,x,,\n3,Abega\n1,again,,\n4,Eto,Samuel,\n"

func TestOriginImport(t *testing.T) {
	dir := t.TempDir()
	file, db, left := filepath.Join(dir, "users.csv"), "sqlite:"+filepath.Join(dir, "users.db"), filepath.Join(dir, "left.txt")
	write(t, file, []byte(someUsers))
	got := command(t, "", nil, "origin", "import", file, "--db", db)
	if exitCode(got.err) != exitFailed || !strings.Contains(got.err.Error(), "2 of 6 users were left out") {
		t.Errorf("%v; want exit 1 for the lines that were left out", got.err)
	}
	if want := "6 users read: 3 added, 1 were there, 2 left out, in "; !strings.HasPrefix(got.stdout, want) {
		t.Errorf("said %q; want %q", got.stdout, want)
	}
	if want := `line 4: invalid id: "a b" has byte " " at 1`; !strings.Contains(got.stderr, want) || !strings.Contains(got.stderr, "line 5: malformed") {
		t.Errorf("stderr %q; want %q and line 5", got.stderr, want)
	}
	if strings.Contains(got.stderr, "\r") {
		t.Errorf("a bar was drawn where there is no terminal: %q", got.stderr)
	}
	got = command(t, "", nil, "origin", "import", file, "--db", db, "--errors", left)
	text, err := os.ReadFile(left)
	if err != nil || strings.Count(string(text), "\n") != 2 || got.stderr != "" || !strings.Contains(got.stdout, " 0 added, 4 were there, 2 left out") {
		t.Errorf("again: %v %q, stderr %q, stdout %q", err, text, got.stderr, got.stdout)
	}
	got = command(t, `{"id":"9","nom":"Zogo"}`+"\n", nil, "origin", "import", "-", "--format", "jsonl", "--db", db)
	if got.err != nil || !strings.HasPrefix(got.stdout, "1 users read: 1 added") {
		t.Errorf("from the standard input: %v, %q", got.err, got.stdout)
	}
}

// An import into a file that is not there says so and names it: a wrong path would look like a
// success.
func TestOriginImportWarnsOfANewFile(t *testing.T) {
	db := filepath.Join(t.TempDir(), "users.db")
	args := []string{"origin", "import", "-", "--format", "csv", "--db", "sqlite:" + db}
	for i, c := range []struct {
		from string
		want bool
	}{{"id\n1\n", true}, {"id\n2\n", false}} {
		got := command(t, c.from, nil, args...)
		warned := strings.Contains(got.stderr, `"level":"WARN"`) && strings.Contains(got.stderr, "no such database file") && strings.Contains(got.stderr, db)
		if got.err != nil || warned != c.want {
			t.Errorf("import %d: %v, warned %v of the file: %s", i+1, got.err, warned, got.stderr)
		}
	}
	relative := command(t, "id\n1\n", nil, append(args[:len(args)-1], "sqlite:../"+filepath.Base(t.TempDir())+"-no-such-folder/users.db")...)
	if relative.err == nil || exitCode(relative.err) != exitFailed {
		t.Errorf("into a folder that is not there: %v", relative.err)
	}
}

func TestOriginImportShowsSomeFailuresOnly(t *testing.T) {
	bad := strings.Repeat("{\n", shownFailures+5)
	got := command(t, bad, nil, "origin", "import", "-", "--format", "jsonl", "--db", "sqlite:"+filepath.Join(t.TempDir(), "u.db"))
	if n := strings.Count(got.stderr, "line "); n != shownFailures || !strings.Contains(got.stderr, "and 5 more; --errors FILE") {
		t.Errorf("%d lines: %s", n, got.stderr)
	}
}

func TestOriginImportMistakes(t *testing.T) {
	dir := t.TempDir()
	none, broken := filepath.Join(dir, "none.csv"), filepath.Join(dir, "broken.csv")
	write(t, none, []byte("nom\nx\n"))
	write(t, broken, []byte("id,nom\n1,a\n2,\""+strings.Repeat("x\n", 600<<10)))
	db := " --db sqlite:" + filepath.Join(dir, "u.db")
	for args, want := range map[string]struct {
		code int
		says string
	}{
		"":                                  {2, "import wants FILE, such as: edgecache origin import users.csv"},
		"a.csv b.csv":                       {2, "import wants FILE"},
		"nowhere.csv" + db:                  {2, "open nowhere.csv"},
		dir + " --format csv" + db:          {2, "is a folder"},
		"users.txt" + db:                    {2, "does not tell the form of the file; say --format csv"},
		"x.csv --format xml":                {2, `--format "xml": want csv or jsonl`},
		none + db:                           {2, "no column is named id"},
		broken + db:                         {1, "ended early and may be repeated"},
		none + " --db mysql:x":              {2, `--db "mysql:x": want sqlite:PATH`},
		none + " --table agents" + db:       {2, "--table and --columns are for PostgreSQL"},
		none + " --errors /dev/null/x" + db: {2, "--errors: open /dev/null/x"},
		none + " --db postgres://127.0.0.1:1/x?connect_timeout=1":          {1, "open the database postgres://127.0.0.1:1/x"},
		none + " --columns id=a --db postgres://h/x":                       {2, "name the table: --table TABLE"},
		none + " --table t --columns matr --db postgres://h/x":             {2, `--columns: "matr": want FIELD=COLUMN`},
		none + " --table t --columns name=matr --db postgres://h/x":        {2, `unknown field "name"; the fields are id, nom,`},
		none + " --table t --columns id=a,id=b --db postgres://h/x":        {2, "the field id is given twice"},
		none + " --table t --columns nom=x,prenom=x --db postgres://h/x":   {2, `column "x" is named twice`},
		none + " --table t --columns attrs.a= --db postgres://h/x":         {2, `--columns: "attrs.a=": want one column for it`},
		none + " --table t --columns id= --db postgres://h/x":              {2, `the id and the version need a column`},
		none + " --timestamps-in UTC --db postgres://h/x":                  {2, "name the table: --table TABLE"},
		none + " --table a.b.c --db postgres://h/x":                        {2, `want TABLE or SCHEMA.TABLE`},
		none + " --db postgres://u:s3cr3t@127.0.0.1:1/x?connect_timeout=1": {1, "postgres://u:xxxxx@127.0.0.1:1/x"},
		none + " --redis redis://h:1" + db:                                 {2, "unknown flag --redis"},
		none + " --db postgres://u:s3cr3t@127.0.0.1:x/x --table t":         {2, "cannot be parsed"},
	} {
		got := command(t, "", nil, append([]string{"origin", "import"}, strings.Fields(args)...)...)
		if got.err == nil || exitCode(got.err) != want.code || !strings.Contains(got.err.Error(), want.says) {
			t.Errorf("%s: exit %d: %v\nwant exit %d: %s", args, exitCode(got.err), got.err, want.code, want.says)
		}
		if got.err != nil && strings.Contains(got.err.Error(), "s3cr3t") {
			t.Errorf("the password got out: %v", got.err)
		}
	}
}

// An institution's own table takes the users, named by the same file of settings that the service
// reads.
func TestOriginImportIntoAnExistingTable(t *testing.T) {
	server, dir := pgtest.Server(t), t.TempDir()
	conn, err := pgx.Connect(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), `CREATE SCHEMA hr; CREATE TABLE hr.agents (matr int PRIMARY KEY, last_name text, prenom text, full_name text,
		avatar text, matricule text, ministere text, sexe text, attrs jsonb, changed timestamptz)`); err != nil {
		t.Fatal(err)
	}
	file, settings := filepath.Join(dir, "users.csv"), filepath.Join(dir, "edgecache.yaml")
	write(t, file, []byte(someUsers))
	write(t, settings, []byte("redis: redis://127.0.0.1:1\nlisten: 127.0.0.1:0\ndb: "+strconv.Quote(server.URL())+
		"\ntable: hr.agents\ncolumns: id=matr,nom=last_name,updatedAt=changed\n"))
	got := command(t, "", nil, "origin", "import", file, "--config", settings)
	if exitCode(got.err) != exitFailed || !strings.HasPrefix(got.stdout, "6 users read: 3 added, 1 were there, 2 left out") {
		t.Fatalf("%v, %q, %s", got.err, got.stdout, got.stderr)
	}
	var id int
	var name string
	if err := conn.QueryRow(t.Context(), "SELECT matr, last_name FROM hr.agents WHERE prenom = 'Samuel'").Scan(&id, &name); err != nil || id != 4 || name != "Eto" {
		t.Errorf("%d, %q, %v", id, name, err)
	}
	got = command(t, "", nil, "origin", "--config", settings, "--columns", "id=matr,nom=no_such")
	if got.err == nil || exitCode(got.err) != exitFailed {
		t.Errorf("the service without Redis: %v", got.err)
	}
}

func TestImportProgress(t *testing.T) {
	s := importer.Stats{Bytes: 100, Users: 50, Failed: 2}
	if share, text := importProgress(s, 200, 2*time.Second); share != 0.5 || text != "50 users, 2 left out, 25/s" {
		t.Errorf("%g, %q", share, text)
	}
	if share, _ := importProgress(s, 0, 0); share >= 0 {
		t.Errorf("of an unknown size %g", share)
	}
}

// A user who was deleted is not made up again by a restart, and a database that is not there is
// named.
func TestSampleUsersAreMadeOnce(t *testing.T) {
	server, db := redistest.Server(t), filepath.Join(t.TempDir(), "users.db")
	defer http.DefaultClient.CloseIdleConnections()
	args := []string{"origin", "--listen", "127.0.0.1:0", "--redis", server.URL(), "--db", "sqlite:" + db}
	first := start(t, args...)
	if log := first.stderr.String(); !strings.Contains(log, "no such database file") || !strings.Contains(log, db) {
		t.Errorf("the log of a first start: %s", log)
	}
	first.end(t)
	second := start(t, append(args, "--sample-users", "20")...)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, second.urls()[0]+"/7", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("delete: %v, %v", resp, err)
	}
	_ = resp.Body.Close()
	second.end(t)
	third := start(t, append(args, "--sample-users", "25")...)
	for path, want := range map[string]int{"/7": 404, "/8": 200, "/25": 200} {
		resp, err := http.Get(third.urls()[0] + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("GET %s after the restart: %d; want %d", path, resp.StatusCode, want)
		}
	}
	if log := third.stderr.String(); strings.Contains(log, "no such database file") {
		t.Errorf("the log of a later start: %s", log)
	}
}
