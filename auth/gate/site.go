package gate

import (
	"bytes"
	"errors"
	"net/url"
	"slices"
	"strings"
	"unsafe"

	"github.com/valyala/fasthttp"
)

// ErrCrossSite reports a change that a page of another site asked for.
var ErrCrossSite = errors.New("gate: the request comes from a page of another site")

// OwnSite returns ErrCrossSite for what the browser says a page of another site sent, unless that
// site is named. Browsers say so by Sec-Fetch-Site, older ones by Origin alone, and no page can
// leave these out; programs send neither. A request with an Authorization header passes: another
// site's page could send it only after asking, and that question is answered with yes for named
// sites alone. A POST without one must have a type that a form cannot send, else OwnSite returns
// ErrSimpleType.
func (g *Gate) OwnSite(h *fasthttp.RequestHeader) error {
	if len(h.PeekBytes(authorization)) > 0 {
		return nil
	}
	if !g.ownSite(h) {
		return ErrCrossSite
	}
	if h.IsPost() && !changeType(h.ContentType()) {
		return ErrSimpleType
	}
	return nil
}

func (g *Gate) ownSite(h *fasthttp.RequestHeader) bool {
	origin := string(h.Peek(fasthttp.HeaderOrigin))
	switch string(h.Peek("Sec-Fetch-Site")) {
	case "same-origin", "none": // none: the person, by hand
		return true
	case "":
	default:
		return slices.Contains(g.access.Origins, origin)
	}
	if origin == "" || slices.Contains(g.access.Origins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, string(h.Host()))
}

// changeType reports whether a page of another site cannot send this type without asking.
func changeType(contentType []byte) bool {
	switch string(contentType) { // as it is nearly always written
	case "application/json", "application/msgpack", "application/wasm":
		return true
	}
	name, _, _ := bytes.Cut(contentType, []byte(";"))
	switch strings.ToLower(string(bytes.TrimSpace(name))) {
	case "application/json", "application/msgpack", "application/wasm":
		return true
	}
	return false
}

const (
	corsMethods = "GET, HEAD, POST, PUT, DELETE"
	corsHeaders = "Authorization, Cache-Control, Content-Type, If-Match, If-None-Match"
	corsExposed = "Age, Cache-Status, ETag, Retry-After, WWW-Authenticate"
)

// Preflight answers the question of a browser whether a page of a named site may send a request,
// and reports whether it was one. All other sites get the answer of a path that does not know the
// method.
func (g *Gate) Preflight(ctx *fasthttp.RequestCtx) bool {
	h := &ctx.Request.Header
	if len(g.access.Origins) == 0 || !h.IsOptions() || len(h.Peek(fasthttp.HeaderAccessControlRequestMethod)) == 0 ||
		!slices.Contains(g.access.Origins, string(h.Peek(fasthttp.HeaderOrigin))) {
		return false
	}
	ctx.Response.SetStatusCode(fasthttp.StatusNoContent)
	out := &ctx.Response.Header
	out.Set(fasthttp.HeaderAccessControlAllowMethods, corsMethods)
	out.Set(fasthttp.HeaderAccessControlAllowHeaders, corsHeaders)
	out.Set(fasthttp.HeaderAccessControlMaxAge, "600")
	return true
}

var (
	headerNoSniff  = []byte(fasthttp.HeaderXContentTypeOptions)
	valueNoSniff   = []byte("nosniff")
	headerResource = []byte("Cross-Origin-Resource-Policy")
	valueSame      = []byte("same-origin")
	headerPolicy   = []byte(fasthttp.HeaderContentSecurityPolicy)
	valuePolicy    = []byte("default-src 'none'; frame-ancestors 'none'")
	headerStrict   = []byte(fasthttp.HeaderStrictTransportSecurity)
	valueStrict    = []byte("max-age=31536000")
)

// Protect adds what browsers should know about every answer: that its type is what it says, and
// which sites may read it. One that could be shown as a page, as errors are, is told that it has no
// contents to load, unless it set a policy itself; JSON and msgpack that are no errors are no
// pages, and leaving that out keeps hits short.
func (g *Gate) Protect(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	h.SetCanonical(headerNoSniff, valueNoSniff)
	if ctx.Response.StatusCode() >= 300 || !changeType(h.ContentType()) {
		protectPage(h)
	}
	if g.secure {
		h.SetCanonical(headerStrict, valueStrict)
	}
	if len(g.access.Origins) == 0 {
		h.SetCanonical(headerResource, valueSame)
		return
	}
	h.Add(fasthttp.HeaderVary, fasthttp.HeaderOrigin)
	if origin := string(ctx.Request.Header.Peek(fasthttp.HeaderOrigin)); slices.Contains(g.access.Origins, origin) {
		h.Set(fasthttp.HeaderAccessControlAllowOrigin, origin)
		h.Set(fasthttp.HeaderAccessControlExposeHeaders, corsExposed)
	}
}

func protectPage(h *fasthttp.ResponseHeader) {
	if len(h.PeekBytes(headerPolicy)) == 0 {
		h.SetCanonical(headerPolicy, valuePolicy)
	}
}

// text returns b as a string that is valid while b is.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
