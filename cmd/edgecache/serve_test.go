package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

var anyPort = []string{"--listen", "127.0.0.1:0", "--origin-listen", "127.0.0.1:0"}

func put(t *testing.T, url, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if text := readAll(t, resp.Body); resp.StatusCode != http.StatusOK {
		t.Fatalf("PUT %s: %d %s", url, resp.StatusCode, text)
	}
}

// servesCommands has the commands of a client do what they say; ask runs one, with this on its
// input.
func servesCommands(t *testing.T, ask func(stdin string, args ...string) outcome) {
	t.Run("get of a missing user is 1 and names it", func(t *testing.T) {
		got := ask("", "get", "51", "12")
		if exitCode(got.err) != 1 || !strings.Contains(got.err.Error(), `no user has the id "51"`) || !strings.Contains(got.stdout, `"id":"12"`) {
			t.Errorf("%+v", got)
		}
	})
	t.Run("batch as JSON", func(t *testing.T) {
		got := ask("1,2\n3 51", "batch", "--file", "-", "4")
		if exitCode(got.err) != 1 || !strings.Contains(got.err.Error(), "1 of 5 users are missing") || !strings.Contains(got.stdout, `"missing":["51"]`) {
			t.Errorf("%+v", got)
		}
	})
	t.Run("batch as a table", func(t *testing.T) {
		got := ask("", "batch", "1", "a b", "51", "1", "--output", "table")
		lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
		if len(lines) != 4 || !strings.HasPrefix(lines[0], "ID ") || !strings.Contains(lines[2], "invalid id") || !strings.HasSuffix(lines[3], "missing") {
			t.Errorf("%s", got.stdout)
		}
	})
	t.Run("put takes a newer profile and refuses an older", func(t *testing.T) {
		whole := `{"id":"12","nom":"Ngo","prenom":"Awa","updatedAt":` + strconv.FormatInt(time.Now().Add(time.Hour).UnixMilli(), 10) + `}`
		if got := ask(whole, "put", "12"); got.err != nil {
			t.Fatalf("%+v", got)
		}
		if got := ask("", "get", "12"); !strings.Contains(got.stdout, `"fullName":"Awa Ngo"`) {
			t.Errorf("after put: %+v", got)
		}
		if got := ask("", "put", "12", `{"nom":"Old","updatedAt":5}`); exitCode(got.err) != 1 || !strings.Contains(got.err.Error(), "409") {
			t.Errorf("an older one: %+v", got)
		}
		if got := ask("", "put", "12", `{"nom":"New"}`); exitCode(got.err) != 1 || !strings.Contains(got.err.Error(), "updatedAt is missing") {
			t.Errorf("one without a version: %+v", got)
		}
	})
	t.Run("invalidate makes the origin answer again", func(t *testing.T) {
		if got := ask("", "invalidate", "12"); got.err != nil {
			t.Fatalf("%+v", got)
		}
		if got := ask("", "get", "12"); !strings.Contains(got.stdout, `"ministere":"MINSANTE"`) {
			t.Errorf("%+v", got)
		}
	})
	t.Run("stats count", func(t *testing.T) {
		if got := ask("", "stats"); got.err != nil || !strings.Contains(got.stdout, `"l1Hits":`) {
			t.Errorf("%+v", got)
		}
	})
}

// What the README promises: serve needs nothing, a second lookup is answered by L1, a change at the
// origin is in the next.
func TestServeWithNothing(t *testing.T) {
	serve := start(t, append([]string{"serve", "--sample-users", "50"}, anyPort...)...)
	defer http.DefaultClient.CloseIdleConnections()
	if !strings.Contains(serve.stdout.String(), "not for production") || strings.Count(serve.stdout.String(), "\n  curl ") != 2 {
		t.Errorf("the greeting is\n%s", serve.stdout.String())
	}
	node, origin := serve.urls()[0], serve.urls()[1]
	ask := func(stdin string, args ...string) outcome {
		return command(t, stdin, nil, append(args, "--node", node)...)
	}

	for _, tier := range []string{"fwd=miss; detail=origin", "hit; detail=L1"} {
		got := ask("", "get", "12", "--verbose")
		if got.err != nil || !strings.Contains(got.stdout, `"id":"12"`) || !strings.Contains(got.stderr, tier) {
			t.Fatalf("get 12: %+v; want it from %s", got, tier)
		}
	}
	put(t, origin+"/12", `{"ministere":"MINSANTE"}`)
	changed := time.Now() // the promise is 250 ms; this machine may be busy
	for got := ask("", "get", "12"); !strings.Contains(got.stdout, `"ministere":"MINSANTE"`); got = ask("", "get", "12") {
		if time.Since(changed) > 5*time.Second {
			t.Fatalf("after the change: %+v", got)
		}
	}

	servesCommands(t, ask)
	t.Run("another server is no node", func(t *testing.T) {
		got := command(t, "", nil, "get", "12", "--node", origin+"/health#")
		if exitCode(got.err) != 1 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("a port in use is an error that names it and its flag", func(t *testing.T) {
		for _, flag := range []string{"listen", "origin-listen"} {
			args := append(append([]string{"serve"}, anyPort...), "--"+flag, strings.TrimPrefix(node, "http://"))
			got := command(t, "", nil, args...)
			want := "cannot listen on " + strings.TrimPrefix(node, "http://") + ": the port is in use; choose another with --" + flag + " HOST:PORT"
			if exitCode(got.err) != 1 || got.err.Error() != want {
				t.Errorf("%s: %v; want %s", flag, got.err, want)
			}
		}
	})
}

// A real Redis and a source of truth of its own: the contract's hash, and a change that reaches the
// node.
func TestServeWithARealRedisAndOrigin(t *testing.T) {
	server := redistest.Server(t)
	defer http.DefaultClient.CloseIdleConnections()
	truth := start(t, "origin", "--listen", "127.0.0.1:0", "--redis", server.URL(), "--sample-users", "20",
		"--db", "sqlite:"+filepath.Join(t.TempDir(), "users.db"))
	origin := truth.urls()[0]
	serve := start(t, "serve", "--listen", "127.0.0.1:0", "--redis", server.URL(), "--origin", origin)
	if text := serve.stdout.String(); strings.Contains(text, "embedded") || strings.Contains(text, "production") {
		t.Errorf("the greeting is\n%s", text)
	}
	node := serve.urls()[0]
	if got := command(t, "", nil, "get", "7", "--node", node); got.err != nil {
		t.Fatalf("%+v", got)
	}
	put(t, origin+"/7", `{"matricule":"555555-Z"}`)
	if got := command(t, "", nil, "get", "7", "--node", node); !strings.Contains(got.stdout, `"matricule":"555555-Z"`) {
		t.Errorf("after the change: %+v", got)
	}
	fields, err := server.Client().HGetAll(t.Context(), "user:profile:7").Result()
	if err != nil || fields["matricule"] != "555555-Z" || fields["fullName"] == "" || fields["updatedAt"] == "" {
		t.Errorf("the hash in Redis is %v, %v", fields, err)
	}
}

// TestServeFencesItself cuts a node off from Redis, and from the news of a change. With the
// shortest fence it answers nothing older than 500 ms, where the default would for 3 s.
func TestServeFencesItself(t *testing.T) { canary.Judge(t, serveFencesItself) }

func serveFencesItself(t *testing.T, bird *canary.Canary) {
	server := redistest.Server(t)
	link := redistest.ProxyTo(t, server.Addr)
	defer http.DefaultClient.CloseIdleConnections()
	truth := start(t, "origin", "--listen", "127.0.0.1:0", "--redis", server.URL(), "--sample-users", "20",
		"--db", "sqlite:"+filepath.Join(t.TempDir(), "users.db"))
	origin := truth.urls()[0]
	node := start(t, "serve", "--listen", "127.0.0.1:0", "--redis", "redis://"+link.Addr, "--origin", origin,
		"--fence-after", "250ms").urls()[0]
	ask := func() outcome { return command(t, "", nil, "get", "7", "--verbose", "--node", node) }
	for got := ask(); !strings.Contains(got.stderr, "detail=L1"); got = ask() {
		if got.err != nil {
			t.Fatalf("%+v", got)
		}
	}
	link.BlackHole(true)
	put(t, origin+"/7", `{"matricule":"555555-Z"}`)
	for changed := time.Now(); ; {
		began := time.Now()
		got := ask()
		if strings.Contains(got.stdout, `"matricule":"555555-Z"`) {
			break
		}
		if !bird.Excuses("the fence", changed, began, 500*time.Millisecond) {
			t.Fatalf("%v after the change: %+v", began.Sub(changed), got)
		}
	}
	link.BlackHole(false)
}

func TestServeKeepsItsUsersInDataDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	args := append([]string{"serve", "--sample-users", "5", "--data-dir", dir}, anyPort...)
	defer http.DefaultClient.CloseIdleConnections()
	first := start(t, args...)
	put(t, first.urls()[1]+"/3", `{"nom":"Kept"}`)
	first.end(t)
	second := start(t, args...)
	if got := command(t, "", nil, "get", "3", "--node", second.urls()[0]); !strings.Contains(got.stdout, `"nom":"Kept"`) {
		t.Errorf("after a restart: %+v", got)
	}
}

// process starts this test binary as the command.
func process(t *testing.T, args ...string) (*exec.Cmd, *buffer) {
	t.Helper()
	out := new(buffer)
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

func TestSignalsEndServeInOrder(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		s := startServed(t, append([]string{"serve"}, anyPort...)...)
		// leaves an idle connection behind
		resp, err := http.Get("http://" + s.addr + "/v1/users/1")
		if err != nil {
			t.Fatalf("%v\n%s", err, s.out.String())
		}
		readAll(t, resp.Body)
		s.signal(t, signal)
		s.ended(t, 5*time.Second)
		http.DefaultClient.CloseIdleConnections()
	}
}

func TestExitCodesOfTheProcess(t *testing.T) {
	for args, want := range map[string]int{"--version": 0, "get 1 --node http://" + closedPort(t): 1, "serv": 2} {
		cmd, out := process(t, strings.Fields(args)...)
		err := cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("%s: exit %d (%v); want %d\n%s", args, got, err, want, out.String())
		}
		if text := out.String(); want != 0 && !strings.HasPrefix(text, "edgecache: ") {
			t.Errorf("%s: said %s", args, fmt.Sprintf("%q", text))
		}
	}
}
