package source

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	recovery "github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/valyala/fasthttp"
	"golang.org/x/sync/semaphore"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/auth/gate"
	"github.com/chatapp-ngomna/edgecache/internal/routecount"
	"github.com/chatapp-ngomna/edgecache/internal/web"
	"github.com/chatapp-ngomna/edgecache/origin"
)

// ServiceConfig configures a Service.
type ServiceConfig struct {
	// Listen is HOST:PORT; port 0 takes a free one, see Addr. Default 127.0.0.1:8001. Without
	// Tokens.Secret the service does not know who asks, so only loopback hosts are accepted.
	Listen string
	// Tokens are the bearer tokens that requests need. Default: none are needed. They travel as
	// they are, so a service beyond a trusted network needs TLS.
	Tokens auth.Config
	// Access is what else is asked of callers.
	Access auth.Access
	// TLS is how the service shows itself, and whether clients need a certificate. Default: it
	// speaks plain HTTP.
	TLS *tls.Config
	// Store holds the users. Required; the caller starts and closes it.
	Store Store
	// Relay announces changes; a write's answer waits for its own. nil: nothing is announced,
	// writes answer 200 or 201.
	Relay *Relay
	// BatchShape is how bulk lookups answer that do not say it by ?shape=. Default BatchObject.
	BatchShape BatchShape
	// IgnoreUnknown leaves fields that the service does not know out of changes. Default: such a
	// change is 400, which names them.
	IgnoreUnknown bool
	// RelayWait is how long a write's answer waits for the relay before it is 202. Default 250 ms.
	RelayWait time.Duration
	// ReadTimeout bounds the reading of one request. Default 10 s.
	ReadTimeout time.Duration
	// WriteTimeout bounds the writing of an answer, of GET /all each page of it. Default 30 s.
	WriteTimeout time.Duration
	// IdleTimeout is how long a connection may be idle between requests. Default 2 min.
	IdleTimeout time.Duration
	// DrainDelay is how long Close goes on serving before it refuses connections: /health is 503,
	// and each answer says that it is the last of its connection. Default 0.
	DrainDelay time.Duration
	// ShutdownTimeout is how long Close waits for requests in progress. Default 4 s.
	ShutdownTimeout time.Duration
	// Version is the build of the process, which the metrics tell. Default "unknown".
	Version string
	// Trace makes a span of each request; see Tracer. Default: none are made.
	Trace Tracer
	// Logger gets what goes wrong inside. Default: none.
	Logger *slog.Logger
}

const (
	// maxBody is the largest request body: MaxBatch ids of the longest kind, or a profile of
	// profile.MaxSize with escapes.
	maxBody = 128 << 10
	// maxHeader bounds request line and headers together. The URL of a batch of 500 UUIDs has 18
	// KiB.
	maxHeader = 32 << 10
	// maxConns bounds the open connections.
	maxConns = 8192
)

func (c ServiceConfig) withDefaults() ServiceConfig {
	c.Listen = cmp.Or(c.Listen, "127.0.0.1:8001")
	c.RelayWait = cmp.Or(c.RelayWait, 250*time.Millisecond)
	c.ReadTimeout = cmp.Or(c.ReadTimeout, 10*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 30*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 2*time.Minute)
	c.ShutdownTimeout = cmp.Or(c.ShutdownTimeout, 4*time.Second)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

func (c ServiceConfig) validate() error {
	if c.Store == nil {
		return errors.New("source: the service needs a Store")
	}
	if min(c.RelayWait, c.ReadTimeout, c.WriteTimeout, c.IdleTimeout, c.ShutdownTimeout) < 0 {
		return fmt.Errorf("source: ServiceConfig: RelayWait %v, ReadTimeout %v, WriteTimeout %v, IdleTimeout %v, "+
			"ShutdownTimeout %v; want positive durations", c.RelayWait, c.ReadTimeout, c.WriteTimeout, c.IdleTimeout, c.ShutdownTimeout)
	}
	if err := c.BatchShape.check(); err != nil {
		return err
	}
	if err := c.Tokens.Validate(); err != nil {
		return err
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("source: listen address %q: want HOST:PORT: %w", c.Listen, err)
	}
	if !c.Tokens.Enabled() && !gate.Loopback(c.Listen) {
		return fmt.Errorf("source: not listening on %q: without a secret for tokens the service cannot check who asks, so it "+
			"accepts connections from this machine only; use 127.0.0.1, ::1 or localhost, or give it a secret (JWT_SECRET)", c.Listen)
	}
	return nil
}

// Service is the source of truth over HTTP:
//
//	GET /:id             one user; ETag is the version in quotes, If-None-Match gives 304
//	GET /batch?ids=a,b   up to 500 users: {"users":{id:profile},"missing":[id],"errors":{id:why}}
//	                     ?shape=array gives {"users":[profile],"count":N} and the rest
//	POST /batch          {"ids":[…]}, the same answer
//	GET /all             every user by id: a JSON array, or NDJSON by Accept: application/x-ndjson; ?after=ID&limit=N pages
//	POST /               create; the body needs an id; 201, or 409 when it exists
//	PUT /:id             partial update: absent fields stay, null empties, attrs merge by key (RFC 7396); If-Match
//	DELETE /:id          delete; If-Match
//	GET /health          whether the store answers and takes changes, the number of users, and what waits to be announced
//	GET /openapi.json    this, for machines (OpenAPI 3.1)
//	GET /metrics         for Prometheus: what waits to be announced, what the relay did
//
// With ServiceConfig.Tokens all but /health and Access.Open need a bearer token: role read for
// lookups, write to create and change, admin to delete. GET /health without a token tells no more
// than whether the store answers.
//
// A write answers 200 (or 201) once it was announced, and 202 when that took longer than RelayWait:
// it is committed either way, and announced as soon as that is possible. Errors are RFC 9457
// problems. "batch", "all", "health" and a few more words are no ids (see CheckNewID).
type Service struct {
	cfg    ServiceConfig
	app    *fiber.App
	gate   *gate.Gate
	counts *routecount.Router
	conns  openConns
	budget web.Budget
	work   *semaphore.Weighted // of the users that requests for many read
	probe  probe
	// closing: /health is 503, and each answer is the last of its connection.
	closing atomic.Bool
	ctx     context.Context // ends with the service; requests have no context of their own
	cancel  context.CancelCauseFunc

	mu     sync.Mutex   // guards what follows
	ln     net.Listener // nil before Start
	addr   atomic.Pointer[string]
	served chan struct{}
	closed bool
}

// NewService returns a service that Start starts.
func NewService(cfg ServiceConfig) (*Service, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	g, err := gate.New("edgecache origin", cfg.Tokens, cfg.Access, cfg.TLS != nil)
	if err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	s := &Service{cfg: cfg, gate: g, counts: routecount.New(func(err error) int { return problemOf(err).Status }), served: make(chan struct{}), conns: openConns{set: make(map[net.Conn]struct{})},
		work: semaphore.NewWeighted(maxWork)}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.app = fiber.New(fiber.Config{
		CaseSensitive: true, StrictRouting: true, DisableStartupMessage: true,
		ReadBufferSize: maxHeader, Concurrency: maxConns,
		ReadTimeout: cfg.ReadTimeout, WriteTimeout: cfg.WriteTimeout, IdleTimeout: cfg.IdleTimeout,
		ErrorHandler: s.answerError,
	})
	s.guard(s.app.Server())
	s.app.Server().ConnState = s.conns.track
	s.app.Use(recovery.New())
	if cfg.Trace != nil {
		s.app.Use(s.traced)
	}
	s.routes()
	return s, nil
}

// routes puts the service's own words before the ids.
func (s *Service) routes() {
	app := s.counts.On(s.app)
	app.Get("/health", s.health)
	app.Get("/openapi.json", s.allow(auth.RoleRead, s.openAPI))
	app.Get("/openapi.html", s.allow(auth.RoleRead, s.docs))
	app.Get("/metrics", s.probed(auth.RoleRead, newMetrics(s)))
	app.Get("/batch", s.allow(auth.RoleRead, s.bulk(s.getBatch)))
	app.Post("/batch", s.allow(auth.RoleRead, s.bulk(s.postBatch)))
	app.Get("/all", s.allow(auth.RoleRead, s.getAll))
	app.Get("/:id", s.allow(auth.RoleRead, s.getOne))
	app.Post("/", s.ownSite(s.allow(auth.RoleWrite, s.create)))
	app.Put("/:id", s.ownSite(s.allow(auth.RoleWrite, s.update)))
	app.Delete("/:id", s.ownSite(s.allow(auth.RoleAdmin, s.remove)))
}

// Start listens and asks itself for its health, so that nil means that it serves. It may be called
// once.
func (s *Service) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln != nil || s.closed {
		return fmt.Errorf("source: start service: already started or closed: %w", origin.ErrClosed)
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("source: start service: %w", err)
	}
	addr := ln.Addr().String()
	s.ln = ln
	s.addr.Store(&addr)
	go s.serve(ln)
	if err := s.ask(ctx); err != nil {
		return fmt.Errorf("source: start service on %s: %w", ln.Addr(), err)
	}
	return nil
}

func (s *Service) serve(ln net.Listener) {
	defer close(s.served)
	ln = s.gate.Listen(ln)
	if s.cfg.TLS != nil {
		ln = tls.NewListener(ln, s.cfg.TLS)
	}
	if err := s.app.Listener(ln); err != nil && s.ctx.Err() == nil {
		s.cfg.Logger.Error("source: service", "error", err)
	}
}

// ask gets /health over the network, or with TLS past it: the service has no certificate to ask
// itself with.
func (s *Service) ask(ctx context.Context) error {
	if s.cfg.TLS != nil {
		return s.askInside()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.ln.Addr().String()+"/health", nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	return healthy(resp)
}

func (s *Service) askInside() error {
	var ctx fasthttp.RequestCtx
	ctx.Init(new(fasthttp.Request), nil, nil)
	ctx.Request.SetRequestURI("/health")
	s.app.Handler() // makes the routes ready
	s.app.Server().Handler(&ctx)
	if status := ctx.Response.StatusCode(); status != http.StatusOK {
		return fmt.Errorf("health is %d: %s", status, ctx.Response.Body())
	}
	return nil
}

func healthy(resp *http.Response) error {
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		return fmt.Errorf("health is %s: %s", resp.Status, text)
	}
	return nil
}

// Addr returns the address that the service listens on, "" before Start.
func (s *Service) Addr() string {
	if addr := s.addr.Load(); addr != nil {
		return *addr
	}
	return ""
}

// Close says for DrainDelay that the service goes, then stops accepting, lets requests in progress
// end within ShutdownTimeout, and cuts off the rest. It may be called twice and before Start.
func (s *Service) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.ln == nil {
		s.closed = true
		s.cancel(origin.ErrClosed)
		return nil
	}
	s.closed = true
	s.closing.Store(true)
	if s.cfg.DrainDelay > 0 {
		<-time.After(s.cfg.DrainDelay)
	}
	err := s.shutdown()
	_ = s.ln.Close() // ends a server that had not begun to accept; else it is closed already
	<-s.served
	if err != nil {
		return fmt.Errorf("source: close service: requests did not end and were cut off: %w", err)
	}
	return nil
}

// shutdown waits for requests in progress. Those that wait for the store or the relay are told
// after three quarters of the time, so that they still get an answer out.
func (s *Service) shutdown() error {
	stop := time.AfterFunc(s.cfg.ShutdownTimeout*3/4, func() { s.cancel(origin.ErrClosed) })
	defer stop.Stop()
	err := s.app.ShutdownWithTimeout(s.cfg.ShutdownTimeout)
	s.cancel(origin.ErrClosed)
	if errors.Is(err, context.DeadlineExceeded) {
		s.conns.cut()
		_ = s.app.ShutdownWithTimeout(s.cfg.ShutdownTimeout / 4) // until the handlers saw it
		return err
	}
	return nil // that the listener is closed already is no error here
}
