package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/ui"
)

// Where there is no terminal, top prints one snapshot and ends.
func TestTopOfARunningNode(t *testing.T) {
	b := start(t, "serve", "--listen", "127.0.0.1:0", "--origin-listen", "127.0.0.1:0", "--sample-users", "3")
	url := regexp.MustCompile(`http://\S+`).FindString(b.stdout.String())
	got := command(t, "", nil, "top", "--node", url)
	if got.err != nil || !strings.Contains(got.stdout, "✓ good  freshness") || !strings.Contains(got.stdout, "NODES    alone 1024 ranges") ||
		strings.Contains(got.stdout, "\x1b") {
		t.Errorf("%v\n%s", got.err, got.stdout)
	}
	var s ui.Snapshot
	if got := command(t, "", nil, "top", "--json", "--node", url); got.err != nil || json.Unmarshal([]byte(got.stdout), &s) != nil || len(s.Owners) != 1024 {
		t.Errorf("--json: %v %.200s", got.err, got.stdout)
	}
	if got := command(t, "", nil, "top", "--node", "http://"+closedPort(t)); got.err == nil || !strings.Contains(got.err.Error(), "cannot reach the node") {
		t.Errorf("nobody there: %v", got.err)
	}
}

// What a node says steers no terminal, and one that is none is told.
func TestTopOfSomethingElse(t *testing.T) {
	for answer, want := range map[string]string{"data: {\n\n": "no snapshot", "": "", "data: " + strings.Repeat("x", maxSnapshot) + "\n\n": "too long"} {
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/lookups" {
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte("{}"))
				return
			}
			_, _ = w.Write([]byte(answer))
		}))
		got := command(t, "", nil, "top", "--node", other.URL)
		if (got.err == nil) != (want == "") || want != "" && !strings.Contains(got.err.Error(), want) {
			t.Errorf("%.20q: %v", answer, got.err)
		}
		other.Close()
	}
}

func TestTopLines(t *testing.T) {
	before := ui.Snapshot{At: 1000, Stats: node.Stats{Cache: tier.Stats{L1Hits: 100}}}
	now := ui.Snapshot{At: 3000, Stats: node.Stats{Cache: tier.Stats{L1Hits: 280, OriginLoads: 20}},
		Checks:  []ui.Check{{Name: "redis", State: ui.Bad, Says: "Redis does not answer.\x1b[2J"}},
		Cluster: node.Cluster{Self: "a", Members: []node.Member{{Name: "a", Ranges: 1024}}, Gone: []node.Member{{Name: "b", State: "gone"}}},
		Latency: map[string]ui.Latency{"L1": {Lookups: 180, P50: 120, P99: 1500, Counts: []int{8, 4, 1, 0}}},
		Hottest: []ui.HotUser{{ID: "12", Share: 0.5}},
		Demo:    &ui.DemoState{Promises: []ui.Promise{{Says: "No read fails.", Kept: false, Seen: "3 did"}}}}
	text := strings.Join(topLines(before, now, false), "\n")
	for _, want := range []string{"100 lookups/s, 90.0 % from memory", "✕ bad   redis          Redis does not answer.·[2J",
		"L1              90/s   90.0 %     120ns     1.5µs  █▄▁", "origin          10/s   10.0 %", "HOTTEST  12 50.0 %", "a 1024 ranges, b gone", "✕ broken No read fails. 3 did"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if coloured := strings.Join(topLines(before, now, true), "\n"); !strings.Contains(coloured, "\x1b[31m✕ bad \x1b[0m") {
		t.Errorf("no colours in\n%q", coloured)
	}
}
