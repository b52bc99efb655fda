package main

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

// pprofOf asks for a profile, and returns the status and the body.
func pprofOf(t *testing.T, addr string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+addr+"/debug/pprof/goroutine?debug=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// TestDebugIsForAdmins asks the listener of profiles with and without tokens.
func TestDebugIsForAdmins(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	addr := freePort(t)
	node := start(t, append([]string{"serve", "--debug-addr", addr}, anyPort...)...)
	if status, text := pprofOf(t, addr); status != 200 || !strings.Contains(text, "goroutine profile:") {
		t.Errorf("without tokens: %d %.80s", status, text)
	}
	if status, _ := pprofOf(t, addr, "Host", "evil.example"); status != 421 {
		t.Errorf("of another host: %d; want 421", status)
	}
	resp, err := http.Get(node.urls()[0] + "/debug/pprof/")
	if err != nil {
		t.Fatal(err)
	}
	readAll(t, resp.Body)
	if resp.StatusCode != 404 {
		t.Errorf("the API serves profiles: %d", resp.StatusCode)
	}
	secret := map[string]string{"JWT_SECRET": strings.Repeat("s", 32)}
	for _, listen := range []string{"0.0.0.0:0", "10.0.0.1:6060"} {
		got := command(t, "", nil, append([]string{"serve", "--debug-addr", listen}, anyPort...)...)
		if exitCode(got.err) != exitUsage || !strings.Contains(got.err.Error(), "nothing checks who asks") {
			t.Errorf("on %s without tokens: %+v", listen, got)
		}
	}
	guarded := freePort(t)
	startWith(t, secret, "origin", "--redis", redistest.Server(t).URL(), "--listen", "127.0.0.1:0", "--db", "sqlite:"+filepath.Join(t.TempDir(), "u.db"), "--debug-addr", guarded)
	for role, want := range map[string]int{"": 401, "read": 403, "write": 403, "admin": 200} {
		var header []string
		if role != "" {
			token := command(t, "", secret, "token", "--role", role)
			header = []string{"Authorization", "Bearer " + strings.TrimSpace(token.stdout)}
		}
		if status, text := pprofOf(t, guarded, header...); status != want {
			t.Errorf("with the role %q: %d %.80s; want %d", role, status, text, want)
		}
	}
}
