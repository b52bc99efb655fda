package main

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/client"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

// says fails the test unless doctor ended with a code and said what is wanted.
func says(t *testing.T, got outcome, code int, want ...string) {
	t.Helper()
	if exitCode(got.err) != code {
		t.Errorf("exit %d: %v; want %d\n%s", exitCode(got.err), got.err, code, got.stdout)
	}
	for _, text := range want {
		if !strings.Contains(got.stdout, text) {
			t.Errorf("%q is missing:\n%s", text, got.stdout)
		}
	}
}

// TestDoctorOfACluster has doctor look with the fewest rights, and find nothing; then something
// is taken away or spoilt, one after another.
func TestDoctorOfACluster(t *testing.T) {
	acl := aclServer(t)
	server := acl.procs[0]
	set := func(args ...any) {
		t.Helper()
		if err := server.Client().Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	set("CONFIG", "SET", "maxmemory", "100mb")
	set("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
	source := start(t, "origin", "--listen", "127.0.0.1:0", "--db", "sqlite:"+filepath.Join(t.TempDir(), "u.db"), "--redis", acl.as("origins"), "--sample-users", "9").urls()[0]
	node := start(t, "serve", "--listen", "127.0.0.1:0", "--redis", acl.as("nodes"), "--origin", source).urls()[0]
	look := func() outcome {
		t.Helper()
		return command(t, "", nil, "doctor", "--redis", acl.as("nodes"), "--origin", source, "--node", node)
	}
	before, err := redistest.Contents(t.Context(), server.Client())
	if err != nil {
		t.Fatal(err)
	}
	says(t, look(), 0, "server: Redis 7.0.", "eviction: volatile-ttl", "memory: ", "rights: the stream: 5 commands tried", "writes of others: one was seen after",
		"by CLIENT TRACKING with pushes (RESP3)", "workers: 0 entries are pending", "dead letters: none", "origin: answers in ", "and has 9 users", "announcements: 0 wait", "clock of the origin: ", "node alone: ok", "clock of node alone: ")
	after, err := redistest.Contents(t.Context(), server.Client())
	if err != nil || len(after) != len(before) {
		t.Errorf("doctor left keys: %v, before %v, %v", after, before, err)
	}
	set("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	set("ACL", "SETUSER", "nodes", "-client|tracking", "-scan")
	says(t, look(), 1, "warning  eviction: allkeys-lru", "warning  writes of others: the server refuses CLIENT TRACKING and has no keyspace notifications", "SCAN is not allowed\n         totalCached stays -1.")
	set("XADD", "events:users:dead", "*", "entry", "1-1")
	set("ACL", "SETUSER", "nodes", "-evalsha")
	got := look()
	says(t, got, 2, "FAILURE  rights: scripts: EVALSHA is not allowed", "warning  dead letters: 1")
	if strings.Contains(got.stdout, "CHANGE-nodes") {
		t.Error("the password is shown")
	}
}

// TestDoctorOfWhatIsNotThere has nothing answer.
func TestDoctorOfWhatIsNotThere(t *testing.T) {
	got := command(t, "", nil, "doctor", "--redis", "redis://127.0.0.1:1", "--origin", "http://127.0.0.1:1", "--node", "http://127.0.0.1:1", "--json")
	var found []struct{ Grade, What, Found, Means string }
	if err := json.Unmarshal([]byte(got.stdout), &found); err != nil || len(found) != 3 || exitCode(got.err) != 2 {
		t.Errorf("%+v, %v; want three failures", got, err)
	}
	for _, f := range found {
		if f.Grade != "failure" || f.Means == "" || !strings.Contains(f.Found, "refused") {
			t.Errorf("%+v; want that the connection was refused", f)
		}
	}
	if got := command(t, "", nil, "doctor"); exitCode(got.err) != exitUsage || !strings.Contains(got.err.Error(), "nothing to look at") {
		t.Errorf("doctor of nothing: %+v", got)
	}
}

// TestDoctorJudges has what servers may say judged.
func TestDoctorJudges(t *testing.T) {
	of := func(do func(*findings)) finding {
		var f findings
		do(&f)
		return f[0]
	}
	kind := func(lines ...string) finding {
		return of(func(f *findings) { redisLook{findings: f}.kind(infoOf("run_id:x\r\n"+strings.Join(lines, "\r\n")), "") })
	}
	clock := func(off time.Duration) finding {
		return of(func(f *findings) { f.clocks("clock", off, time.Millisecond) })
	}
	health := func(body string, took time.Duration) finding {
		return of(func(f *findings) {
			d := doctor{program: &program{}}
			d.originHealth(client.Answer{Status: 200, Header: http.Header{}, Body: []byte(body)}, nil, took)
			*f = d.findings
			if last := d.findings[len(d.findings)-1]; last.Grade > fine {
				*f = findings{last}
			}
		})
	}
	for i, c := range []struct {
		got   finding
		grade grade
		found string
	}{
		{kind("redis_version:4.0.1"), failing, "Redis 4"}, {kind("redis_version:5.0.1"), lossy, "Redis 5"}, {kind("redis_version:6.0.1"), lossy, "Redis 6.0"},
		{kind("redis_version:6.2.1"), lossy, "Redis 6.2"}, {kind("redis_version:8.0.1"), fine, "Redis 8"},
		{kind("redis_version:7.2.4", "server_name:valkey", "valkey_version:8.0.1"), fine, "Valkey 8.0.1"},
		{kind("redis_version:7.4.0", "dragonfly_version:df-v1"), lossy, "Dragonfly"}, {kind("redis_version:7.2.0", "rlec_version:7.8"), lossy, "Redis Software"},
		{kind("redis_version:7.1.0", "os:Amazon ElastiCache"), lossy, "ElastiCache"}, {kind(), lossy, "does not tell its version"},
		{of(func(f *findings) { redisLook{findings: f}.kind(nil, "") }), lossy, "does not say who it is"},
		{of(func(f *findings) { redisLook{findings: f}.role(map[string]string{"role": "slave"}, "") }), failing, "slave"},
		{of(func(f *findings) {
			redisLook{findings: f}.eviction(map[string]string{"maxmemory": "9", "maxmemory_policy": "noeviction"}, "")
		}), lossy, "noeviction"},
		{clock(0), fine, "0s ahead"}, {clock(-2 * time.Second), lossy, "2s behind"}, {clock(2 * time.Minute), failing, "2m0s ahead"},
		{health(`{"status":"ok","users":3}`, time.Millisecond), fine, "3 users"}, {health(`{"status":"ok"}`, 2*time.Second), lossy, "answers in 2s"},
		{health(`<html>`, 0), lossy, "not as an edgecache origin"}, {health(`{"backlogAgeMs":20000,"relay":{}}`, 0), lossy, "oldest for 20s"},
		{health(`{"relay":{"down":true}}`, 0), lossy, "0 wait"},
	} {
		if c.got.Grade != c.grade || !strings.Contains(c.got.Found, c.found) || c.got.Means == "" {
			t.Errorf("%d: %+v; want %v, %q", i, c.got, c.grade, c.found)
		}
	}
}
