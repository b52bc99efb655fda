package origin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Error is why a call of a Client failed.
type Error struct {
	// Op is the call, such as load "123".
	Op string
	// Status is the HTTP status, 0 when there was no answer.
	Status int
	// Detail says more, in the service's words when it had some.
	Detail string
	// Fields are the fields of a write that the service refused.
	Fields FieldErrors
	// RetryAfter is how long to wait before the next try makes sense, 0 when unknown.
	RetryAfter time.Duration
	// Limit is how long the service had to answer, when it took longer: ClientConfig.Timeout or
	// BatchTimeout; else 0.
	Limit time.Duration
	// Err is the sentinel and its cause.
	Err error
}

// Error has the operation, the status and the detail.
func (e *Error) Error() string {
	text := "origin: " + e.Op
	if e.Status != 0 {
		text += fmt.Sprintf(": %d %s", e.Status, http.StatusText(e.Status))
	}
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	// the service's words may end so
	if why := e.Err.Error(); !strings.HasSuffix(text, strings.TrimPrefix(why, "profile: ")) {
		text += ": " + why
	}
	return text
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// verdict is what a try tells the breaker.
type verdict uint8

const (
	// works: the service answered, be it that there is no such user.
	works verdict = iota
	// fails: it did not, or with nonsense.
	fails
	// unknown: the try says nothing about the service.
	unknown
)

// answered turns an answer that is no 2xx into an error.
func answered(call *call, status int, header http.Header, body []byte) (*Error, verdict) {
	e := &Error{Op: call.op, Status: status, Err: meaning(call, status)}
	e.Detail, e.Fields = explain(body)
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		e.RetryAfter = parseRetryAfter(header.Get("Retry-After"))
	}
	return e, judge(status)
}

func judge(status int) verdict {
	switch {
	case status == http.StatusTooManyRequests || status == http.StatusRequestTimeout:
		return unknown // it is alive, and its Retry-After is kept to
	case status >= http.StatusInternalServerError:
		return fails
	default:
		return works
	}
}

// explain takes the detail out of an error's body: RFC 9457, or {"message":…} or {"error":…} as
// Node.js services do.
func explain(body []byte) (string, FieldErrors) {
	var p struct {
		Detail, Message, Title string
		Error                  json.RawMessage
		Errors                 FieldErrors
	}
	if err := json.Unmarshal(body, &p); err != nil && p.Detail == "" && p.Message == "" {
		return "", nil
	}
	var text string
	_ = json.Unmarshal(p.Error, &text)
	for _, s := range []string{p.Detail, p.Message, text, p.Title} {
		if s != "" {
			return fmt.Sprintf("%.500s", s), p.Errors
		}
	}
	return "", p.Errors
}

// parseRetryAfter reads seconds or a date, capped; 0 when there is none.
func parseRetryAfter(text string) time.Duration {
	var d time.Duration
	if secs, err := strconv.Atoi(strings.TrimSpace(text)); err == nil {
		d = time.Duration(min(max(secs, 0), int(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		d = time.Until(at)
	}
	return min(max(d, 0), maxRetryAfter)
}

// unreachable turns the error of a request into one, given how long the try lasted. A caller who
// left says nothing about the service; one whose time was up does when the service had a fair share
// of its own timeout.
func unreachable(ctx context.Context, call *call, err error, lasted time.Duration) (*Error, verdict) {
	e := &Error{Op: call.op, Err: fmt.Errorf("%w: %w", profile.ErrUnavailable, err)}
	switch {
	case ctx.Err() == nil:
		if timedOut(err) {
			e.Limit = call.timeout
		}
		return e, fails
	case errors.Is(ctx.Err(), context.Canceled):
		e.Err = fmt.Errorf("%w: %w", ctx.Err(), err)
		return e, unknown
	case lasted < call.timeout/4:
		return e, unknown
	default:
		return e, fails
	}
}

func timedOut(err error) bool {
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && timeout.Timeout()
}
