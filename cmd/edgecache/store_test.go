package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/tier/kv"
)

// A node that is restarted with a store answers from it; while it runs nobody else has it; what it
// leaves can be looked at and compacted. Without Redis and the origin it starts, and marks what it
// answers.
func TestServeWithAStore(t *testing.T) {
	server := redistest.Server(t)
	defer http.DefaultClient.CloseIdleConnections()
	dir, data := t.TempDir(), t.TempDir()
	args := []string{"serve", "--redis", server.URL(), "--listen", "127.0.0.1:0", "--origin-listen", "127.0.0.1:0", "--data-dir", data,
		"--sample-users", "5", "--store-dir", dir, "--store-mib", "64", "--log-level", "error"}
	serve := func(args []string, f func(node string)) {
		t.Helper()
		running := start(t, args...)
		f(running.urls()[0])
		running.end(t)
	}
	serve(args, func(node string) {
		for _, id := range []string{"1", "2", "3"} {
			status(t, node, id)
		}
		eventually(t, "the store", func() bool { return storeStats(t, node).Entries == 3 && storeStats(t, node).Pending == 0 })
		if got := command(t, "", nil, "store", "stat", "--dir", dir); got.err == nil || !strings.Contains(got.err.Error(), "in use by another process") {
			t.Errorf("stat of a store in use: %v\n%s", got.err, got.stdout)
		}
	})
	for _, name := range []string{"stat", "verify"} {
		if got := command(t, "", nil, "store", name, "--dir", dir); got.err != nil || !strings.Contains(got.stdout, "profiles    3\n") {
			t.Errorf("store %s: %v\n%s", name, got.err, got.stdout)
		}
	}
	var r kv.Report
	got := command(t, "", nil, "store", "stat", "--json", "--dir", dir)
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil || r.Entries != 3 || !r.Clean {
		t.Errorf("store stat --json: %+v, %v", r, err)
	}
	if got := command(t, "", nil, "store", "compact", "--dir", dir); got.err != nil || !strings.Contains(got.stdout, " now\n") {
		t.Errorf("store compact: %v\n%s", got.err, got.stdout)
	}
	serve(args, func(node string) {
		eventually(t, "the store", func() bool { return strings.Contains(status(t, node, "2"), "detail=L1") })
		if got := command(t, "", nil, "why", "2", "--node", node); got.err != nil || !strings.Contains(got.stdout, "\n  on disk:   version ") {
			t.Errorf("why: %v\n%s", got.err, got.stdout)
		}
		shown := command(t, "", nil, "cluster", "--node", node)
		if shown.err != nil || !strings.Contains(shown.stdout, "STORE") || !strings.Contains(shown.stdout, "3 users") {
			t.Errorf("cluster: %v\n%s", shown.err, shown.stdout)
		}
		if got := storeStats(t, node); got.Entries < 3 {
			t.Errorf("%+v", got)
		}
	})
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	alone := []string{"serve", "--redis", server.URL(), "--listen", "127.0.0.1:0", "--origin", "http://127.0.0.1:1", "--store-dir", dir}
	began := time.Now()
	serve(alone, func(node string) {
		if got := status(t, node, "3"); !strings.Contains(got, "detail=stale") {
			t.Errorf("without Redis and the origin: %s", got)
		}
		t.Logf("started alone after %v", time.Since(began))
	})
}

// status returns what a node says of where its answer about a user came from.
func status(t *testing.T, node, id string) string {
	t.Helper()
	answer, err := http.Get(node + "/v1/users/" + id)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.Header.Get("Cache-Status")
}

func storeStats(t *testing.T, url string) node.StoreStats {
	t.Helper()
	got := command(t, "", nil, "stats", "--node", url)
	var stats node.Stats
	if err := json.Unmarshal([]byte(got.stdout), &stats); err != nil || stats.Store == nil {
		t.Fatalf("stats: %v, %v\n%s", got.err, err, got.stdout)
	}
	return *stats.Store
}
