package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

// An origin as teams have it: no /health, ids in another field, users in a wrap, and for one of
// them an answer of another shape.
func TestServeBesideAForeignOrigin(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/100001B":
			fmt.Fprint(w, `{"success":true,"user":{"id":1,"matricule":"100001B","nom":"Dupont"}}`)
		case "/100002B":
			fmt.Fprint(w, `{"success":true,"profil":{"nom":"Dupont"}}`)
		default:
			http.NotFound(w, r)
		}
	}))
	defer service.Close()
	url := start(t, "serve", "--redis", redistest.Server(t).URL(), "--origin", service.URL, "--origin-id-field", "matricule",
		"--origin-health", "/status", "--listen", "127.0.0.1:0").urls()[0]
	if got := command(t, "", nil, "get", "100001B", "--node", url); got.err != nil || !strings.Contains(got.stdout, `"nom":"Dupont"`) {
		t.Errorf("a user of another shape: %+v", got)
	}
	for range 3 {
		got := command(t, "", nil, "get", "100002B", "--node", url)
		if got.err == nil || !strings.Contains(got.err.Error(), `no profile`) || !strings.Contains(got.err.Error(), `the fields "profil", "success"`) {
			t.Errorf("no profile: %+v", got)
		}
	}
	for _, args := range [][]string{{"--origin-id-field", "x"}, {"--origin-health", "x", "--origin", "http://h"}} {
		if got := command(t, "", nil, append([]string{"serve"}, args...)...); exitCode(got.err) != exitUsage {
			t.Errorf("serve %v: %+v", args, got)
		}
	}
}

// Clients of the old service find its shapes at our origin.
func TestOriginForForeignClients(t *testing.T) {
	url := start(t, "origin", "--redis", redistest.Server(t).URL(), "--db", "sqlite:"+filepath.Join(t.TempDir(), "u.db"), "--sample-users", "3",
		"--listen", "127.0.0.1:0", "--batch-shape", "array", "--ignore-unknown").urls()[0]
	resp, err := http.Get(url + "/batch?ids=1,2")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body := make([]byte, 64)
	n, _ := resp.Body.Read(body)
	if text := string(body[:n]); !strings.HasPrefix(text, `{"users":[{"id":"1"`) {
		t.Errorf("a batch is %s", text)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url+"/1", strings.NewReader(`{"nom":"N","role":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	put, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer put.Body.Close()
	if put.StatusCode != 200 {
		t.Errorf("a change with an unknown field: %s", put.Status)
	}
	if got := command(t, "", nil, "origin", "--batch-shape", "list", "--redis", "redis://h"); exitCode(got.err) != exitUsage {
		t.Errorf("--batch-shape list: %+v", got)
	}
}
