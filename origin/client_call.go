package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/life"
	"github.com/chatapp-ngomna/edgecache/profile"
)

const (
	// retryPause and maxRetryPause bound the pause before a retry, see wait.Backoff.
	retryPause    = 50 * time.Millisecond
	maxRetryPause = 500 * time.Millisecond
	// maxRetryAfter is the longest that a Retry-After is kept to: a cache that must notice soon
	// that its origin is back.
	maxRetryAfter = 5 * time.Second
)

// do makes a call, with retries when it may be repeated and ctx leaves time for it.
func (c *Client) do(ctx context.Context, call *call) error {
	for attempt := 1; ; attempt++ {
		err, again := c.try(ctx, call)
		if err == nil {
			return nil
		}
		if !again || !call.retry || attempt > c.cfg.Retries {
			return err
		}
		pause := max(life.Backoff(attempt, retryPause, maxRetryPause), err.RetryAfter)
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < pause {
			return err
		}
		c.cfg.Logger.Warn("origin: client: retry", "attempt", attempt, "error", err, "pause", pause)
		if !life.Wait(ctx, pause) {
			return err
		}
		c.retries.Add(1)
	}
}

// try makes one attempt, if the breaker and the service's Retry-After allow, and tells whether
// another makes sense.
func (c *Client) try(ctx context.Context, call *call) (failure *Error, again bool) {
	if wait := c.holdOff.left(); wait > 0 {
		c.refused.Add(1)
		return &Error{Op: call.op, Detail: "the service asked for time", RetryAfter: wait, Err: profile.ErrUnavailable}, false
	}
	report, err := c.breaker.allow()
	if err != nil {
		c.refused.Add(1)
		return &Error{Op: call.op, RetryAfter: c.cfg.OpenFor, Err: fmt.Errorf("%w: %w", profile.ErrUnavailable, err)}, false
	}
	if c.breaker.probing.Load() {
		// on an old one that breaks, net/http would send the probe again
		c.http.CloseIdleConnections()
	}
	result := fails // also when what follows panics
	defer func() { report(result) }()
	c.requests.Add(1)
	failure, result = c.send(ctx, call)
	if result == fails {
		c.failures.Add(1)
	}
	if failure == nil {
		return nil, false
	}
	c.holdOff.set(failure.RetryAfter)
	return failure, repeatable(ctx, failure, result)
}

// repeatable reports whether a failed try may go differently the next time.
func repeatable(ctx context.Context, failure *Error, result verdict) bool {
	if ctx.Err() != nil || failure.Status == http.StatusNotImplemented || errors.Is(failure, errNonsense) {
		return false
	}
	return result != works
}

// send makes the request, or two of which one wins, and takes the answer.
func (c *Client) send(ctx context.Context, call *call) (*Error, verdict) {
	got := c.race(ctx, call)
	if got.failure != nil {
		return got.failure, got.verdict
	}
	if err := call.decode(got.status, got.body); err != nil {
		return nonsense(call, got.status, err)
	}
	return nil, works
}

// fetched is the outcome of one request: an answer with a 2xx status, or a failure.
type fetched struct {
	status  int
	body    []byte
	failure *Error
	verdict verdict

	// Of a race: whether this is its second request, and what it panicked with.
	hedge    bool
	panicked any
}

// fetch makes one request and reads its answer.
func (c *Client) fetch(ctx context.Context, call *call) (f fetched) {
	began := time.Now()
	bounded, cancel := context.WithTimeout(ctx, call.timeout)
	defer cancel()
	req, err := c.request(bounded, call)
	if err != nil {
		return fetched{failure: &Error{Op: call.op, Err: fmt.Errorf("%w: %w", profile.ErrUnavailable, err)}, verdict: unknown}
	}
	if trace := c.cfg.Trace; trace != nil {
		kind, _, _ := strings.Cut(call.op, " ") // the rest names users
		end := trace(ctx, "origin "+kind, req.Header)
		defer func() { end(f.status) }()
	}
	resp, err := c.http.Do(req)
	if err != nil {
		f.failure, f.verdict = unreachable(ctx, call, err, time.Since(began))
		return f
	}
	defer resp.Body.Close()
	f.status = resp.StatusCode
	if f.status < 200 || f.status > 299 {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // whatever can be read of it
		f.failure, f.verdict = answered(call, f.status, resp.Header, body)
		return f
	}
	f.body, err = readCapped(resp, call.limit)
	switch {
	case errors.Is(err, errNonsense):
		f.failure, f.verdict = nonsense(call, f.status, err)
	case err != nil:
		f.failure, f.verdict = unreachable(ctx, call, err, time.Since(began))
	}
	return f
}

var (
	// errNonsense marks an answer that says it is good and cannot be used.
	errNonsense = errors.New("unusable answer")
	// errNoJSON marks one that is not even JSON, errTooLong one that is longer than is read.
	errNoJSON  = errors.New("JSON")
	errTooLong = errors.New("too long")
)

// nonsense turns an error about a 2xx answer into one that wraps profile.ErrMalformed. An answer of
// another shape comes from a service that works; one that is not even JSON may come from something
// that stands in its place.
func nonsense(call *call, status int, err error) (*Error, verdict) {
	e := &Error{Op: call.op, Status: status}
	if errors.Is(err, profile.ErrNotFound) {
		e.Err = err
		return e, works
	}
	if !errors.Is(err, errNonsense) {
		err = fmt.Errorf("%w: %w", errNonsense, err)
	}
	e.Err = fmt.Errorf("%w: %w: %w", profile.ErrUnavailable, profile.ErrMalformed, err)
	if errors.Is(err, errNoJSON) {
		return e, fails
	}
	return e, works
}

// readCapped reads a body of at most limit bytes.
func readCapped(resp *http.Response, limit int64) ([]byte, error) {
	if resp.ContentLength > limit {
		return nil, fmt.Errorf("%w: %w: %d bytes; at most %d", errNonsense, errTooLong, resp.ContentLength, limit)
	}
	// one more, so that the end is seen without growing
	body := make([]byte, 0, max(512, resp.ContentLength+1))
	for {
		n, err := resp.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case int64(len(body)) > limit:
			return nil, fmt.Errorf("%w: %w: at most %d bytes", errNonsense, errTooLong, limit)
		case err == io.EOF:
			return body, nil
		case err != nil:
			return nil, err
		case len(body) == cap(body):
			body = append(body, 0)[:len(body)]
		}
	}
}

// holdOff is the time until which the service asked not to be called.
type holdOff struct {
	began time.Time    // what until counts from, so that a wall clock that is set changes nothing
	until atomic.Int64 // ns
}

func (h *holdOff) set(d time.Duration) {
	if d > 0 {
		h.until.Store(int64(time.Since(h.began) + d))
	}
}

// left is how long it still lasts, not above 0 when it is over.
func (h *holdOff) left() time.Duration {
	until := h.until.Load()
	if until == 0 {
		return 0
	}
	return time.Duration(until) - time.Since(h.began)
}

// TokenSource returns the bearer token for a request. It may be called concurrently.
type TokenSource func() (string, error)

// authorize puts the client's token into a request.
func (c *Client) authorize(req *http.Request) error {
	if c.cfg.Token == nil {
		return nil
	}
	token, err := c.cfg.Token()
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return nil
}
