package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

// A node and an origin that start before their Redis wait for it.
func TestStartWaitsForRedis(t *testing.T) {
	server := redistest.Server(t)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	origin := running(t, "origin", "--redis", server.URL(), "--db", "sqlite:"+filepath.Join(t.TempDir(), "u.db"), "--listen", "127.0.0.1:0")
	node := running(t, append([]string{"serve", "--redis", server.URL()}, anyPort...)...)
	for _, b := range []*background{origin, node} {
		eventually(t, "the warning", func() bool { return strings.Contains(b.stderr.String(), "not there yet, waiting") })
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	for _, b := range []*background{origin, node} {
		eventually(t, "the start", func() bool { return strings.Contains(b.stdout.String(), "ready on") })
		if n := strings.Count(b.stderr.String(), "not there yet"); n != 1 {
			t.Errorf("%d lines about waiting:\n%s", n, b.stderr.String())
		}
	}
}

// A Redis that reads its data back answers LOADING to everything.
func TestStartWaitsForARedisThatIsLoading(t *testing.T) {
	server := redistest.ServerWith(t, redistest.Options{Lines: []string{
		"key-load-delay 2000", "loading-process-events-interval-bytes 1024"}})
	pipe := server.Client().Pipeline()
	for i := range 1500 {
		pipe.Set(t.Context(), fmt.Sprint("key", i), strings.Repeat("x", 100), 0)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(server.Client().Save(t.Context()).Err(), server.Kill()); err != nil {
		t.Fatal(err)
	}
	up := make(chan error, 1)
	go func() { up <- server.Restart() }()
	probe := redis.NewClient(&redis.Options{Addr: server.Addr, Protocol: 2, MaxRetries: -1})
	defer probe.Close()
	eventually(t, "LOADING", func() bool {
		err := probe.Ping(t.Context()).Err()
		return err != nil && strings.Contains(err.Error(), "LOADING")
	})
	node := start(t, append([]string{"serve", "--redis", server.URL()}, anyPort...)...)
	if !strings.Contains(node.stderr.String(), "LOADING") {
		t.Errorf("it did not wait:\n%s", node.stderr.String())
	}
	if err := <-up; err != nil {
		t.Fatal(err)
	}
}

// What time does not mend is not waited for, and --wait has an end.
func TestStartDoesNotWaitForAPassword(t *testing.T) {
	server := redistest.ServerWith(t, redistest.Options{Password: "right"})
	began := time.Now()
	got := command(t, "", nil, "serve", "--redis", strings.Replace(server.URL(), "right", "wrong", 1), "--listen", "127.0.0.1:0", "--origin-listen", "127.0.0.1:0")
	if exitCode(got.err) != exitFailed || !strings.Contains(got.err.Error(), "WRONGPASS") || time.Since(began) > 15*time.Second {
		t.Errorf("a wrong password: %+v after %v", got, time.Since(began))
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	got = command(t, "", nil, "serve", "--redis", server.URL(), "--wait", "1s", "--listen", "127.0.0.1:0", "--origin-listen", "127.0.0.1:0")
	if exitCode(got.err) != exitFailed || !strings.Contains(got.err.Error(), "cannot reach Redis") {
		t.Errorf("nobody within 1 s: %+v", got)
	}
	if got := command(t, "", nil, "origin", "--redis", "redis://h", "--wait=-1s"); exitCode(got.err) != exitUsage {
		t.Errorf("--wait -1s: %+v", got)
	}
}

// What a pooler breaks is explained; what else PostgreSQL refuses is not blamed on one.
func TestAPoolerIsNamed(t *testing.T) {
	for code, named := range map[string]bool{"26000": true, "42P05": true, "28P01": false} {
		err := openError("postgres://u:s3cr3t@h/x", fmt.Errorf("source: %w", &pgconn.PgError{Code: code, Message: "no"}))
		if got := strings.Contains(err.Error(), "default_query_exec_mode=exec"); got != named || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v", code, err)
		}
	}
}
