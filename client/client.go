// Package client asks edgecache nodes for profiles over HTTP: with retries where they are safe,
// with a memory of profiles that costs a short question instead of an answer (ETag), and with
// lookups of many users split as the nodes want them. It stands on net/http and links neither Redis
// nor a database. A process that can reach Redis embeds a node instead (package node).
package client

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/life"
	"github.com/chatapp-ngomna/edgecache/profile"
)

const (
	// MaxBatch is how many ids a node takes at once.
	MaxBatch = 10_000
	// maxAnswer is the largest answer that is read, in bytes.
	maxAnswer = 128 << 20
	// retryPause and maxRetryPause bound the pause before a retry that the node does not name.
	retryPause    = 50 * time.Millisecond
	maxRetryPause = time.Second
	// maxRetryAfter is the longest pause that a node may ask for.
	maxRetryAfter = 10 * time.Second
)

// ErrConfig reports a Config that cannot work; the text names the field.
var ErrConfig = errors.New("client: bad configuration")

// Config configures a Client. URL is required; the zero value of everything else is a default.
type Config struct {
	// URL is where the node is, such as http://127.0.0.1:8003 or https://nodes.example; a path
	// before the routes is possible.
	URL string
	// Token gives each request its bearer token; auth.SignTokens and auth.FileToken make such
	// functions. Default: none is sent.
	Token func() (string, error)
	// Transport makes the requests, with TLS as it likes. Default: a transport of the client's own,
	// with the authorities that the system knows.
	Transport http.RoundTripper
	// Timeout bounds one try. Default 5 s.
	Timeout time.Duration
	// Retries is how often what failed is tried again, within the caller's ctx, when that is safe:
	// lookups and invalidations, after an error of the network, 429, 502, 503 and 504. Default 2;
	// below 0: never.
	Retries int
	// Remember is how many profiles are remembered with their ETag, to ask whether they still hold.
	// Default 10,000; below 0: none.
	Remember int
	// BatchSize is how many ids one request for many users has; more are split. Default 1,000, at
	// most MaxBatch.
	BatchSize int
	// Parallel is how many of these requests are under way at once. Default 4.
	Parallel int
}

func (c Config) withDefaults() Config {
	c.Timeout = cmp.Or(c.Timeout, 5*time.Second)
	c.Retries = max(cmp.Or(c.Retries, 2), 0)
	c.Remember = max(cmp.Or(c.Remember, 10_000), 0)
	c.BatchSize = cmp.Or(c.BatchSize, 1000)
	c.Parallel = cmp.Or(c.Parallel, 4)
	return c
}

func (c Config) validate() (*url.URL, error) {
	switch {
	case c.Timeout < 0:
		return nil, fmt.Errorf("%w: Timeout %v; want more than 0", ErrConfig, c.Timeout)
	case c.BatchSize < 1 || c.BatchSize > MaxBatch:
		return nil, fmt.Errorf("%w: BatchSize %d; want 1 to %d", ErrConfig, c.BatchSize, MaxBatch)
	case c.Parallel < 1:
		return nil, fmt.Errorf("%w: Parallel %d; want 1 or more", ErrConfig, c.Parallel)
	}
	u, err := url.Parse(strings.TrimRight(c.URL, "/"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		// it may hold a password
		return nil, fmt.Errorf("%w: URL is no URL of a node; want http://HOST:PORT", ErrConfig)
	}
	return u, nil
}

// Client asks one node, or what stands before several. Its methods may be called concurrently.
type Client struct {
	cfg  Config
	base string
	http *http.Client
	own  *http.Transport // nil with Config.Transport
	tags tags
}

// New returns a client. Nothing is sent yet. Errors wrap ErrConfig.
func New(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	base, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, base: base.String(), tags: tags{most: cfg.Remember}}
	if cfg.Transport == nil {
		c.own = &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second,
			DialContext:         (&net.Dialer{Timeout: 2 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			TLSHandshakeTimeout: 2 * time.Second, DisableCompression: true}
		c.cfg.Transport = c.own
	}
	c.http = &http.Client{Transport: c.cfg.Transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // a token goes nowhere else
	}}
	return c, nil
}

// Close closes idle connections of the client's own transport. Calls in progress are their callers'
// to cancel.
func (c *Client) Close() {
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// Answer is an answer of 2xx or 304.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// request is a call, which may take several tries.
type request struct {
	method, path string // path with its query
	body         []byte
	header       http.Header
	again        bool // it may be sent twice
}

// Do makes one request as it is, without retries: path begins with a slash and may have a query,
// body is JSON or nil. It is for what has no method here. Errors are *Error for an answer above
// 399.
func (c *Client) Do(ctx context.Context, method, path string, body []byte) (Answer, error) {
	return c.Send(ctx, method, path, "", body)
}

// Send is Do for a body of another type, such as "application/wasm"; "" is JSON.
func (c *Client) Send(
	ctx context.Context, method, path, contentType string, body []byte,
) (Answer, error) {
	r := &request{method: method, path: path, body: body}
	if contentType != "" {
		r.header = http.Header{"Content-Type": {contentType}}
	}
	return c.do(ctx, r)
}

func (c *Client) do(ctx context.Context, r *request) (Answer, error) {
	for attempt := 1; ; attempt++ {
		a, err := c.try(ctx, r)
		if err == nil || !r.again || attempt > c.cfg.Retries || !passing(ctx, err) {
			return a, err
		}
		pause := life.Backoff(attempt, retryPause, maxRetryPause)
		if e, ok := errors.AsType[*Error](err); ok {
			pause = max(pause, min(e.RetryAfter, maxRetryAfter))
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < pause || !life.Wait(ctx, pause) {
			return a, err
		}
	}
}

// passing reports whether a failure may be over soon.
func passing(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Status == 0 {
		return ok
	}
	switch e.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

func (c *Client) try(ctx context.Context, r *request) (Answer, error) {
	limit := fmt.Errorf("no answer within %v", c.cfg.Timeout)
	bounded, cancel := context.WithTimeoutCause(ctx, c.cfg.Timeout, limit)
	defer cancel()
	req, err := c.request(bounded, r)
	if err != nil {
		return Answer{}, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Answer{}, c.unreachable(ctx, bounded, r, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return Answer{}, c.unreachable(ctx, bounded, r, err)
	case len(body) > maxAnswer:
		return Answer{}, fmt.Errorf("client: %s %s: the answer is larger than %d MiB", r.method, r.path, maxAnswer>>20)
	case resp.StatusCode/100 == 2 || resp.StatusCode == http.StatusNotModified:
		return Answer{resp.StatusCode, resp.Header, body}, nil
	}
	return Answer{resp.StatusCode, resp.Header, body}, refused(r, resp, body)
}

func (c *Client) request(ctx context.Context, r *request) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, c.base+r.path, bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "edgecache-client")
	if req.Header.Get("Content-Type") == "" && (r.body != nil || r.method == http.MethodPost) {
		// also without a body: a node without tokens wants it
		req.Header.Set("Content-Type", "application/json")
	}
	if c.cfg.Token != nil {
		token, err := c.cfg.Token()
		if err != nil {
			return nil, fmt.Errorf("client: token: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return req, nil
}

// unreachable is for requests without an answer. A caller who left gets the cause of its own
// context.
func (c *Client) unreachable(ctx, bounded context.Context, r *request, err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // without the URL, which may hold a password
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("client: %s %s: %w", r.method, r.path, context.Cause(ctx))
	case bounded.Err() != nil:
		err = context.Cause(bounded)
	}
	return &Error{Op: r.method + " " + r.path, err: fmt.Errorf("%w: %w", profile.ErrUnavailable, err)}
}
