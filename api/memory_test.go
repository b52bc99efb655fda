package api

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/web"
)

// resident returns how much memory this process holds, in MiB.
func resident(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
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

// attack opens many connections that each send one request and never read, and checks the memory
// while they are open.
func attack(t *testing.T, s *Server, conns int, request string) {
	t.Helper()
	debug.FreeOSMemory()
	calm, most := resident(t), 0
	open := make([]net.Conn, conns)
	for i := range open {
		open[i] = dial(t, s)
		if err := open[i].(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(open[i], request)
	}
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); <-look.C {
		most = max(most, resident(t))
	}
	if r := send(t, s, "GET", "/v1/users/1", ""); r.StatusCode != 200 {
		t.Errorf("beside the attack a lookup got %d", r.StatusCode)
	}
	for _, c := range open {
		c.Close()
	}
	for end := time.Now().Add(20 * time.Second); s.budget.Used() > 0; <-look.C {
		if time.Now().After(end) {
			t.Fatalf("%d bytes are still held after all connections were closed", s.budget.Used())
		}
	}
	after := resident(t)
	t.Logf("resident: calm %d MiB, at most %d MiB, after %d MiB", calm, most, after)
	// the race detector has a memory of its own
	if limit := calm + 64; !raceEnabled && (most > limit || after > limit) {
		t.Errorf("resident memory went from %d to %d and stayed at %d MiB; want at most %d", calm, most, after, limit)
	}
}

func TestAnnouncedBodiesTakeNoMemory(t *testing.T) {
	f := newFake("1")
	attack(t, serve(t, f), 600, "POST /v1/users/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n{")
}

func TestBodiesTogetherHaveABound(t *testing.T) {
	s := serve(t, newFake("1"))
	half := strings.Repeat(" ", 1_500_000)
	attack(t, s, 60, "POST /v1/users/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n"+half)
}

func TestUnreadAnswersHaveABound(t *testing.T) {
	f := newFake()
	f.generated = true
	body := batchBody(10_000, 8)
	attack(t, serve(t, f), 200, fmt.Sprintf("POST /v1/users/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
}

func TestNoRoomIsTooBusy(t *testing.T) {
	f := newFake("1")
	f.generated = true
	s := serve(t, f)
	hold, err := s.budget.Hold(web.MaxHeld)
	if err != nil {
		t.Fatal(err)
	}
	body := batchBody(1000, 8)
	r := send(t, s, "POST", "/v1/users/batch", body, jsonType)
	if r.StatusCode != 503 || r.Header.Get("Retry-After") == "" || !strings.Contains(r.body, "too-busy") {
		t.Errorf("a body without room: %d %s", r.StatusCode, r.body)
	}
	for _, c := range []struct{ method, path, body string }{{"PUT", "/v1/users/1", whole}, {"GET", "/v1/users/1", ""}, {"POST", "/v1/users/1/invalidate", "{}"}} {
		if r := send(t, s, c.method, c.path, c.body, jsonType); r.StatusCode >= 300 {
			t.Errorf("%s %s beside: %d %s", c.method, c.path, r.StatusCode, r.body)
		}
	}
	hold.Release()
	if r := send(t, s, "POST", "/v1/users/batch", body, jsonType); r.StatusCode != 200 {
		t.Errorf("with room again: %d %s", r.StatusCode, r.body)
	}
}

func TestOnlyRoutesThatTakeABodyGetOne(t *testing.T) {
	s := serve(t, newFake("1"))
	for _, c := range []struct {
		method, path, size string
		status             int
	}{
		{"GET", "/v1/users/1", "Content-Length: 2000000", 400},
		{"GET", "/v1/users/1", "Transfer-Encoding: chunked", 400},
		{"POST", "/v1/users/1/invalidate", "Content-Length: 2000000", 413},
		{"POST", "/v1/prewarm", "Content-Length: 2000000", 413},
		{"PUT", "/v1/users/1", "Content-Length: 2000000", 413},
	} {
		c2 := dial(t, s)
		fmt.Fprintf(c2, "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%s\r\n\r\n1", c.method, c.path, c.size)
		r := receive(t, c2, c.method)
		if r.StatusCode != c.status || !r.Close {
			t.Errorf("%s %s %s: %d, close %v; want %d and the connection's end", c.method, c.path, c.size, r.StatusCode, r.Close, c.status)
		}
		problemJSON(t, r)
	}
}

func TestConnectionGoesOnAfterABody(t *testing.T) {
	s := serve(t, newFake("1"))
	c := dial(t, s)
	for range 3 {
		fmt.Fprintf(c, "POST /v1/users/1/invalidate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
		if r := receive(t, c, "POST"); r.StatusCode != 204 || r.Close {
			t.Fatalf("got %d, close %v; want 204 on a connection that goes on", r.StatusCode, r.Close)
		}
		fmt.Fprintf(c, "PUT /v1/users/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(whole), whole)
		if r := receive(t, c, "PUT"); r.StatusCode != 204 || r.Close {
			t.Fatalf("got %d, close %v; want 204 on a connection that goes on", r.StatusCode, r.Close)
		}
	}
	half := dial(t, s)
	fmt.Fprintf(half, "PUT /v1/users/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
	if err := errors.Join(half.(*net.TCPConn).CloseWrite()); err != nil {
		t.Fatal(err)
	}
	if r := receive(t, half, "PUT"); r.StatusCode != 400 || !r.Close {
		t.Errorf("a body cut short: %d", r.StatusCode)
	}
}
