package main

import (
	"encoding/json"
	"flag"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

// away is how long TestRedisAwayInAFewLines has Redis away.
var away = flag.Duration("away", 4*time.Second, "how long Redis is away in the test of what a node logs then")

// line is one of a node's log.
type line struct {
	Level, Msg   string
	After, Error string
	Settings     map[string]string
	Version      string
}

// after is the duration in a line, 0 without one.
func after(l line) time.Duration {
	d, _ := time.ParseDuration(l.After)
	return d
}

// logOf returns the lines of a log in JSON, and fails the test for what is none.
func logOf(t *testing.T, text string) (lines []line) {
	t.Helper()
	for one := range strings.Lines(text) {
		if !strings.HasPrefix(one, "{") {
			continue // the greeting
		}
		var l line
		if err := json.Unmarshal([]byte(one), &l); err != nil {
			t.Fatalf("%q is no line of JSON: %v", one, err)
		}
		lines = append(lines, l)
	}
	return lines
}

// TestRedisAwayInAFewLines kills the Redis of a process, and starts it again later: the log says
// in at most six lines that it was lost and is back, for how long, and what that meant.
func TestRedisAwayInAFewLines(t *testing.T) {
	server := redistest.ServerWith(t, redistest.Options{AOF: true})
	source := start(t, "origin", "--listen", "127.0.0.1:0", "--db", "sqlite:"+filepath.Join(t.TempDir(), "u.db"), "--redis", server.URL(), "--sample-users", "9").urls()[0]
	node := startServed(t, "serve", "--listen", "127.0.0.1:0", "--redis", server.URL(), "--origin", source)
	get := func() { command(t, "", nil, "get", "1", "2", "--node", "http://"+node.addr) }
	get()
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(*away); time.Now().Before(end); {
		get()
		<-time.After(50 * time.Millisecond)
	}
	health := command(t, "", nil, "doctor", "--node", "http://"+node.addr)
	says(t, health, 1, "degraded: Redis has not answered for ", "fenced: the stream of changes has been silent for ")
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	said := func(text string) func(line) bool { return func(l line) bool { return strings.HasPrefix(l.Msg, text) } }
	within(t, 20*time.Second, "the node to say that Redis is back", func() bool {
		get()
		return slices.ContainsFunc(logOf(t, node.out.String()), said("Redis is back"))
	})
	<-time.After(time.Second) // for what would come too much
	node.signal(t, syscall.SIGTERM)
	node.ended(t, 5*time.Second)
	lines := logOf(t, node.out.String())
	lines = lines[1:slices.IndexFunc(lines, said("stopping"))] // without the first
	if len(lines) > 6 {
		t.Errorf("%d lines; want at most 6", len(lines))
	}
	lost, back := slices.IndexFunc(lines, said("Redis is lost")), slices.IndexFunc(lines, said("Redis is back"))
	if lost < 0 || back < lost || after(lines[back]) < *away-2*time.Second || lines[lost].Error == "" {
		t.Errorf("lost is line %d, back line %d", lost, back)
	}
	if t.Failed() || testing.Verbose() {
		t.Log(node.out.String())
	}
}

// TestStartedAndStopped reads the first and the last line of a node.
func TestStartedAndStopped(t *testing.T) {
	server := redistest.ServerWith(t, redistest.Options{Password: "very-secret"})
	source := start(t, "origin", "--listen", "127.0.0.1:0", "--db", "sqlite:"+filepath.Join(t.TempDir(), "u.db"), "--redis", server.URL()).urls()[0]
	node := start(t, "serve", "--listen", "127.0.0.1:0", "--redis", server.URL(), "--origin", source, "--l1-mib", "7")
	node.end(t)
	lines := logOf(t, node.stderr.String())
	first, last := lines[0], lines[len(lines)-1]
	if !strings.HasPrefix(first.Msg, "started: a node on 127.0.0.1:") || first.Version == "" || first.Settings["l1-mib"] != "7" || !strings.HasPrefix(last.Msg, "stopped: a node") || after(last) == 0 {
		t.Errorf("first %+v, last %+v", first, last)
	}
	if strings.Contains(node.stderr.String(), "very-secret") {
		t.Error("the password is in the log")
	}
}
