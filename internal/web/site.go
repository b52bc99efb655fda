package web

import (
	"errors"
	"net/url"
	"strings"

	"github.com/valyala/fasthttp"
)

// ErrCrossSite reports a change that a page of another site asked for.
var ErrCrossSite = errors.New("web: the request comes from a page of another site")

// OwnSite returns ErrCrossSite for what the browser says a page of another site sent. Browsers say so by Sec-Fetch-Site,
// older ones by Origin alone, and no page can leave these out; programs send neither. A request with an Authorization
// header passes: another site's page could send it only after asking, and no such question is answered with yes.
func OwnSite(h *fasthttp.RequestHeader) error {
	if len(h.Peek(fasthttp.HeaderAuthorization)) > 0 {
		return nil
	}
	switch string(h.Peek("Sec-Fetch-Site")) {
	case "same-origin", "none": // none: the person, by hand
		return nil
	case "":
	default:
		return ErrCrossSite
	}
	origin := string(h.Peek(fasthttp.HeaderOrigin))
	if origin == "" {
		return nil
	}
	if u, err := url.Parse(origin); err == nil && u.Host != "" && strings.EqualFold(u.Host, string(h.Host())) {
		return nil
	}
	return ErrCrossSite
}
