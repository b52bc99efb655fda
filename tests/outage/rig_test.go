package outage

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/sample"
	"github.com/chatapp-ngomna/edgecache/source/sqlite"
)

// newTruth returns a source of truth on a store, which announces its changes in Redis, and the
// client that it does so with.
func newTruth(store source.Store, redisURL string) (*source.Source, redis.UniversalClient, error) {
	client, err := redisconn.Open(redisURL)
	if err != nil {
		return nil, nil, err
	}
	truth, err := source.New(source.Config{Store: store, Redis: client, Relay: source.RelayConfig{Timeout: time.Second},
		Service: source.ServiceConfig{Listen: "127.0.0.1:0"}})
	return truth, client, err
}

// startTruth starts a source of truth on a store, until the end of the test, and returns its
// address.
func startTruth(t *testing.T, store source.Store, redisURL string) string {
	t.Helper()
	truth, client, err := newTruth(store, redisURL)
	check(t, err)
	closing(t, client)
	closing(t, truth)
	check(t, truth.Start(t.Context()))
	return truth.Addr()
}

// startOrigin starts a source of truth with made-up users "1".."n", over SQLite and HTTP, and
// returns its address.
func startOrigin(t *testing.T, redisURL string, n int) string {
	t.Helper()
	store, err := sqlite.New(sqlite.Config{Path: filepath.Join(t.TempDir(), "users.db"), NoSync: true})
	check(t, err)
	check(t, store.Start(t.Context()))
	closing(t, store)
	_, err = store.BulkLoad(t.Context(), sample.Users(1, n))
	check(t, err)
	return startTruth(t, store, redisURL)
}

// startNode starts a node whose origin is at addr; logs may be nil.
func startNode(t *testing.T, redisURL, addr string, conf node.Config, logs slog.Handler) (*node.Node, *origin.Client) {
	t.Helper()
	client := origin.ClientConfig{URL: "http://" + addr}
	if logs != nil {
		client.Logger = slog.New(logs)
	}
	c, err := origin.NewClient(client)
	check(t, err)
	closing(t, c)
	conf.RedisURL, conf.Origin = redisURL, c
	n, err := node.New(conf)
	check(t, err)
	closing(t, n)
	check(t, n.Start(t.Context()))
	return n, c
}

// mode is what a front does to the origin behind it.
type mode int32

const (
	well mode = iota // passes calls on
	half             // breaks every other
	down             // breaks all
)

// front stands between one node and the origin, and notes when it was called.
type front struct {
	addr string
	mode atomic.Int32
	n    atomic.Int64

	mu    sync.Mutex
	calls []time.Time // guarded by mu
}

func startFront(t *testing.T, target string) *front {
	t.Helper()
	f := new(front)
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: target})
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	proxy.Transport = transport
	proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.calls = append(f.calls, time.Now())
		f.mu.Unlock()
		n := f.n.Add(1)
		if m := mode(f.mode.Load()); m == down || m == half && n%2 == 0 {
			panic(http.ErrAbortHandler) // the connection ends without an answer
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	f.addr = server.Listener.Addr().String()
	return f
}

// between counts the calls from a to b.
func (f *front) between(a, b time.Time) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, at := range f.calls {
		if at.After(a) && at.Before(b) {
			n++
		}
	}
	return n
}

// span is a time during which a breaker was not closed.
type span struct{ from, to time.Time }

// breakerLog is a slog.Handler that notes when the client's breaker was not closed.
type breakerLog struct {
	mu    sync.Mutex
	spans []span // guarded by mu; the last may be without an end
}

// Enabled implements slog.Handler.
func (*breakerLog) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs implements slog.Handler.
func (b *breakerLog) WithAttrs([]slog.Attr) slog.Handler { return b }

// WithGroup implements slog.Handler.
func (b *breakerLog) WithGroup(string) slog.Handler { return b }

// Handle implements slog.Handler.
func (b *breakerLog) Handle(_ context.Context, r slog.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case strings.HasPrefix(r.Message, "origin: client: the breaker opened"):
		b.spans = append(b.spans, span{from: time.Now()})
	case strings.HasPrefix(r.Message, "origin: client: the breaker closed"):
		b.spans[len(b.spans)-1].to = time.Now()
	}
	return nil
}

// open returns the times at which the breaker was not closed, up to now.
func (b *breakerLog) open() []span {
	b.mu.Lock()
	defer b.mu.Unlock()
	spans := append([]span(nil), b.spans...)
	if n := len(spans); n > 0 && spans[n-1].to.IsZero() {
		spans[n-1].to = time.Now()
	}
	return spans
}
