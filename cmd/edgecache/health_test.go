package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHealth(t *testing.T) {
	serve := start(t, append([]string{"serve", "--sample-users", "5"}, anyPort...)...)
	node, origin := serve.urls()[0], serve.urls()[1]
	for _, url := range []string{node, node + "/", node + "/livez", origin + "/health"} {
		if got := command(t, "", nil, "health", "--node", url); got.err != nil || got.stdout != "ok\n" {
			t.Errorf("%s: %+v", url, got)
		}
	}
	port := node[strings.LastIndexByte(node, ':')+1:]
	if got := command(t, "", map[string]string{"CHAT_FILE_SERVICE_PORT": port}, "health"); got.err != nil {
		t.Errorf("by its port: %+v", got)
	}
	if got := command(t, "", nil, "health", "--node", node+"/nowhere"); exitCode(got.err) != 1 {
		t.Errorf("a path that is not there: %+v", got)
	}
	serve.end(t)
	if got := command(t, "", nil, "health", "--node", node); exitCode(got.err) != 1 || !strings.Contains(got.err.Error(), "cannot reach the node") {
		t.Errorf("after its end: %+v", got)
	}
	if got := command(t, "", nil, "health", "--node", "http://"+silentPort(t), "--timeout", "50ms"); exitCode(got.err) != 1 ||
		!strings.Contains(got.err.Error(), "no answer within 50ms") {
		t.Errorf("nobody answers: %+v", got)
	}
}

// What a node says while it starts and while it stops.
func TestHealthOfANodeThatIsNotReady(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintf(w, `{"title":"Not ready","detail":"%s: closing"}`, r.URL.Path)
	}))
	defer server.Close()
	got := command(t, "", nil, "health", "--node", server.URL)
	if exitCode(got.err) != 1 || got.stdout != "" || got.err.Error() != "/readyz: closing (503 Service Unavailable)" {
		t.Errorf("%+v", got)
	}
}
