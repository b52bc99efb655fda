package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/bench/report"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

// TestBenchWritesWhatItFound runs a suite on a real Redis and compares the result with itself, and
// with a slower one.
func TestBenchWritesWhatItFound(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "a")
	got := command(t, "", nil, "bench", "l2", "prewarm", "--users", "200", "--duration", "20ms", "--goroutines", "4",
		"--redis", redistest.Server(t).URL(), "--out", out)
	if got.err != nil {
		t.Fatalf("%v\n%s", got.err, got.stdout)
	}
	for _, want := range []string{"l2: a lookup in Redis", "edgecache node.Get", "prewarm: 200 users", "The oracle judged", "index.html"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("no %q in\n%s", want, got.stdout)
		}
	}
	for _, name := range []string{"result.json", "rows.csv", "figures.csv", "latency.hlog", "index.html"} {
		if info, err := os.Stat(filepath.Join(out, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if same := command(t, "", nil, "bench", "compare", out, filepath.Join(out, "result.json")); same.err != nil {
		t.Errorf("beside itself: %v\n%s", same.err, same.stdout)
	}
	slow := slower(t, out, filepath.Join(dir, "b"))
	worse := command(t, "", nil, "bench", "compare", out, slow)
	if exitCode(worse.err) != 1 || !strings.Contains(worse.stdout, "WORSE") || !strings.Contains(worse.err.Error(), "figures that are worse: ") {
		t.Errorf("beside a slower one: %v\n%s", worse.err, worse.stdout)
	}
}

// slower writes a result in which everything took a hundred times as long.
func slower(t *testing.T, from, to string) string {
	t.Helper()
	r, err := report.Read(from)
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Suite("l2").Rows {
		row := &r.Suite("l2").Rows[i]
		for k := range row.Latency {
			row.Latency[k].Nanos *= 100
		}
		row.P50.Low, row.P50.High = row.P50.Low*100, row.P50.High*100
	}
	if err := report.Write(to, r); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestBenchIsInterrupted ends the real process by a signal.
func TestBenchIsInterrupted(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	cmd, text := process(t, "bench", "mixed", "--users", "200", "--duration", "1h", "--out", out)
	eventually(t, "the measuring to begin", func() bool { return strings.Contains(text.String(), "measuring mixed; takes about 3h0m3s") })
	began := time.Now()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code, took := cmd.ProcessState.ExitCode(), time.Since(began); code != 1 || took > 5*time.Second {
		t.Errorf("exit %d after %v\n%s", code, took, text.String())
	}
	r, err := report.Read(out)
	if err != nil || !r.Interrupted {
		t.Fatalf("%v: %+v\n%s", err, r, text.String())
	}
	if _, err := os.Stat(filepath.Join(out, "index.html")); err != nil {
		t.Error(err)
	}
}

func TestBenchTakesItsUsersFromFiles(t *testing.T) {
	dir := t.TempDir()
	ids := filepath.Join(dir, "ids.txt")
	write(t, ids, []byte("a\n\nb\na\nc\n"))
	got, err := readIDs(ids)
	if err != nil || strings.Join(got, " ") != "a b c" {
		t.Errorf("%q, %v", got, err)
	}
	write(t, ids, []byte("a/b\n"))
	if _, err := readIDs(ids); err == nil || !strings.Contains(err.Error(), "invalid id") {
		t.Errorf("an id that nobody can have: %v", err)
	}
	write(t, ids, []byte("\n"))
	if _, err := readIDs(ids); err == nil || !strings.Contains(err.Error(), "holds no ids") {
		t.Errorf("no ids: %v", err)
	}
	b := benchmark{trace: filepath.Join(dir, "chat.tsv")}
	b.conf.Users = 2
	write(t, b.trace, []byte(someChat))
	if err := b.readTrace(); err != nil || strings.Join(b.conf.IDs, " ") != "1 2" || len(b.conf.Order) != 6 || b.conf.OrderName != "chat chat.tsv" {
		t.Errorf("%v: %+v", err, b.conf)
	}
}

// TestBenchSaysFirstThatItCannotWrite names a file as the folder of the results.
func TestBenchSaysFirstThatItCannotWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, nil)
	got := command(t, "", nil, "bench", "--out", file)
	if exitCode(got.err) != 1 || !strings.Contains(got.err.Error(), "--out: folder for the results") || strings.Contains(got.stderr, "measuring") {
		t.Errorf("%v\n%s", got.err, got.stderr)
	}
}

// TestBenchAsksRunningNodes measures two nodes over HTTP, and leaves out what would change them.
func TestBenchAsksRunningNodes(t *testing.T) {
	node := start(t, append([]string{"serve", "--sample-users", "200"}, anyPort...)...).urls()[0]
	out := t.TempDir()
	got := command(t, "", nil, "bench", "http", "batch", "change", "--nodes", node+","+node+"/", "--users", "200", "--rate", "200",
		"--duration", "50ms", "--out", out)
	if got.err != nil || !strings.Contains(got.stdout, "not measured: running nodes are asked over HTTP only") ||
		!strings.Contains(got.stderr, "measuring http, batch; takes") {
		t.Fatalf("%v\n%s%s", got.err, got.stdout, got.stderr)
	}
	r, err := report.Read(out)
	if err != nil || len(r.Suite("http").Rows) != 1 || r.Suite("http").Rows[0].Samples != 10 || len(r.Suite("batch").Rows) != 3 {
		t.Errorf("%v\n%s", err, got.stdout)
	}
}

// TestBenchChangesNothingAtAnOriginOfOthers reads from an origin that is named, and looks at it
// after.
func TestBenchChangesNothingAtAnOriginOfOthers(t *testing.T) {
	truth := start(t, "origin", "--listen", "127.0.0.1:0", "--redis", redistest.Server(t).URL(), "--sample-users", "100",
		"--db", "sqlite:"+filepath.Join(t.TempDir(), "users.db")).urls()[0]
	before := versions(t, truth)
	got := command(t, "", nil, "bench", "origin", "change", "mixed", "--origin", truth, "--users", "100", "--rate", "200", "--duration", "50ms")
	if got.err != nil || !strings.Contains(got.stdout, "not measured: nothing is changed at an origin that was given") ||
		!strings.Contains(got.stdout, "reads during 0 changes") {
		t.Fatalf("%v\n%s%s", got.err, got.stdout, got.stderr)
	}
	if after := versions(t, truth); after != before {
		t.Errorf("the users are not those of before:\n%s\n%s", before, after)
	}
}

// versions returns what an origin says of all users.
func versions(t *testing.T, origin string) string {
	t.Helper()
	resp, err := http.Get(origin + "/all")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	return readAll(t, resp.Body)
}
