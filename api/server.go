// Package api is the HTTP face of a node: lookups, the changes that a node is told of, health and
// metrics.
//
//	GET  /v1/users/{id}             one profile; ?minVersion=N and Cache-Control: max-age=N ask for a fresh one
//	PUT  /v1/users/{id}             tells the cache what the source of truth already says
//	POST /v1/users/{id}/invalidate  drops every copy
//	GET  /v1/users/{id}/why         what each tier holds of a user, and what a lookup would be answered and why
//	GET  /v1/users?ids=a,b,c        many profiles, as many as fit a URL of 32 KiB
//	POST /v1/users/batch            many profiles, up to 10,000: {"ids":["a","b"]}
//	                                ?sources=1 adds to either who answered of each user: {"id":{"tier":"L1","ageMs":12}}
//	                                ?fn=NAME shows the users of any of these through an edge function, ?arg.NAME=… are its arguments
//	GET  /v1/functions              the edge functions; PUT, DELETE /v1/functions/{name} and below push, roll back and remove them
//	GET  /v1/stats, /metrics        what the node counts, as JSON and for Prometheus
//	GET  /v1/cluster                the nodes that this one knows, and which share of the ranges each has
//	GET  /v1/prewarm                how the cluster's prewarm does; POST begins one, DELETE ends it
//	GET  /ui                        the dashboard, which shows /v1/live: a snapshot a second, as server-sent events
//	GET  /v1/lookups                lookups that were timed while somebody watches, ?filter=tier=origin ms>50
//	GET  /health, /livez, /readyz   whether it is well, alive, and ready for requests
//	GET  /openapi.json, .html       all of this for machines (OpenAPI 3.1), and a page that shows it
//
// With Config.Tokens all but /livez, /readyz and the files of /ui need a bearer token: role read
// for lookups, invalidate, write to put, admin for prewarms and why. Each role includes those
// before it. Config.Access opens paths, and limits what one client may ask.
//
// Answers are JSON, or msgpack when the Accept header prefers it. Errors are problem details (RFC
// 9457).
package api

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/sync/semaphore"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/auth/gate"
	"github.com/chatapp-ngomna/edgecache/internal/web"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
	"github.com/chatapp-ngomna/edgecache/ui"
)

const (
	// MaxBody is the largest request body in bytes: 10,000 ids of 128 bytes as JSON, with room for
	// white space.
	MaxBody = 2 << 20
	// MaxHead is the largest request line with all headers, in bytes: a URL with 500 UUIDs takes
	// 19,000.
	MaxHead = 32 << 10
	// MaxConns is how many connections are served at once; more are answered 503.
	MaxConns = 16384
)

// ErrConfig reports a Config that cannot work; the text names the field.
var ErrConfig = errors.New("api: bad configuration")

// errClosing is the cause of the context of the requests that Close cuts off.
var errClosing = errors.New("api: the server is closing")

// Node is what the API serves; *node.Node is one.
type Node interface {
	// Tick brings the node's clock up to date; called once per lookup, so that none is answered by
	// the time before the process was stopped and continued.
	Tick()
	GetWith(ctx context.Context, id string, want tier.Want) (tier.Result, error)
	BatchGet(ctx context.Context, ids []string, want tier.Want) (tier.Batch, error)
	Put(ctx context.Context, p *profile.Profile) error
	Invalidate(ctx context.Context, id string) error
	Why(ctx context.Context, id string) (node.Why, error)
	DeadLetters(ctx context.Context, count int) ([]node.DeadLetter, error)
	Stats() node.Stats
	Times() node.Times
	Ready() error
	Cluster() node.Cluster
	BeginPrewarm(ctx context.Context, o prewarm.Options) (run string, err error)
	CancelPrewarm(ctx context.Context) error
	PrewarmStatus(ctx context.Context) (prewarm.Status, error)
	// SampleLookups and Lookups are those of tier.Cache.
	SampleLookups() (stop func())
	Lookups() []look.Lookup
}

// Config is what New takes. Its zero value, with a Node, is the documented default.
type Config struct {
	// Node answers the lookups. Required.
	Node Node
	// Listen is the address as HOST:PORT. Default 127.0.0.1:8003; port 0 takes a free one, which
	// Addr tells.
	Listen string
	// Tokens are the bearer tokens that requests need, all but those of /livez, /readyz, /ui and
	// Access.Open. Default: none are needed; the server does not know who asks then, so only
	// loopback hosts are accepted in Listen.
	Tokens auth.Config
	// Access is what else is asked of callers.
	Access auth.Access
	// TLS is how the server shows itself, and whether clients need a certificate. Default: it
	// speaks plain HTTP.
	TLS *tls.Config
	// ReadTimeout bounds reading one request, head and body. Default 5 s.
	ReadTimeout time.Duration
	// WriteTimeout bounds writing one response. Default 10 s.
	WriteTimeout time.Duration
	// IdleTimeout is how long a connection may wait for its next request. Default 60 s.
	IdleTimeout time.Duration
	// WorkTimeout bounds what a batch or a change waits for the node. Default 10 s; a single lookup
	// has the node's own bound.
	WorkTimeout time.Duration
	// DrainDelay is how long Close goes on serving before it refuses connections: not ready, and
	// with the word in each answer that it is the last of its connection. Default 0.
	DrainDelay time.Duration
	// DrainTimeout is how long Close waits for the requests in flight before it cuts them off.
	// Default 3 s.
	DrainTimeout time.Duration
	// Functions serves edge functions. Default: none are served, and a lookup that names one fails.
	Functions *FunctionsConfig
	// Trace makes a span of each lookup; see Tracer. Default: none are made.
	Trace Tracer
	// Demo breaks things when POST /v1/demo says so. Default: nothing can be broken.
	Demo ui.Demo
	// Logger gets what clients are not told: causes of 5xx answers. Default: nothing is logged.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:8003"
	}
	c.ReadTimeout = positive(c.ReadTimeout, 5*time.Second)
	c.WriteTimeout = positive(c.WriteTimeout, 10*time.Second)
	c.IdleTimeout = positive(c.IdleTimeout, time.Minute)
	c.WorkTimeout = positive(c.WorkTimeout, 10*time.Second)
	c.DrainTimeout = positive(c.DrainTimeout, 3*time.Second)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

func positive(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

func (c Config) validate() error {
	if c.Node == nil {
		return fmt.Errorf("%w: Node is missing", ErrConfig)
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("%w: Listen %q; want HOST:PORT: %w", ErrConfig, c.Listen, err)
	}
	if !c.Tokens.Enabled() && !gate.Loopback(c.Listen) {
		return fmt.Errorf("%w: not listening on %q: without a secret or a file of keys for tokens the server cannot check who asks, so it "+
			"accepts connections from this machine only; use 127.0.0.1, ::1 or localhost, or give it a secret (JWT_SECRET)", ErrConfig, c.Listen)
	}
	for name, d := range map[string]time.Duration{"ReadTimeout": c.ReadTimeout, "WriteTimeout": c.WriteTimeout,
		"IdleTimeout": c.IdleTimeout, "WorkTimeout": c.WorkTimeout, "DrainDelay": c.DrainDelay, "DrainTimeout": c.DrainTimeout} {
		if d < 0 {
			return fmt.Errorf("%w: %s %v; want no less than 0", ErrConfig, name, d)
		}
	}
	return nil
}

// Server answers HTTP requests from a Node. All methods may be called concurrently.
type Server struct {
	cfg     Config
	app     *fiber.App
	gate    *gate.Gate
	metrics metrics
	live    *ui.Live
	conns   conns
	budget  web.Budget
	work    *semaphore.Weighted // of the users of batches that are being looked up
	bodies  sync.Pool           // of *[]byte, the bodies of JSON answers while they are built
	closing atomic.Bool         // not ready, and each answer is the last of its connection

	// ctx is the context of every request: the one of fasthttp is used again for the next request,
	// so it must not be handed to anyone who may hold it for longer. cancel ends it with
	// errClosing.
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu     sync.Mutex   // orders Start and Close
	ln     net.Listener // nil before Start
	addr   atomic.Pointer[net.Addr]
	served chan struct{} // closed when the accept loop has ended
	closed sync.Once
	err    error // what ended the accept loop; read after served is closed
}

// New returns a server that does not listen yet. It returns ErrConfig, naming the field.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, served: make(chan struct{})}
	s.work = semaphore.NewWeighted(maxWork)
	s.bodies.New = func() any { return new([]byte) }
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	var err error
	if s.gate, err = gate.New("edgecache node", cfg.Tokens, cfg.Access, cfg.TLS != nil); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	s.metrics = newMetrics(cfg.Node, &s.conns, s.gate)
	s.live = ui.NewLive(cfg.Node, cfg.Demo, cfg.Logger)
	s.app = s.newApp()
	return s, s.checkOpen()
}

// Start listens and serves until Close. It returns an error that names the address when that cannot
// be had. ctx bounds only Start itself.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln != nil || s.closing.Load() {
		return fmt.Errorf("api: Start on a server that was started or closed: %w", net.ErrClosed)
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("api: listen on %s: %w", s.cfg.Listen, err)
	}
	addr := ln.Addr()
	s.ln = ln
	s.addr.Store(&addr)
	go func() {
		defer close(s.served)
		s.err = s.app.Listener(patient{s.secure(s.gate.Listen(ln)), min(s.cfg.ReadTimeout, s.cfg.WriteTimeout, s.cfg.IdleTimeout) / 20})
	}()
	return nil
}

// secure returns ln, with TLS if there is a configuration for it.
func (s *Server) secure(ln net.Listener) net.Listener {
	if s.cfg.TLS == nil {
		return ln
	}
	return tls.NewListener(ln, s.cfg.TLS)
}

// Addr returns the address that is listened on; nil before Start.
func (s *Server) Addr() net.Addr {
	if addr := s.addr.Load(); addr != nil {
		return *addr
	}
	return nil
}

// Done is closed when the server stopped accepting, by Close or because the listener failed; Close
// then returns why.
func (s *Server) Done() <-chan struct{} { return s.served }

// Close says for DrainDelay that the server goes, then refuses new connections, lets the requests
// in flight finish for DrainTimeout, cuts the rest off and waits. It may be called twice and before
// Start. The error is that of the listener, if it failed before.
func (s *Server) Close() error {
	s.closed.Do(s.shutDown)
	<-s.served
	if errors.Is(s.err, net.ErrClosed) {
		return nil
	}
	return s.err
}

func (s *Server) shutDown() {
	defer s.cancel(errClosing)
	s.mu.Lock()
	ln := s.ln
	s.closing.Store(true)
	s.mu.Unlock()
	if ln == nil {
		close(s.served)
		return
	}
	if s.cfg.DrainDelay > 0 {
		<-time.After(s.cfg.DrainDelay)
	}
	s.live.Close()
	_ = ln.Close() // also ends an accept loop that fasthttp does not know of yet
	end := time.Now().Add(min(s.cfg.DrainTimeout/2, 500*time.Millisecond))
	s.conns.hurry(end)
	// fasthttp may have set its own deadline since
	again := time.AfterFunc(time.Until(end), func() { s.conns.hurry(end) })
	defer again.Stop()
	if err := s.app.ShutdownWithTimeout(s.cfg.DrainTimeout); errors.Is(err, context.DeadlineExceeded) {
		s.cancel(errClosing)
		s.conns.cut(time.Second)
	}
}
