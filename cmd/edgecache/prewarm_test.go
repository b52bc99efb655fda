package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/prewarm"
)

// activeFile writes users 1 to n as active a moment ago.
func activeFile(t *testing.T, n int) string {
	t.Helper()
	var lines strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&lines, `{"id":"%d","lastActive":%d}`+"\n", i, time.Now().UnixMilli()-int64(i))
	}
	path := filepath.Join(t.TempDir(), "active.jsonl")
	if err := os.WriteFile(path, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Two nodes that find each other with one key warm what is active, and say so.
func TestPrewarmOfTwoNodes(t *testing.T) {
	redis, keys := redistest.Server(t).URL(), filepath.Join(t.TempDir(), "keys")
	if got := command(t, "", nil, "cluster", "keys", "add", "--file", keys); got.err != nil {
		t.Fatal(got.err)
	}
	origin := start(t, "origin", "--redis", redis, "--db", "sqlite:"+filepath.Join(t.TempDir(), "u.db"), "--sample-users", "90", "--listen", "127.0.0.1:0")
	serve := func(args ...string) string {
		args = append([]string{"serve", "--redis", redis, "--origin", origin.urls()[0], "--listen", "127.0.0.1:0",
			"--cluster-bind", "127.0.0.1:0", "--cluster-key-file", keys}, args...)
		return start(t, args...).urls()[0]
	}
	first := serve("--cluster-node", "first", "--prewarm-source", activeFile(t, 100))
	seed := members(t, first)[0].Addr
	second := serve("--cluster-node", "second", "--cluster-join", seed)

	if got := command(t, "", nil, "prewarm", "--node", second); got.err != nil || !strings.Contains(got.stderr, "no source named anyone") {
		t.Errorf("prewarm without anyone to load: %+v", got)
	}
	table := command(t, "", nil, "cluster", "--node", second)
	if table.err != nil || !strings.Contains(table.stdout, "second *") || strings.Count(table.stdout, "alive") != 2 {
		t.Errorf("the cluster is\n%s%v", table.stdout, table.err)
	}
	got := command(t, "", nil, "prewarm", "--node", first, "--progress", "--unlimited")
	if got.err != nil || !strings.Contains(got.stdout, `{"totalProcessed":100,"cached":90,"errors":0,"duration":`) {
		t.Errorf("prewarm: %+v", got)
	}
	status := command(t, "", nil, "prewarm", "status", "--node", second)
	if status.err != nil || !strings.Contains(status.stdout, `"state":"done"`) || !strings.Contains(status.stdout, `"missing":10`) {
		t.Errorf("status: %+v", status)
	}
	within(t, 20*time.Second, "the nodes to tell each other how they do", func() bool {
		return !slices.ContainsFunc(members(t, second), func(m node.Member) bool {
			return m.Redis != "ok" || m.Origin != "ok" || m.Fenced || m.MemoryMiB != 256 || m.MemoryWarmth < 0.85 || m.Version == ""
		})
	})
	for i, url := range []string{first, second} {
		if got := command(t, "", nil, "get", "7", "--verbose", "--node", url); !strings.Contains(got.stderr, "detail=L1") {
			t.Errorf("user 7 of node %d: %+v", i+1, got)
		}
	}
	if got := command(t, "", nil, "prewarm", "cancel", "--node", first); exitCode(got.err) != exitFailed || !strings.Contains(got.err.Error(), "no run is under way") {
		t.Errorf("cancel without a run: %+v", got)
	}
}

func members(t *testing.T, url string) []node.Member {
	t.Helper()
	got := command(t, "", nil, "cluster", "--json", "--node", url)
	var c node.Cluster
	if err := json.Unmarshal([]byte(got.stdout), &c); err != nil || len(c.Members) == 0 {
		t.Fatalf("cluster --json: %+v, %v", got, err)
	}
	return c.Members
}

// A run is waited for, shown, and cancelled by somebody else; the command that waits says so.
func TestPrewarmThatIsCancelled(t *testing.T) {
	serve := start(t, append([]string{"serve", "--sample-users", "50", "--prewarm-source", activeFile(t, 50)}, anyPort...)...)
	url := serve.urls()[0]
	if got := command(t, "", nil, "prewarm", "--detach", "--rate", "1", "--node", url); got.err != nil || !strings.Contains(got.stderr, "is on its way") {
		t.Fatalf("prewarm --detach: %+v", got)
	}
	if got := command(t, "", nil, "prewarm", "--node", url); exitCode(got.err) != exitFailed || !strings.Contains(got.err.Error(), "a run is under way") {
		t.Errorf("a second run: %+v", got)
	}
	if got := command(t, "", nil, "prewarm", "cancel", "--node", url); got.err != nil {
		t.Errorf("cancel: %+v", got)
	}
	if got := command(t, "", nil, "prewarm", "status", "--node", url); !strings.Contains(got.stdout, `"state":"cancelled"`) {
		t.Errorf("status: %+v", got)
	}
}

func TestHowFarARunIs(t *testing.T) {
	s := prewarm.Status{State: prewarm.Running, Planned: 4, Slowed: 0.25, Rate: 7, ETA: 2000, Counts: prewarm.Counts{TotalProcessed: 2, Errors: 1}}
	if got, want := howFar(s), "2 of 4 users, 7/s, 1 errors, slowed down 4.0 times for the origin, 2s left"; got != want {
		t.Errorf("a run that was slowed down is %q; want %q", got, want)
	}
	s.ETA, s.Waiting = 0, "the origin"
	if got, want := howFar(s), "for the origin, waiting for the origin"; !strings.HasSuffix(got, want) {
		t.Errorf("a run that waits is %q; want %q at its end", got, want)
	}
	if s.Slowed = 1; strings.Contains(howFar(s), "slowed") {
		t.Errorf("a run that was not is %q", howFar(s))
	}
}

// A run that has lost users is no success.
func TestReportOfARunThatLostItsPlan(t *testing.T) {
	var out, note strings.Builder
	w := warming{program: &program{stdout: &out, stderr: &note}}
	err := w.report(prewarm.Status{State: prewarm.Done, Planned: 5, Counts: prewarm.Counts{TotalProcessed: 3, Cached: 3}})
	if err == nil || !strings.Contains(err.Error(), "2 of 5 users were not loaded") {
		t.Errorf("it ended with %v", err)
	}
}

// A table of another shape is read by a query of the command line.
func TestPrewarmByAQuery(t *testing.T) {
	file := filepath.Join(t.TempDir(), "visits.db")
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{"CREATE TABLE visites (agent TEXT, vu INTEGER)",
		fmt.Sprintf("INSERT INTO visites VALUES ('3', %d), ('4', %[1]d), ('a b', %[1]d)", time.Now().UnixMilli())} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	url := start(t, append([]string{"serve", "--sample-users", "50", "--prewarm-source", "sqlite:" + file,
		"--prewarm-query", "SELECT agent, vu FROM visites WHERE vu >= ?1"}, anyPort...)...).urls()[0]
	got := command(t, "", nil, "prewarm", "--node", url, "--unlimited")
	if got.err != nil || !strings.Contains(got.stdout, `{"totalProcessed":2,"cached":2`) ||
		!strings.Contains(got.stderr, `sqlite: 1 entries were passed over, such as: invalid id: "a b"`) {
		t.Errorf("prewarm: %+v", got)
	}
}

// A node whose memory is too small for what was loaded says so: to who asked for the run, in its
// log, and to who looks for troubles.
func TestPrewarmIntoAMemoryThatIsTooSmall(t *testing.T) {
	redis := redistest.Server(t).URL()
	origin := start(t, "origin", "--redis", redis, "--db", "sqlite:"+filepath.Join(t.TempDir(), "u.db"), "--sample-users", "4000", "--listen", "127.0.0.1:0")
	serve := start(t, "serve", "--redis", redis, "--origin", origin.urls()[0], "--listen", "127.0.0.1:0", "--l1-mib", "1", "--prewarm-source", activeFile(t, 4000))
	const short = " of 4000 users; "
	got := command(t, "", nil, "prewarm", "--unlimited", "--node", serve.urls()[0])
	if got.err != nil || !strings.Contains(got.stderr, "memory holds ") || !strings.Contains(got.stderr, short) {
		t.Errorf("prewarm: %+v", got)
	}
	says(t, command(t, "", nil, "doctor", "--node", serve.urls()[0]), 1, "warning  memory of node alone: memory holds ", short)
	within(t, 10*time.Second, "the log to say so", func() bool { return strings.Contains(serve.stderr.String(), short) })
}
