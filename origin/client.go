package origin

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"strconv"

	"github.com/chatapp-ngomna/edgecache/internal/redact"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// ClientConfig configures a Client.
type ClientConfig struct {
	// URL is where the source of truth is, such as http://127.0.0.1:8001; a path before the routes
	// and user:password are possible. Required.
	URL string
	// Token gives each request its bearer token. Default: none is sent.
	Token TokenSource
	// IDField is the field of the service's profiles that holds the id by which it is asked, such
	// as matricule. Default: id, or MongoDB's _id where there is none.
	IDField string
	// HealthPath is what Start and Health ask for. Default /health.
	HealthPath string
	// Timeout bounds one try of a lookup or a write. Default 1 s.
	Timeout time.Duration
	// BatchTimeout bounds one try of a bulk lookup. Default 3 s.
	BatchTimeout time.Duration
	// Retries is how often a lookup that failed is tried again, within the caller's ctx; writes
	// never are. Default 2; below 0: none.
	Retries int
	// MaxURL is the longest URL, in bytes; a bulk lookup beyond it is a POST, or, where the service
	// has none, several GETs. Default 7 KiB: Node.js takes 16 KiB of headers, common proxies 8.
	MaxURL int
	// OpenFor is how long the breaker refuses calls before it lets one through to see. Default 1 s.
	OpenFor time.Duration
	// Hedge makes a lookup that is slower than 95 of 100 before it be asked a second time; the
	// first answer counts, and the other request is cancelled. At most one lookup in 20 is, and
	// none while the breaker is not closed. Default: no.
	Hedge bool
	// DialTLS makes the connections of an https URL, handshake included. Default: with the
	// authorities that the system knows.
	DialTLS func(ctx context.Context, network, addr string) (net.Conn, error)
	// Trace begins the span of a request, a child of that in ctx, and names it in the request's
	// headers; end gets the status of the answer, 0 when there was none. Default: none are made.
	Trace func(ctx context.Context, op string, headers http.Header) (end func(status int))
	// Logger gets one line for each retry and each change of the breaker. Default: none.
	Logger *slog.Logger
}

const (
	// maxOneBody is the largest answer with one profile: JSON may take six bytes where the profile
	// has one, and a picture in place of its URL is left out when the answer was read.
	maxOneBody = 1 << 20
	// maxBatchBody is the largest answer to a bulk lookup.
	maxBatchBody = 32 << 20
	// maxErrorBody is how much of an error's answer is read.
	maxErrorBody = 4 << 10
	// maxAnswerHeader bounds the headers of an answer.
	maxAnswerHeader = 32 << 10
	// idleConns is the number of idle connections kept to the service.
	idleConns = 64
	// idleTimeout is how long they are kept: less than the 5 s after which Node.js closes its end.
	idleTimeout = 4 * time.Second
	// dialTimeout bounds the making of a connection.
	dialTimeout = time.Second
)

func (c ClientConfig) withDefaults() ClientConfig {
	c.Timeout = cmp.Or(c.Timeout, time.Second)
	c.BatchTimeout = cmp.Or(c.BatchTimeout, 3*time.Second)
	c.OpenFor = cmp.Or(c.OpenFor, time.Second)
	switch {
	case c.Retries == 0:
		c.Retries = 2
	case c.Retries < 0:
		c.Retries = 0
	}
	c.MaxURL = cmp.Or(c.MaxURL, 7<<10)
	c.HealthPath = cmp.Or(c.HealthPath, "/health")
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

func (c ClientConfig) validate() error {
	if min(c.Timeout, c.BatchTimeout, c.OpenFor) < 0 {
		return fmt.Errorf("origin: ClientConfig: Timeout %v, BatchTimeout %v, OpenFor %v; want positive durations",
			c.Timeout, c.BatchTimeout, c.OpenFor)
	}
	if c.MaxURL < 0 {
		return fmt.Errorf("origin: ClientConfig.MaxURL is %d; want a number of bytes above 0", c.MaxURL)
	}
	return nil
}

// parseURL returns the URL without a slash at its end.
func (c ClientConfig) parseURL() (*url.URL, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil:
		// err would show a password
		return nil, errors.New("origin: the origin's URL cannot be parsed; want http://HOST:PORT")
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, fmt.Errorf("origin: URL %q: want http://HOST:PORT or https://HOST:PORT", redact.Address(c.URL))
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("origin: URL %q: a query or fragment makes no sense here", redact.Address(c.URL))
	case !strings.HasPrefix(c.HealthPath, "/") || strings.ContainsAny(c.HealthPath, " #"):
		return nil, fmt.Errorf("origin: HealthPath %.80q: want a path such as /health", c.HealthPath)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	return u, nil
}

// Client asks a source of truth over HTTP: this package's Service or the auth-user-service, whose
// answers may be wrapped in {"success":true,"data":…}, have numbers as ids and ISO 8601 times.
//
// Lookups that fail are tried again, with jitter. A circuit breaker refuses calls while the service
// is down, except for one a second (OpenFor) that finds out whether it is back; that a user is
// unknown is no failure, nor is a caller who leaves. A Retry-After of the service is kept to, up to
// 5 s. Safe for concurrent use.
//
// A profile that is too large comes without its largest fields (ClientStats.Shed). A user about
// which the answer makes no sense is not asked for again for 3 s.
//
// Errors are *Error and wrap profile.ErrNotFound, profile.ErrInvalidID, or profile.ErrUnavailable
// for a service that is down, slow, overloaded, or answers what makes no sense, and
// profile.ErrMalformed as well for the last; those of a caller's cancelled ctx wrap
// context.Canceled.
type Client struct {
	cfg     ClientConfig
	base    *url.URL
	http    *http.Client
	breaker *breaker
	holdOff holdOff
	noPost  atomic.Bool // the service has no POST /batch
	decoder decoder
	// malformed remembers who cannot be given.
	malformed malformed
	// ones and bulks decide about second requests for lookups of one and of several; nil without
	// ClientConfig.Hedge.
	ones, bulks *hedge

	requests, failures, retries, refused, hedges, hedgesWon atomic.Int64
}

// NewClient returns a client. It sends nothing yet; Start is not needed for lookups.
func NewClient(cfg ClientConfig) (*Client, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	base, err := cfg.parseURL()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialTLSContext:         cfg.DialTLS,
		DialContext:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
		ForceAttemptHTTP2:      cfg.DialTLS == nil,
		MaxIdleConns:           idleConns,
		MaxIdleConnsPerHost:    idleConns,
		IdleConnTimeout:        idleTimeout,
		TLSHandshakeTimeout:    dialTimeout,
		MaxResponseHeaderBytes: maxAnswerHeader,
		DisableCompression:     true, // nothing can unfold to more than was read
	}
	c := &Client{cfg: cfg, base: base, breaker: newBreaker(cfg), holdOff: holdOff{began: time.Now()}}
	c.decoder.idField = cfg.IDField
	if cfg.Hedge {
		c.ones, c.bulks = new(hedge), new(hedge)
	}
	c.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		// a lookup that is sent elsewhere is a mistake in the configuration
		return http.ErrUseLastResponse
	}}
	return c, nil
}

// Start asks for the service's health, so that an address where nothing answers is known early: any
// answer of HTTP shows that somebody does, and one that is no 2xx is logged. Then for a user, so
// that a token that the service does not take is known: the error has the status 401 or 403 then.
func (c *Client) Start(ctx context.Context) error {
	_, err := c.Health(ctx)
	if e, ok := errors.AsType[*Error](err); ok && e.Status != 0 {
		c.cfg.Logger.Warn("origin: client: the service answers, and not that it is well",
			"path", c.cfg.HealthPath, "error", err)
	} else if err != nil {
		return err
	}
	err = c.do(ctx, &call{op: "try the token", method: http.MethodGet, path: "/" + startID, limit: maxOneBody, timeout: c.cfg.Timeout,
		decode: func(int, []byte) error { return nil }})
	if refused, ok := errors.AsType[*Error](err); ok {
		switch refused.Status {
		case http.StatusUnauthorized, http.StatusForbidden:
			return err
		}
	}
	return nil // whatever else it says of that user, it takes the token
}

// startID is the user that Start asks for.
const startID = "0"

// Close closes idle connections; it may be called twice. Calls in progress are their callers' to
// cancel.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Stats returns counters and the breaker's state.
func (c *Client) Stats() ClientStats {
	return ClientStats{Breaker: c.breaker.state(), Opened: c.breaker.opened.Load(), Requests: c.requests.Load(),
		Failures: c.failures.Load(), Retries: c.retries.Load(), Refused: c.refused.Load(),
		Hedges: c.hedges.Load(), HedgesWon: c.hedgesWon.Load(),
		Malformed: c.malformed.count.Load(), Shed: c.decoder.shed.Load()}
}

// Load returns one profile. An id that is a path of the service (see CheckNewID) is nobody's.
func (c *Client) Load(ctx context.Context, id string) (*profile.Profile, error) {
	op := fmt.Sprintf("load %q", id)
	if err := profile.CheckID(id); err != nil {
		return nil, &Error{Op: op, Err: err}
	}
	if Reserved(id) {
		return nil, &Error{Op: op, Detail: "the id is a path of the service", Err: profile.ErrNotFound}
	}
	if err := c.malformed.of(id); err != nil {
		return nil, err
	}
	var p *profile.Profile
	err := c.do(ctx, &call{op: op, method: http.MethodGet, path: "/" + id, retry: true, hedge: c.ones, limit: maxOneBody, timeout: c.cfg.Timeout,
		decode: func(_ int, body []byte) (err error) {
			p, err = c.decoder.one(body, id)
			return err
		}})
	if err != nil {
		c.malformed.note(c.cfg.Logger, id, err)
		return nil, err
	}
	return p, nil
}

// Health asks how the service is. Of another service than this package's only Status may be known.
func (c *Client) Health(ctx context.Context) (Health, error) {
	var h Health
	err := c.do(ctx, &call{op: "health", method: http.MethodGet, path: c.cfg.HealthPath, retry: true, limit: maxOneBody, timeout: c.cfg.Timeout,
		decode: func(_ int, body []byte) error {
			h = decodeHealth(body)
			return nil
		}})
	return h, err
}

// call is one call of the service, which may take several tries.
type call struct {
	op           string
	method, path string // path with its query
	body         []byte
	ifMatch      []int64
	retry        bool
	hedge        *hedge // decides about a second request; nil: never
	limit        int64  // bytes of an answer
	timeout      time.Duration
	// decode takes a 2xx answer. Its error means that the answer makes no sense, unless it wraps
	// profile.ErrNotFound.
	decode func(status int, body []byte) error
}

// request returns the call as an HTTP request.
func (c *Client) request(ctx context.Context, call *call) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, call.method, c.base.String()+call.path, bytes.NewReader(call.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "edgecache")
	if call.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if len(call.ifMatch) > 0 {
		tags := make([]string, len(call.ifMatch))
		for i, v := range call.ifMatch {
			tags[i] = ETag(v)
		}
		req.Header.Set("If-Match", strings.Join(tags, ", "))
	}
	return req, c.authorize(req)
}

// ETag is a version as an entity tag.
func ETag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }
