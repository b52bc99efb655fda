package client

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

var (
	// ErrNotFound reports a user that the source of truth does not know.
	ErrNotFound = profile.ErrNotFound
	// ErrInvalidID reports an id that breaks the rule for ids.
	ErrInvalidID = profile.ErrInvalidID
	// ErrUnavailable reports that the node did not answer, or could not in time.
	ErrUnavailable = profile.ErrUnavailable
	// ErrConflict reports a Put of a version that is not above what is known, or a prewarm beside
	// another.
	ErrConflict = errors.New("client: conflict")
	// ErrUnauthorized reports a request without a token that the node takes.
	ErrUnauthorized = errors.New("client: not authorized")
	// ErrForbidden reports a request that the token's roles do not cover.
	ErrForbidden = errors.New("client: not allowed")
	// ErrLimited reports a request above a limit of the node.
	ErrLimited = errors.New("client: too many requests")
)

// Error is a request that failed: without an answer, or with one that says why (RFC 9457). It wraps
// one of the errors above where one fits.
type Error struct {
	// Op is the request, such as GET /v1/users/123.
	Op string
	// Status is the HTTP status, 0 when there was no answer.
	Status int
	// Problem is what the problem's type ends in, such as "user-not-found"; docs/problems.md
	// explains each. "about:blank" is one of an origin. "" when the answer was none of either.
	Problem string
	// Detail says what went wrong, and Rule the rule that a value broke.
	Detail, Rule string
	// RetryAfter is how long the node asks to wait, 0 when it does not.
	RetryAfter time.Duration

	err error
}

// Error returns the request, the status and the detail.
func (e *Error) Error() string {
	text := "client: " + e.Op
	if e.Status != 0 {
		text += fmt.Sprintf(": %d %s", e.Status, http.StatusText(e.Status))
	}
	if e.Detail != "" {
		return text + ": " + e.Detail
	}
	if e.err != nil {
		return text + ": " + e.err.Error()
	}
	return text
}

// Unwrap returns the sentinel.
func (e *Error) Unwrap() error { return e.err }

// refused turns an answer above 399, or a redirect, into an error.
func refused(r *request, resp *http.Response, body []byte) *Error {
	e := &Error{Op: r.method + " " + r.path, Status: resp.StatusCode}
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	var p struct{ Type, Detail, Rule string }
	if kind == "application/problem+json" && json.Unmarshal(body, &p) == nil {
		_, name, named := strings.Cut(p.Type, "#")
		if e.Problem = name; !named {
			e.Problem = cmp.Or(p.Type, "about:blank")
		}
		e.Detail, e.Rule = p.Detail, p.Rule
	}
	if seconds, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 31); err == nil {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	e.err = sentinel(e.Status, e.Problem)
	return e
}

func sentinel(status int, problem string) error {
	switch {
	case problem == "user-not-found":
		return ErrNotFound
	case problem == "invalid-id":
		return ErrInvalidID
	case status == http.StatusConflict:
		return ErrConflict
	case status == http.StatusUnauthorized:
		return ErrUnauthorized
	case status == http.StatusForbidden:
		return ErrForbidden
	case status == http.StatusTooManyRequests:
		return ErrLimited
	case status >= http.StatusInternalServerError:
		return ErrUnavailable
	}
	return nil
}
