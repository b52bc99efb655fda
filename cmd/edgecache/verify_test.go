package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream"
)

func TestVerifyOfAHealthyCluster(t *testing.T) {
	server := redistest.Server(t)
	defer http.DefaultClient.CloseIdleConnections()
	truth := start(t, "origin", "--listen", "127.0.0.1:0", "--redis", server.URL(), "--sample-users", "20",
		"--db", "sqlite:"+filepath.Join(t.TempDir(), "users.db"))
	var nodes []string
	for range 2 {
		serve := start(t, "serve", "--listen", "127.0.0.1:0", "--redis", server.URL(), "--origin", truth.urls()[0], "--stream-max-len", "1000")
		nodes = append(nodes, serve.urls()[0])
	}
	verify := running(t, "verify", "--redis", server.URL(), "--nodes", strings.Join(nodes, ","), "--after", "500ms,700ms", "--window", "1s",
		"--metrics", "127.0.0.1:0", "--content", "--origin", truth.urls()[0])
	eventually(t, "verify to be ready", func() bool { return strings.Contains(verify.stderr.String(), "watching 2 nodes") })
	put(t, truth.urls()[0]+"/7", `{"matricule":"1-A"}`)
	if got := command(t, "", nil, "invalidate", "8", "--node", nodes[0]); got.err != nil {
		t.Fatal(got.err)
	}
	_, rest, _ := strings.Cut(verify.stderr.String(), "metrics on ")
	url, _, _ := strings.Cut(rest, "\n")
	for _, want := range []string{fmt.Sprintf(`edgecache_verify_checks_total{after="500ms",node=%q} 2`, nodes[0]), "edgecache_verify_changes_total 2"} {
		eventually(t, want, func() bool {
			resp, err := http.Get(url)
			return err == nil && strings.Contains(readAll(t, resp.Body), want)
		})
	}
	eventually(t, "a window", func() bool { return strings.Contains(verify.stdout.String(), " reads/s") })
	eventually(t, "answers compared", func() bool {
		return strings.Contains(verify.stdout.String(), "content  no mismatch in 4 answers for 2 users")
	})
	verify.end(t) // without an error
	text := verify.stdout.String()
	_, total, _ := strings.Cut(text, "\nTOTAL of ")
	if !strings.Contains(total, "  2 changes\n  500ms  no violation in 4 checks: at least 0.60 nines") || strings.Contains(text, "VIOLATION") {
		t.Errorf("said\n%s", text)
	}
}

// staleNode answers every batch with version 1 from L1.
func staleNode(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/users/batch", func(w http.ResponseWriter, r *http.Request) {
		var body struct{ IDs []string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Errorf("the request: %v", err)
		}
		users, sources := map[string]any{}, map[string]any{}
		for _, id := range body.IDs {
			users[id] = map[string]any{"id": id, "updatedAt": 1}
			sources[id] = map[string]any{"tier": "L1", "ageMs": 60_000}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"users": users, "missing": []string{}, "errors": map[string]string{}, "sources": sources})
	})
	mux.HandleFunc("GET /v1/users/{id}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"1-0-j"`)
		_, _ = io.WriteString(w, `{"updatedAt":1}`)
	})
	node := httptest.NewServer(mux)
	t.Cleanup(node.Close)
	return node.URL
}

func TestVerifyEndsWith1AfterAViolation(t *testing.T) {
	server := redistest.Server(t)
	node := staleNode(t)
	for _, form := range []struct {
		args []string
		want []string
	}{
		{nil, []string{"VIOLATION  user 7 on " + node, "want  version 5 or above, by entry ", "got   version 1 from L1, 1m0s old", "TOTAL of ",
			"1 of 1 checks violated: 0.00 nines"}},
		{[]string{"--json"}, []string{`{"violation":{"node":"` + node + `","user":"7"`, `{"total":{"from":"`, `"violations":1`}},
	} {
		verify := running(t, append([]string{"verify", "--redis", server.URL(), "--nodes", node, "--after", "100ms"}, form.args...)...)
		eventually(t, "verify to be ready", func() bool { return strings.Contains(verify.stderr.String(), "watching 1 nodes") })
		values, err := stream.Encode(stream.Event{
			Kind: profile.Updated, UserID: "7", Version: 5, Profile: &profile.Profile{ID: "7", FullName: "Zoé", UpdatedAt: 5},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Client().XAdd(t.Context(), &redis.XAddArgs{Stream: stream.Name, Values: values}).Err(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the violation", func() bool { return strings.Contains(verify.stdout.String(), form.want[0]) })
		verify.stop()
		err = <-verify.done
		verify.done <- nil // for the end of the test
		if exitCode(err) != 1 || err.Error() != "violated checks: 1" {
			t.Errorf("ended with %d: %v", exitCode(err), err)
		}
		for _, want := range form.want {
			if !strings.Contains(verify.stdout.String(), want) {
				t.Errorf("no %q in\n%s", want, verify.stdout.String())
			}
		}
	}
}
