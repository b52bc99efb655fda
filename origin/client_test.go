package origin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// startClient returns a client of a server with this handler.
func startClient(t *testing.T, cfg ClientConfig, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	cfg.URL = server.URL
	return newClient(t, cfg)
}

func newClient(t *testing.T, cfg ClientConfig) *Client {
	t.Helper()
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// reply is a handler that always gives the same answer.
func reply(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestClientIDs(t *testing.T) {
	c := startClient(t, ClientConfig{}, func(http.ResponseWriter, *http.Request) { t.Error("the service was asked") })
	_, badErr := c.Load(t.Context(), "a/b")
	_, healthErr := c.Load(t.Context(), "health")
	_, putErr := c.Put(t.Context(), "batch", Update{})
	_, delErr := c.Delete(t.Context(), "..", nil)
	_, makeErr := c.Create(t.Context(), &profile.Profile{})
	if !errors.Is(healthErr, profile.ErrNotFound) {
		t.Errorf("load of a reserved id: %v", healthErr)
	}
	for _, err := range []error{badErr, putErr, delErr, makeErr} {
		if !errors.Is(err, profile.ErrInvalidID) {
			t.Errorf("%v", err)
		}
	}
	b, err := c.LoadBatch(t.Context(), []string{"a b", "all", "", "all"})
	if err != nil || len(b.Errors) != 2 || !slices.Equal(b.Missing, []string{"all"}) {
		t.Errorf("%+v, %v", b, err)
	}
	if b, err := c.LoadBatch(t.Context(), nil); err != nil || len(b.Found)+len(b.Missing)+len(b.Errors) != 0 {
		t.Errorf("nobody: %+v, %v", b, err)
	}
	if _, err := c.LoadBatch(t.Context(), make([]string, MaxBatch+1)); !errors.Is(err, profile.ErrTooLarge) {
		t.Errorf("too many: %v", err)
	}
}

func TestClientRefusesURLs(t *testing.T) {
	for url, want := range map[string]string{
		"": "want http://", "127.0.0.1:8001": "cannot be parsed", "ftp://x": "want http://", "http://": "want http://", "http://u:secret@x/?a=1": "u:xxxxx@x",
		"http://u:secret@x:bad": "cannot be parsed", "http://x": "", "https://x:1/users/": "",
	} {
		_, err := NewClient(ClientConfig{URL: url})
		if (err == nil) != (want == "") || (err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret"))) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}

func TestClientBatchTransport(t *testing.T) {
	ids := func(n int) (ids []string) {
		for i := range n {
			ids = append(ids, fmt.Sprintf("0b5e7a50-7a8e-4c1e-9c1b-%012d", i))
		}
		return ids
	}
	var mu sync.Mutex
	var asked []string
	serve := func(post int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			asked = append(asked, r.Method)
			mu.Unlock()
			list := strings.Split(r.URL.Query().Get("ids"), ",")
			if r.Method == "POST" {
				if post != 200 {
					w.WriteHeader(post)
					return
				}
				var body struct{ IDs []string }
				if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
					t.Error(err)
				}
				list = body.IDs
			}
			if len(r.URL.String()) > 7<<10 {
				t.Errorf("URL of %d bytes", len(r.URL.String()))
			}
			users := []*profile.Profile{}
			for _, id := range list {
				users = append(users, &profile.Profile{ID: id})
			}
			_ = json.NewEncoder(w).Encode(users)
		}
	}
	for _, tt := range []struct {
		post, n int
		want    []string
	}{
		{200, 100, []string{"GET"}}, {200, 500, []string{"POST"}}, {404, 500, []string{"POST", "GET", "GET", "GET"}}, {405, 300, []string{"POST", "GET", "GET"}},
	} {
		c := startClient(t, ClientConfig{}, serve(tt.post))
		for round, want := range [][]string{tt.want, slices.DeleteFunc(slices.Clone(tt.want), func(m string) bool { return m == "POST" && tt.post != 200 })} {
			asked = nil
			b, err := c.LoadBatch(t.Context(), ids(tt.n))
			if err != nil || len(b.Found) != tt.n || !slices.Equal(asked, want) {
				t.Errorf("POST answers %d, %d ids, round %d: asked %v, want %v; found %d, %v", tt.post, tt.n, round, asked, want, len(b.Found), err)
			}
		}
	}
}

func TestClientBatchFailsInParts(t *testing.T) {
	c := startClient(t, ClientConfig{Retries: -1, MaxURL: 66}, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == "POST":
			w.WriteHeader(404)
		case strings.Contains(r.URL.RawQuery, "bad"):
			w.WriteHeader(500)
		default:
			reply(200, "[]")(w, r)
		}
	})
	ids := []string{"bad1", "bad2", "a-long-id-of-thirty-characters1", "a-long-id-of-thirty-characters2"}
	b, err := c.LoadBatch(t.Context(), ids)
	slices.Sort(b.Missing)
	if err != nil || !slices.Equal(b.Missing, ids[2:]) || len(b.Errors) != 2 || !errors.Is(b.Errors["bad1"], profile.ErrUnavailable) {
		t.Errorf("%+v, %v", b, err)
	}
	if _, err := c.LoadBatch(t.Context(), ids[:2]); !errors.Is(err, profile.ErrUnavailable) || strings.Contains(err.Error(), "not found") {
		t.Errorf("all parts fail: %v", err)
	}
}

func TestClientStatuses(t *testing.T) {
	for _, tt := range []struct {
		status int
		body   string
		want   error
		says   string
		asked  int64
	}{
		{404, `{"detail":"user 7 is gone"}`, profile.ErrNotFound, "user 7 is gone", 1},
		{410, ``, profile.ErrNotFound, "410 Gone", 1},
		{400, `{"success":false,"message":"invalid id"}`, profile.ErrInvalidID, "400 Bad Request: invalid id", 1},
		{401, `{"error":"no token"}`, profile.ErrUnavailable, "401 Unauthorized: no token", 1},
		{302, ``, profile.ErrUnavailable, "302 Found", 1},
		{500, strings.Repeat("x", 2*maxErrorBody), profile.ErrUnavailable, "500", 3},
		{501, ``, profile.ErrUnavailable, "501", 1},
		{503, `{"title":"Service Unavailable","detail":"draining"}`, profile.ErrUnavailable, "draining", 3},
		{429, ``, profile.ErrUnavailable, "429", 3},
		{204, ``, profile.ErrUnavailable, "JSON", 1},
	} {
		c := startClient(t, ClientConfig{}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			reply(tt.status, tt.body)(w, r)
		})
		_, err := c.Load(t.Context(), "7")
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%d: %v, want %v", tt.status, err, tt.want)
		}
		if st := c.Stats(); st.Requests != tt.asked || st.Retries != tt.asked-1 {
			t.Errorf("%d: asked %d times, %d retries; want %d", tt.status, st.Requests, st.Retries, tt.asked)
		}
	}
}

func TestClientNeverRepeatsWrites(t *testing.T) {
	c := startClient(t, ClientConfig{}, reply(500, ""))
	for range 2 {
		if _, err := c.Put(t.Context(), "1", Update{Nom: testkit.Ptr("x")}); !errors.Is(err, profile.ErrUnavailable) {
			t.Errorf("put: %v", err)
		}
	}
	if st := c.Stats(); st.Requests != 2 || st.Retries != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestClientWritesToOtherServices(t *testing.T) {
	for body, want := range map[string]int64{"": 0, `{"success":true,"message":"ok"}`: 0, `{"data":{"id":1,"updatedAt":5}}`: 5, `{"version":7}`: 7} {
		c := startClient(t, ClientConfig{}, reply(200, body))
		w, err := c.Put(t.Context(), "1", Update{Nom: testkit.Ptr("x")})
		if err != nil || w.Version != want || (w.Profile != nil) != (want == 5) {
			t.Errorf("%s: %+v, %v", body, w, err)
		}
	}
	c := startClient(t, ClientConfig{}, reply(200, "I am fine"))
	if h, err := c.Health(t.Context()); err != nil || h.Status != "ok" {
		t.Errorf("health: %+v, %v", h, err)
	}
}

func TestClientSlowService(t *testing.T) {
	var asked atomic.Int64
	release := make(chan struct{})
	c := startClient(t, ClientConfig{Timeout: 200 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) < 3 {
			<-release
			return
		}
		reply(200, `{"id":"7"}`)(w, r)
	})
	defer close(release)
	if _, err := c.Load(t.Context(), "7"); err != nil || asked.Load() != 3 {
		t.Errorf("a service that is slow twice: %v, asked %d times", err, asked.Load())
	}
	asked.Store(-100)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := c.Load(ctx, "7")
	if !errors.Is(err, profile.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) || asked.Load() > -97 {
		t.Errorf("no time left: %v, asked %d times", err, asked.Load()+100)
	}
}

func TestClientBodyThatStops(t *testing.T) {
	var asked atomic.Int64
	c := startClient(t, ClientConfig{}, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"id":"7",`)
			panic(http.ErrAbortHandler)
		}
		reply(200, `{"id":"7"}`)(w, r)
	})
	if _, err := c.Load(t.Context(), "7"); err != nil || asked.Load() != 2 {
		t.Errorf("%v, asked %d times", err, asked.Load())
	}
}

func TestClientCapsHeaders(t *testing.T) {
	c := startClient(t, ClientConfig{Retries: -1}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", maxAnswerHeader))
		reply(200, `{"id":"7"}`)(w, r)
	})
	if _, err := c.Load(t.Context(), "7"); !errors.Is(err, profile.ErrUnavailable) || !strings.Contains(err.Error(), "headers exceeded") {
		t.Errorf("%v", err)
	}
}

func TestClientNobodyListens(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	c := newClient(t, ClientConfig{URL: "http://user:secret@" + addr})
	err = c.Start(t.Context())
	if !errors.Is(err, profile.ErrUnavailable) || !strings.Contains(err.Error(), addr) || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

func TestClientRetryAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "2": 2 * time.Second, "-1": 0, "86400": maxRetryAfter, "soon": 0,
		"99999999999999999999": 0, time.Now().Add(time.Hour).UTC().Format(http.TimeFormat): maxRetryAfter, "Mon, 02 Jan 2006 15:04:05 GMT": 0} {
		if got := parseRetryAfter(text); got != want {
			t.Errorf("Retry-After %q: %v, want %v", text, got, want)
		}
	}
	var asked atomic.Int64
	c := startClient(t, ClientConfig{}, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(429)
			return
		}
		reply(200, `{"id":"7"}`)(w, r)
	})
	short, cancel := context.WithTimeout(t.Context(), 800*time.Millisecond)
	defer cancel()
	// the first is told to wait and has no time for it; the others are not even sent
	for i := range 3 {
		_, err := c.Load(short, "7")
		e, ok := errors.AsType[*Error](err)
		if !ok || !errors.Is(err, profile.ErrUnavailable) || e.RetryAfter <= 0 || e.RetryAfter > time.Second || asked.Load() != 1 {
			t.Errorf("call %d: %v, asked %d times", i, err, asked.Load())
		}
	}
	testkit.Eventually(t, 5*time.Second, "the service is asked again when it said", func() bool {
		_, err := c.Load(t.Context(), "7")
		return err == nil
	})
	if st := c.Stats(); asked.Load() != 2 || st.Breaker != "closed" || st.Failures != 0 || st.Refused == 0 {
		t.Errorf("asked %d times, stats %+v", asked.Load(), st)
	}
}

func TestClientReusesConnections(t *testing.T) {
	var conns atomic.Int64
	server := httptest.NewUnstartedServer(reply(200, `{"id":"7"}`))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	c := newClient(t, ClientConfig{URL: server.URL})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if _, err := c.Load(t.Context(), "7"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := conns.Load(); n > 16 {
		t.Errorf("%d connections for 8 callers", n)
	}
}
