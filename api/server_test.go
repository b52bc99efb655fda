package api

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestConfigErrorsNameTheField(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "Node is missing"},
		{Config{Node: newFake(), Listen: "8003"}, `Listen "8003"; want HOST:PORT`},
		{Config{Node: newFake(), ReadTimeout: -1}, "ReadTimeout -1ns"},
		{Config{Node: newFake(), DrainTimeout: -time.Second}, "DrainTimeout -1s"},
	} {
		_, err := New(c.cfg)
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("New(%+v): %v; want %s", c.cfg, err, c.want)
		}
	}
}

func TestLifecycle(t *testing.T) {
	t.Run("Close before Start, twice", func(t *testing.T) {
		s, err := New(Config{Node: newFake()})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		if err := s.Start(t.Context()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Start after Close: %v", err)
		}
	})
	t.Run("Start twice", func(t *testing.T) {
		s := serve(t, newFake())
		if err := s.Start(t.Context()); err == nil {
			t.Error("no error")
		}
	})
	t.Run("Start on a port in use names it", func(t *testing.T) {
		taken := serve(t, newFake()).Addr().String()
		s, err := New(Config{Node: newFake(), Listen: taken})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Start(t.Context()); err == nil || !strings.Contains(err.Error(), taken) {
			t.Errorf("got %v; want the address %s", err, taken)
		}
	})
	t.Run("Close right after Start, from four goroutines", func(t *testing.T) {
		for range 20 {
			s := serve(t, newFake())
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() { _ = s.Close() })
			}
			all.Wait()
			select {
			case <-s.Done():
			default:
				t.Fatal("Close returned before the server was done")
			}
		}
	})
}

// blocking is a node whose lookups wait until the test lets them go on.
func blocking() *fakeNode {
	f := newFake("1")
	f.blocked, f.entered = make(chan struct{}), make(chan struct{}, 100)
	return f
}

func TestCloseLetsRequestsFinish(t *testing.T) {
	f := blocking()
	s := serve(t, f)
	idle := dial(t, s) // a connection that waits for its next request
	fmt.Fprint(idle, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
	receive(t, idle, "GET")
	busy := make([]net.Conn, 20)
	for i := range busy {
		busy[i] = dial(t, s)
		fmt.Fprint(busy[i], "GET /v1/users/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
		<-f.entered
	}
	closed := make(chan error, 1)
	began := time.Now()
	go func() { closed <- s.Close() }()
	if n, err := idle.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("the idle connection read %d, %v; want its end", n, err)
	}
	if c, err := net.Dial("tcp", s.Addr().String()); err == nil {
		c.Close()
		t.Error("a new connection was taken while closing")
	}
	close(f.blocked)
	for i, c := range busy {
		if r := receive(t, c, "GET"); r.StatusCode != 200 || !r.Close {
			t.Errorf("request %d in flight: got %d, close %v; want 200 and the connection's end", i, r.StatusCode, r.Close)
		}
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("Close took %v", took)
	}
}

func TestCloseDoesNotWaitForSilentConnections(t *testing.T) {
	s := serve(t, newFake())
	silent, half := dial(t, s), dial(t, s)
	fmt.Fprint(half, "GET /livez HTTP/1.1\r\n")
	began := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("Close took %v", took)
	}
	for _, c := range []net.Conn{silent, half} {
		_, _ = io.Copy(io.Discard, c) // ends when the connection does
	}
}

func TestCloseCutsOffWhatDoesNotEnd(t *testing.T) {
	f := blocking()
	s := serve(t, f, func(c *Config) { c.DrainTimeout = 200 * time.Millisecond })
	stuck := dial(t, s)
	fmt.Fprint(stuck, "GET /v1/users/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-f.entered
	began := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("Close took %v", took)
	}
	if err := stuck.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if r, err := http.ReadResponse(bufio.NewReader(stuck), nil); err == nil && r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the request that was cut off got %d", r.StatusCode)
	}
	if n := s.conns.len(); n != 0 {
		t.Errorf("%d connections left", n)
	}
}

func dial(t *testing.T, s *Server) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestNotReadyWhileClosing(t *testing.T) {
	s, err := New(Config{Node: newFake()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ready(); err != nil {
		t.Errorf("before: %v", err)
	}
	_ = s.Close()
	if err := s.ready(); !errors.Is(err, errClosing) {
		t.Errorf("after: %v", err)
	}
}

// Two servers take turns in closing, as in a rolling restart. Clients keep connections, ask the one
// that is ready, and never ask twice: they lose nothing.
func TestDrainLosesNoRequest(t *testing.T) {
	f := newFake("1")
	slow := func(c *Config) { c.DrainDelay = 300 * time.Millisecond }
	var current atomic.Pointer[Server]
	current.Store(serve(t, f, slow))
	stop, asked := make(chan struct{}), atomic.Int64{}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := keepAsking(current.Load(), 40, &asked); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 4 {
		next, old := serve(t, f, slow), current.Load()
		closed := make(chan error, 1)
		go func() { closed <- old.Close() }()
		for r := send(t, old, "GET", "/readyz", ""); r.StatusCode != 503; r = send(t, old, "GET", "/readyz", "") {
		}
		if r := send(t, old, "GET", "/readyz", ""); !r.Close || !strings.Contains(r.body, "closing") {
			t.Errorf("while draining: close %v, %s", r.Close, r.body)
		}
		current.Store(next)
		if err := <-closed; err != nil {
			t.Error(err)
		}
	}
	close(stop)
	all.Wait()
	t.Logf("%d requests", asked.Load())
}

// keepAsking sends up to n requests on one connection, until an answer says that it is the last.
func keepAsking(s *Server, n int, asked *atomic.Int64) error {
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		return err
	}
	defer c.Close()
	in := bufio.NewReader(c)
	for range n {
		if _, err := io.WriteString(c, "GET /v1/users/1 HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			return err
		}
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil || r.StatusCode != 200 {
			return fmt.Errorf("%d, %w", r.StatusCode, err)
		}
		if asked.Add(1); r.Close {
			return nil
		}
	}
	return nil
}

func TestPagesOfOtherSitesChangeNothing(t *testing.T) {
	f := newFake("1")
	s := serve(t, f)
	for headers, status := range map[string]int{
		"": 204, "Sec-Fetch-Site: same-origin": 204, "Sec-Fetch-Site: none": 204, "Origin: http://localhost": 204,
		"Sec-Fetch-Site: cross-site": 403, "Sec-Fetch-Site: same-site": 403, "Origin: http://evil.example": 403, "Origin: null": 403,
		"Sec-Fetch-Site: cross-site|Authorization: Bearer x": 204,
	} {
		var list []string
		if headers != "" {
			list = strings.Split(headers, "|")
		}
		if r := send(t, s, "POST", "/v1/users/1/invalidate", "", list...); r.StatusCode != status {
			t.Errorf("%s: %d %s; want %d", headers, r.StatusCode, r.body, status)
		}
	}
}

func TestTextThatIsNoUnicodeIsRefused(t *testing.T) {
	s := serve(t, newFake("1"))
	for _, name := range []string{"\xff", `\ud800`, `\udc00x`, `\ud800\u0041`} {
		r := send(t, s, "PUT", "/v1/users/1", `{"nom":"`+name+`","updatedAt":5}`, jsonType)
		if r.StatusCode != 400 || !strings.Contains(r.body, `\"nom\"`) {
			t.Errorf("%q: %d %s", name, r.StatusCode, r.body)
		}
	}
	if r := send(t, s, "PUT", "/v1/users/1", `{"nom":"\ud83d\ude00 \\ud800 é","updatedAt":5}`, jsonType); r.StatusCode != 204 {
		t.Errorf("good text: %d %s", r.StatusCode, r.body)
	}
}
