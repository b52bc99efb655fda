package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/pki"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

const testSecret = "0123456789abcdef0123456789abcdef"

// startWith is start with an environment.
func startWith(t *testing.T, env map[string]string, args ...string) *background {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	b := &background{stop: cancel, done: make(chan error, 1)}
	p := &program{stdin: strings.NewReader(""), stdout: &b.stdout, stderr: &b.stderr, getenv: func(name string) string { return env[name] }}
	go func() { b.done <- p.run(ctx, args) }()
	t.Cleanup(func() { b.end(t) })
	b.await(t, args)
	return b
}

// freePort returns HOST:PORT that nobody listens on, for addresses that must be known before.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// A node and an origin with mTLS and tokens, as an operator would run them on a network of other
// people.
func TestNodeAndOriginWithTLSAndTokens(t *testing.T) {
	redis := redistest.Server(t)
	authority := pki.New(t)
	originCert, nodeCert, client := authority.Issue(t, "origin"), authority.Issue(t, "node"), authority.Issue(t, "client")
	env := map[string]string{"JWT_SECRET_FILE": tempFile(t, "jwt", testSecret+"\n")}
	originAddr, nodeAddr := freePort(t), freePort(t)
	startWith(t, env, "origin", "--listen", originAddr, "--db", "sqlite:"+t.TempDir()+"/u.db", "--redis", redis.URL(), "--sample-users", "10",
		"--tls-cert", originCert.Cert, "--tls-key", originCert.Key, "--tls-client-ca", authority.File)
	node := startWith(t, env, "serve", "--listen", nodeAddr, "--redis", redis.URL(), "--origin", "https://"+originAddr,
		"--origin-ca", authority.File, "--origin-cert", nodeCert.Cert, "--origin-key", nodeCert.Key,
		"--tls-cert", nodeCert.Cert, "--tls-key", nodeCert.Key, "--tls-client-ca", authority.File)
	if out := node.stdout.String(); !strings.Contains(out, "ready on https://"+nodeAddr) || !strings.Contains(out, "edgecache token --role read") {
		t.Errorf("the greeting: %s", out)
	}
	mtls := []string{"--node", "https://" + nodeAddr, "--node-ca", authority.File, "--node-cert", client.Cert, "--node-key", client.Key}
	ask := func(env map[string]string, args ...string) outcome {
		return command(t, "", env, append(args, mtls...)...)
	}
	if got := ask(env, "get", "7"); got.err != nil || !strings.Contains(got.stdout, `"id":"7"`) {
		t.Errorf("get: %q, %v", got.stdout, got.err)
	}
	token := strings.TrimSpace(command(t, "", env, "token", "--role", "invalidate", "--ttl", "1m").stdout)
	bearer := map[string]string{"EDGECACHE_TOKEN": token}
	if got := ask(bearer, "invalidate", "7"); got.err != nil {
		t.Errorf("invalidate with a token: %v", got.err)
	}
	if got := ask(nil, "batch", "7", "--token-file", tempFile(t, "token", token)); got.err != nil || !strings.Contains(got.stdout, `"7"`) {
		t.Errorf("batch with a token from a file: %q, %v", got.stdout, got.err)
	}
	if got := ask(bearer, "prewarm", "--detach"); got.err == nil || !strings.Contains(got.err.Error(), "needs the role admin") {
		t.Errorf("prewarm with a token of another role: %v", got.err)
	}
	if got := ask(nil, "get", "7"); got.err == nil || !strings.Contains(got.err.Error(), "401") {
		t.Errorf("get without a token: %v", got.err)
	}
	if got := ask(nil, "health"); got.err != nil {
		t.Errorf("health without a token: %v", got.err)
	}
	if got := command(t, "", env, "get", "7", "--node", "https://"+nodeAddr, "--node-ca", authority.File); got.err == nil || !strings.Contains(got.err.Error(), "certificate required") {
		t.Errorf("get without a certificate: %v", got.err)
	}
}

// A node whose token the origin does not take is no node that is ready and answers 503.
func TestNodeNamesTheTokenThatTheOriginRefuses(t *testing.T) {
	redis := redistest.Server(t)
	addr := freePort(t)
	startWith(t, map[string]string{"JWT_SECRET": testSecret}, "origin", "--listen", addr, "--db", "sqlite:"+t.TempDir()+"/u.db", "--redis", redis.URL(), "--sample-users", "1")
	serve := func(env map[string]string, more ...string) error {
		return command(t, "", env, append([]string{"serve", "--listen", "127.0.0.1:0", "--redis", redis.URL(), "--origin", "http://" + addr}, more...)...).err
	}
	for says, err := range map[string]error{
		"no token was sent; the node needs the origin's JWT_SECRET": serve(nil),
		"signed with this node's JWT_SECRET":                        serve(map[string]string{"JWT_SECRET": testSecret + "x"}),
		"the token is that of --origin-token-file":                  serve(nil, "--origin-token-file", tempFile(t, "token", "a.b.c")),
	} {
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "401 Unauthorized") {
			t.Errorf("%v, want 401 and %q", err, says)
		}
	}
}

func TestSecureSettingsThatAreRefused(t *testing.T) {
	withSecret := map[string]string{"JWT_SECRET": testSecret}
	for line, says := range map[string]string{
		"serve --listen 0.0.0.0:0":                         "give it a secret (JWT_SECRET)",
		"serve --default-role root":                        "--default-role",
		"serve --tokens-not-before yesterday":              "--tokens-not-before",
		"serve --token-leeway 1h":                          "at most 5m",
		"serve --tls-key k":                                "--tls-cert",
		"serve --tls-cert /nonexistent/c --tls-key k":      "no such file",
		"serve --trusted-proxies 10.0.0.1":                 "CIDR",
		"serve --cors-origin *":                            "https://chat.example",
		"serve --cors-origin https://a.example/path":       "without a path",
		"serve --open /nothing":                            "want some of",
		"serve --rate-limit -1":                            "requests a second",
		"serve --rate-burst 5":                             "without a rate",
		"serve --client-batches -1":                        "0 or more",
		"serve --origin-timeout 1ms":                       "want 50ms to 30s",
		"serve --max-stale -1s":                            "--max-stale",
		"serve --l1-ttl 1ms":                               "--l1-ttl",
		"serve --l2-ttl 1s":                                "--l2-ttl",
		"serve --negative-ttl 1h":                          "want 1ms to 10m",
		"serve --redis-ca x":                               "are for --redis URL",
		"serve --redis redis://127.0.0.1:1 --redis-ca /x":  "for TLS",
		"serve --redis rediss://127.0.0.1:1 --redis-ca /x": "no such file",
		"serve --origin-ca x":                              "are for --origin URL",
		"origin --redis redis://127.0.0.1:1 --listen 0.0.0.0:0 --db sqlite:/nonexistent/x": "give it a secret (JWT_SECRET)",
		"token --role root":           "--role",
		"token --ttl 0s":              "--ttl",
		"get 1 --token-file /none":    "--token-file",
		"get 1 --node-ca /none":       "--node-ca",
		"get 1 --node http://":        "no URL of a node",
		"get 1 --timeout -1s":         "--timeout",
		"stats --node-cert /none":     "go together",
		"events pending --redis-ca x": "for TLS",
	} {
		env := map[string]string(nil)
		if strings.HasPrefix(line, "token") {
			env = withSecret
		}
		got := command(t, "", env, strings.Fields(line)...)
		if got.err == nil || !strings.Contains(got.err.Error(), says) || exitCode(got.err) != exitUsage {
			t.Errorf("%s: %v, want a usage error with %q", line, got.err, says)
		}
	}
}

// An origin that takes longer than --origin-timeout is a 503 that says so; with a longer one the
// node waits.
func TestOriginTimeoutIsASetting(t *testing.T) {
	redis := redistest.Server(t)
	slow := slowOrigin(t, 400*time.Millisecond)
	node := func(timeout string) string {
		b := start(t, "serve", "--listen", "127.0.0.1:0", "--redis", redis.URL(), "--origin", slow, "--origin-timeout", timeout)
		return b.urls()[0]
	}
	if got := command(t, "", nil, "get", "1", "--node", node("100ms")); got.err == nil || !strings.Contains(got.err.Error(), "within 100ms (--origin-timeout)") {
		t.Errorf("100 ms: %v", got.err)
	}
	if got := command(t, "", nil, "get", "2", "--node", node("2s")); got.err != nil || !strings.Contains(got.stdout, `"id":"2"`) {
		t.Errorf("2 s: %q, %v", got.stdout, got.err)
	}
}

// slowOrigin answers for every user, after a while; for its health at once.
func slowOrigin(t *testing.T, after time.Duration) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := strings.TrimPrefix(r.URL.Path, "/")
		if id == "health" || id == "0" {
			_, _ = io.WriteString(w, `{"status":"ok"}`)
			return
		}
		select {
		case <-time.After(after):
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, `{"id":"`+id+`","nom":"x","updatedAt":1700000000000}`)
	}))
	t.Cleanup(server.Close)
	return server.URL
}
