package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/auth/gate"
	"github.com/chatapp-ngomna/edgecache/internal/web"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// problemBase precedes the names of the problems; docs/problems.md explains each under its name.
const problemBase = "https://github.com/chatapp-ngomna/edgecache/blob/main/docs/problems.md#"

// idRule is the rule of ids, as clients are told it.
const idRule = "1-128 bytes of [A-Za-z0-9._:@-]"

// retryAfter is how many seconds a client should wait after a 503: a breaker's and a fence's pauses
// are of that order.
const retryAfter = "1"

// problem is an answer as of RFC 9457. A handler returns one as its error.
type problem struct {
	status int
	name   string // completes type; what programs tell problems apart by
	title  string // what programs' readers read, the same for every occurrence
	detail string // what went wrong this time
	rule   string // the rule that a value broke, when there is one
	allow  string // the methods that would have been allowed, for 405
	ask    string // WWW-Authenticate, for 401 and 403
	wait   int    // Retry-After in seconds; 0 is that of the status
	cause  error  // what the log says besides detail
}

// Error makes problem an error.
func (p *problem) Error() string {
	if p.cause != nil {
		return p.detail + ": " + p.cause.Error()
	}
	return p.detail
}

var (
	problemInternal = &problem{status: 500, name: "internal", title: "Internal error", detail: "the server failed to answer; its log says why"}
	problemBody     = &problem{status: 413, name: "too-large", title: "Too large", detail: fmt.Sprintf("the request body is larger than is taken here; at most %d bytes", MaxBody)}
	problemHead     = &problem{status: 431, name: "head-too-large", title: "Request head too large",
		detail: fmt.Sprintf("the URL and the headers together are larger than %d bytes; POST /v1/users/batch takes up to 10,000 ids in its body", MaxHead)}
	problemBusy = &problem{status: 503, name: "too-busy", title: "Too busy",
		detail: "the bodies and answers of other requests hold all the memory that they may; try again"}
	problemNoBody = &problem{status: 400, name: "bad-request", title: "Bad request", detail: "a lookup by GET or HEAD has no body"}
	problemCut    = &problem{status: 400, name: "bad-request", title: "Bad request", detail: "the request body ended early, or is no body of HTTP"}
	problemSite   = &problem{status: 403, name: "cross-site", title: "Request of another site",
		detail: "a page of another site sent this from a browser; changes are for pages of this host, and for programs"}
	problemSlow = &problem{status: 408, name: "timeout", title: "Request timeout", detail: "the request did not arrive in time"}
)

func problemRequest(detail string) *problem {
	return &problem{status: 400, name: "bad-request", title: "Bad request", detail: detail}
}

func problemMethod(status int, detail string) *problem {
	return &problem{status: status, name: "method-not-allowed", title: "Method not allowed", detail: detail}
}

func problemUser(id string) *problem {
	return &problem{status: 404, name: "user-not-found", title: "User not found", detail: "no user has the id " + strconv.Quote(id)}
}

// problemOf is the one mapping from errors to statuses.
func problemOf(err error) *problem {
	var p *problem
	var f *fiber.Error
	var limited *gate.Limited
	if p := functionProblem(err); p != nil {
		return p
	}
	switch {
	case errors.As(err, &limited):
		return problemLimit(limited)
	case errors.As(err, &p):
		return p
	case errors.As(err, &f):
		return problemOfStatus(f)
	case errors.Is(err, auth.ErrUnauthorized), errors.Is(err, auth.ErrForbidden):
		return problemAuth(err)
	case errors.Is(err, gate.ErrForeignHost):
		return &problem{status: gate.Status(err), name: "foreign-host", title: "Another host", detail: "the request is for another host: " + reason(err, gate.ErrForeignHost)}
	case errors.Is(err, gate.ErrSimpleType):
		return problemType("a change without a token needs Content-Type: application/json or application/msgpack, an empty one as well")
	case errors.Is(err, web.ErrTooLarge):
		return problemBody
	case errors.Is(err, web.ErrBusy):
		return problemBusy
	case errors.Is(err, web.ErrNoBody):
		return problemNoBody
	case errors.Is(err, web.ErrTruncated):
		return problemCut
	case errors.Is(err, gate.ErrCrossSite):
		return problemSite
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problemSlow
	case errors.Is(err, profile.ErrInvalidID):
		return &problem{status: gate.Status(err), name: "invalid-id", title: "Invalid user id", detail: "invalid id: " + reason(err, profile.ErrInvalidID), rule: idRule}
	case errors.Is(err, profile.ErrNotFound):
		return &problem{status: gate.Status(err), name: "user-not-found", title: "User not found", detail: "no such user"}
	case errors.Is(err, tier.ErrTooMany), errors.Is(err, profile.ErrTooLarge):
		return &problem{status: 413, name: "too-large", title: "Too large", detail: reason(err, tier.ErrTooMany, profile.ErrTooLarge)}
	case errors.Is(err, node.ErrNotTold):
		return &problem{status: 503, name: "not-told", title: "Other nodes not told",
			detail: "Redis has the change, but the other nodes could not be told of it; try again"}
	case errors.Is(err, tier.ErrConflict):
		return &problem{status: 409, name: "version-conflict", title: "Version conflict", detail: "a version at least as new is already known"}
	case errors.Is(err, tier.ErrBehind):
		return &problem{status: 503, name: "version-not-reached", title: "Version not reached yet", detail: "the requested minVersion is not there yet; try again"}
	case errors.Is(err, profile.ErrMalformed): // also unavailable to who has to load it
		return &problem{status: 502, name: "malformed-profile", title: "Malformed profile",
			detail: "the source of truth answered with something that is no profile: " + reason(err, profile.ErrMalformed)}
	case errors.Is(err, profile.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled),
		errors.Is(err, tier.ErrClosed), errors.Is(err, errClosing):
		return &problem{status: 503, name: "unavailable", title: "Unavailable", detail: unavailable(err) + ", and no copy may be shown; try again"}
	}
	return problemInternal
}

// problemAuth is for requests without the token that they need.
func problemAuth(err error) *problem {
	p := &problem{status: gate.Status(err), name: "unauthorized", title: "Unauthorized", detail: "not authorized: " + reason(err, auth.ErrUnauthorized)}
	if errors.Is(err, auth.ErrForbidden) {
		p = &problem{status: gate.Status(err), name: "forbidden", title: "Forbidden", detail: "not allowed: " + reason(err, auth.ErrForbidden)}
	}
	if denied, ok := errors.AsType[*gate.Denied](err); ok {
		p.ask = denied.Challenge
	}
	return p
}

// problemLimit is for requests above a limit of their client.
func problemLimit(l *gate.Limited) *problem {
	return &problem{status: 429, name: "too-many", title: "Too many requests", detail: l.What + " from one client; try again later",
		wait: int((l.Wait + time.Second - 1) / time.Second)}
}

// unavailable says what was waited for, and the limit, without what a stranger need not know of the
// inside.
func unavailable(err error) string {
	if w, ok := errors.AsType[*look.Waited](err); ok {
		return fmt.Sprintf("%s, until the %v of a load were over", w.For, w.Limit)
	}
	e, ok := errors.AsType[*origin.Error](err)
	switch {
	case ok && e.Limit > 0:
		return fmt.Sprintf("the source of truth did not answer within %v (--origin-timeout)", e.Limit)
	case ok && e.Status != 0:
		return fmt.Sprintf("the source of truth answered %d %s", e.Status, http.StatusText(e.Status))
	case ok && e.RetryAfter > 0:
		return fmt.Sprintf("the source of truth has failed, and is asked again in %v at the latest", e.RetryAfter)
	}
	return "the source of truth could not be reached in time"
}

// problemOfStatus is for what Fiber and fasthttp refuse before a handler of ours sees it.
func problemOfStatus(f *fiber.Error) *problem {
	switch f.Code {
	case fiber.StatusRequestEntityTooLarge:
		return problemBody
	case fiber.StatusRequestHeaderFieldsTooLarge:
		return problemHead
	case fiber.StatusRequestTimeout:
		return problemSlow
	case fiber.StatusBadRequest:
		return problemRequest("this is no HTTP request that can be read: " + f.Message)
	case fiber.StatusInternalServerError:
		return problemInternal
	}
	return &problem{status: f.Code, name: "http-" + strconv.Itoa(f.Code), title: http.StatusText(f.Code), detail: f.Message}
}

// reason returns what an error says after the text of its sentinel.
func reason(err error, sentinels ...error) string {
	for _, sentinel := range sentinels {
		if _, after, ok := strings.Cut(err.Error(), sentinel.Error()+": "); ok {
			return after
		}
	}
	return err.Error()
}

// changeError is for the errors of a change: what is no fault of the request is one of Redis, which
// had to take it.
func changeError(err error) error {
	if problemOf(err) != problemInternal {
		return err
	}
	return &problem{status: 503, name: "change-not-taken", title: "Change not taken",
		detail: "Redis did not take the change, as far as is known; try again", cause: err}
}

// handleError is Fiber's ErrorHandler: the end of every request that is no success.
func (s *Server) handleError(c *fiber.Ctx, err error) error {
	p := problemOf(err)
	switch {
	case p.status == fiber.StatusNotFound && p.name == "http-404":
		p = problemRoute(c)
	case p.status == fiber.StatusMethodNotAllowed:
		allow := string(c.Response().Header.Peek(fiber.HeaderAllow))
		p = problemMethod(p.status, fmt.Sprintf("%s is not allowed here, only %s", c.Method(), allow))
		p.allow = allow
	}
	s.metrics.failed(p.status)
	if p.status >= fiber.StatusInternalServerError {
		s.logFailure(c, p.status, err)
	}
	c.Response().Reset()
	p.write(c.Response())
	return nil
}

func problemRoute(c *fiber.Ctx) *problem {
	return &problem{status: 404, name: "no-such-path", title: "No such path",
		detail: fmt.Sprintf("nothing is served at %.200q; a user is at /v1/users/ID, without a slash at the end", c.Path())}
}

// logFailure keeps the causes that clients are not told. An outage makes one per request, so those
// are for debugging; an internal error never is.
func (s *Server) logFailure(c *fiber.Ctx, status int, err error) {
	log := s.cfg.Logger.Debug
	if status == fiber.StatusInternalServerError {
		log = s.cfg.Logger.Error
	}
	log("api: request failed", "method", c.Method(), "path", c.Path(), "status", status, "error", err.Error())
}

// write makes p the response.
func (p *problem) write(r *fasthttp.Response) {
	r.SetStatusCode(p.status)
	h := &r.Header
	h.SetContentType("application/problem+json")
	h.SetCanonical(headerCacheControl, valueNoStore)
	if p.wait > 0 {
		h.Set(fiber.HeaderRetryAfter, strconv.Itoa(p.wait))
	} else if p.status == fasthttp.StatusServiceUnavailable {
		h.Set(fiber.HeaderRetryAfter, retryAfter)
	}
	if p.ask != "" {
		h.Set(fiber.HeaderWWWAuthenticate, p.ask)
	}
	if p.allow != "" {
		h.Set(fiber.HeaderAllow, p.allow)
	}
	r.SetBodyRaw(p.appendJSON(nil))
}

func (p *problem) appendJSON(dst []byte) []byte {
	dst = profile.AppendJSONString(append(dst, `{"type":`...), problemBase+p.name)
	dst = profile.AppendJSONString(append(dst, `,"title":`...), p.title)
	dst = strconv.AppendInt(append(dst, `,"status":`...), int64(p.status), 10)
	dst = profile.AppendJSONString(append(dst, `,"detail":`...), p.detail)
	if p.rule != "" {
		dst = profile.AppendJSONString(append(dst, `,"rule":`...), p.rule)
	}
	return append(dst, '}', '\n')
}
