package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source/sqlite"
)

// served is a command in a process of its own.
type served struct {
	cmd  *exec.Cmd
	out  *buffer
	addr string // HOST:PORT of what it said first
}

// startServed starts a process and waits until it is ready. The test ends it.
func startServed(t *testing.T, args ...string) *served {
	t.Helper()
	cmd, out := process(t, args...)
	within(t, 20*time.Second, "the process to be ready", func() bool { return strings.Contains(out.String(), "ready on") })
	return &served{cmd, out, strings.TrimPrefix(urlPattern.FindString(out.String()), "http://")}
}

// within waits until ok.
func within(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited %v for: %s", d, what)
		}
	}
}

func (s *served) signal(t *testing.T, what os.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(what); err != nil {
		t.Fatal(err)
	}
}

// ended waits for the end of the process, and wants it in order and within a time.
func (s *served) ended(t *testing.T, most time.Duration) {
	t.Helper()
	began := time.Now()
	if err := s.cmd.Wait(); err != nil || time.Since(began) > most {
		t.Errorf("the process ended after %v with %v; want at most %v and in order\n%s", time.Since(began), err, most, s.out.String())
	}
}

// originArgs are the arguments of an origin of its own.
func originArgs(t *testing.T, more ...string) []string {
	return append([]string{"origin", "--listen", "127.0.0.1:0", "--redis", redistest.Server(t).URL(),
		"--db", "sqlite:" + filepath.Join(t.TempDir(), "users.db")}, more...)
}

// resident returns how much memory the process holds, in MiB.
func (s *served) resident(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib >> 10
}

// attack opens connections that each send one request and never read, and checks the memory of the
// process then and after.
func (s *served) attack(t *testing.T, conns int, request string) {
	t.Helper()
	calm, most := s.resident(t), 0
	open := make([]net.Conn, conns)
	for i := range open {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, request)
		open[i] = c
	}
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); <-look.C {
		most = max(most, s.resident(t))
	}
	if status, _ := s.ask(t, "/1"); status != 200 {
		t.Errorf("beside the attack a lookup got %d", status)
	}
	for _, c := range open {
		c.Close()
	}
	after := 0
	for end := time.Now().Add(time.Second); time.Now().Before(end); <-look.C {
		after = max(after, s.resident(t))
	}
	t.Logf("resident: calm %d MiB, at most %d MiB, after %d MiB", calm, most, after)
	if limit := calm + mostGrowth; most > limit || after > limit {
		t.Errorf("resident memory went from %d to %d and was %d MiB after; want at most %d", calm, most, after, limit)
	}
}

// ask asks on a connection of its own, and reports whether the answer said that it is the last.
func (s *served) ask(t *testing.T, path string) (status int, last bool) {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return askOn(t, c, path)
}

func askOn(t *testing.T, c net.Conn, path string) (status int, last bool) {
	t.Helper()
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path)
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	defer r.Body.Close()
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	return r.StatusCode, r.Close
}

// bigUsers makes a database of n users of more than 1 KiB each, and the body of a request for up to
// 500 of them.
func bigUsers(t *testing.T, n int) (db, batch string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "big.db")
	store, err := sqlite.New(sqlite.Config{Path: file, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = store.BulkLoad(t.Context(), func(yield func(*profile.Profile) bool) {
		for i := 1; i <= n; i++ {
			if !yield(&profile.Profile{ID: strconv.Itoa(i), Attrs: map[string]string{"text": strings.Repeat("x", 1000)}}) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for i := 1; i <= min(n, 500); i++ {
		ids = append(ids, strconv.Quote(strconv.Itoa(i)))
	}
	return "sqlite:" + file, `{"ids":[` + strings.Join(ids, ",") + `]}`
}

// Clients that announce much and send nothing, and clients that never read, cost an origin little,
// then and after.
func TestAttackedOriginKeepsItsMemory(t *testing.T) {
	db, batch := bigUsers(t, 2000)
	s := startServed(t, "origin", "--listen", "127.0.0.1:0", "--redis", redistest.Server(t).URL(), "--db", db)
	announced := func(n int) string {
		return fmt.Sprintf("POST /batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n{", n)
	}
	whole := fmt.Sprintf("POST /batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(batch), batch)
	for range 20 { // so that calm is how a server is that has answered before
		s.ask(t, "/all")
	}
	for _, c := range []struct {
		what    string
		conns   int
		request string
	}{
		{"600 announce 2 MB and send a byte", 600, announced(2_000_000)},
		{"600 announce what a body may have and send a byte", 600, announced(128 << 10)},
		{"200 ask for 500 large users and never read", 200, whole},
		{"200 ask for all users and never read", 200, "GET /all HTTP/1.1\r\nHost: localhost\r\n\r\n"},
	} {
		t.Run(c.what, func(t *testing.T) { s.attack(t, c.conns, c.request) })
	}
	s.signal(t, syscall.SIGTERM)
	s.ended(t, 5*time.Second)
}

// A process that is told to end says so for --drain-delay: not healthy, each answer the last of its
// connection, and serves.
func TestSignalsDrain(t *testing.T) {
	redis := redistest.Server(t).URL()
	origin := startServed(t, originArgs(t, "--sample-users", "5")...)
	defer func() { origin.signal(t, syscall.SIGTERM); origin.ended(t, 5*time.Second) }()
	for name, args := range map[string][]string{
		"origin": originArgs(t, "--sample-users", "5"),
		"serve":  {"serve", "--listen", "127.0.0.1:0", "--redis", redis, "--origin", "http://" + origin.addr},
	} {
		for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT} {
			t.Run(name+" "+signal.String(), func(t *testing.T) { drain(t, signal, args) })
		}
	}
}

func drain(t *testing.T, signal syscall.Signal, args []string) {
	const delay = time.Second
	s := startServed(t, append(args, "--drain-delay", delay.String())...)
	health, user := "/health", "/1"
	if args[0] == "serve" {
		health, user = "/readyz", "/v1/users/1"
	}
	kept, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	if status, last := askOn(t, kept, user); status != 200 || last {
		t.Fatalf("before: %d, the last %v", status, last)
	}
	began := time.Now()
	s.signal(t, signal)
	within(t, delay/2, health+" to be 503", func() bool { status, _ := s.ask(t, health); return status == 503 })
	if status, last := askOn(t, kept, user); status != 200 || !last {
		t.Errorf("on a connection from before: %d, the last %v; want 200 and the last", status, last)
	}
	if status, last := s.ask(t, user); status != 200 || !last {
		t.Errorf("on a new connection: %d, the last %v; want 200 and the last", status, last)
	}
	s.ended(t, delay+5*time.Second)
	if took := time.Since(began); took < delay {
		t.Errorf("it ended after %v; want at least the %v of --drain-delay", took, delay)
	}
}

// Without --drain-delay nothing is waited for: the port is closed at once.
func TestNoDrainDelayEndsAtOnce(t *testing.T) {
	for _, args := range [][]string{originArgs(t, "--drain-delay", "0s"), append([]string{"serve", "--drain-delay", "0s"}, anyPort...)} {
		s := startServed(t, args...)
		s.signal(t, syscall.SIGHUP)
		within(t, time.Second, args[0]+" to refuse connections", func() bool {
			c, err := net.Dial("tcp", s.addr)
			if err == nil {
				c.Close()
			}
			return err != nil
		})
		s.ended(t, 5*time.Second)
	}
}

// A second signal ends a process that drains at once, by that signal.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	for _, args := range [][]string{originArgs(t), append([]string{"serve"}, anyPort...)} {
		s := startServed(t, append(args, "--drain-delay", "1h")...)
		s.signal(t, syscall.SIGTERM)
		within(t, 5*time.Second, "the process to drain", func() bool { return strings.Contains(s.out.String(), "stopping") })
		began := time.Now()
		s.signal(t, syscall.SIGHUP)
		// a process that ignores it
		giveUp := time.AfterFunc(10*time.Second, func() { _ = s.cmd.Process.Kill() })
		err := s.cmd.Wait()
		giveUp.Stop()
		status, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus)
		if !ok || !status.Signaled() || status.Signal() != syscall.SIGHUP || time.Since(began) > 2*time.Second {
			t.Errorf("%s ended after %v with %v; want at once, by the signal\n%s", args[0], time.Since(began), err, s.out.String())
		}
	}
}
