package api

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
	"github.com/valyala/fasthttp"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// maxPooledBody is the largest buffer that is kept for the next answer; one large batch shall not
// be held for ever.
const maxPooledBody = 256 << 10

// getUser serves GET and HEAD /v1/users/:id.
func (s *Server) getUser(c *fiber.Ctx) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	m, err := negotiate(c)
	if err != nil {
		return err
	}
	want, err := wantOf(c)
	if err != nil {
		return err
	}
	through, err := s.through(c)
	if err != nil {
		return err
	}
	s.cfg.Node.Tick()
	if len(through.Functions) > 0 {
		return s.sendView(c, id, through, want, m)
	}
	res, err := s.cfg.Node.GetWith(s.context(c), id, want)
	if err != nil {
		return userError(err, id)
	}
	s.sendUser(c, res, m, 0)
	return nil
}

// pathID returns the :id of the path, decoded, checked, and copied: what Fiber returns is
// overwritten by the connection's next request. Clients may escape what they like ("a%3Ab" is
// "a:b"); the rule holds for what it stands for.
func pathID(c *fiber.Ctx) (string, error) {
	raw := c.Params("id")
	if strings.IndexByte(raw, '%') >= 0 {
		id, err := url.PathUnescape(raw)
		if err != nil {
			p := problemRequest("the id " + strconv.Quote(raw) + " has a broken percent escape")
			p.rule = idRule
			return "", p
		}
		raw = id
	}
	if err := profile.CheckID(raw); err != nil {
		return "", err
	}
	return utils.CopyString(raw), nil
}

// userError names the user in a 404.
func userError(err error, id string) error {
	if errors.Is(err, profile.ErrNotFound) {
		return problemUser(id)
	}
	return err
}

// sendUser sends a profile. tag is that of the functions that it went through, 0 for none.
func (s *Server) sendUser(c *fiber.Ctx, res tier.Result, m media, tag uint64) {
	r := c.Response()
	var etagRoom, statusRoom [64]byte
	etag := appendETag(etagRoom[:0], res, m, tag)
	h := &r.Header
	h.SetCanonical(headerETag, etag)
	h.SetCanonical(headerAge, strconv.AppendInt(statusRoom[:0], int64(res.Age/time.Second), 10))
	h.SetCanonical(headerCacheStatus, appendCacheStatus(statusRoom[:0], res))
	h.SetCanonical(headerCacheControl, valueRevalidate)
	h.SetCanonical(headerVary, vary(tag))
	if notModified(c, etag) {
		r.SetStatusCode(fiber.StatusNotModified)
		return
	}
	if m == mediaMsgpack {
		h.SetContentType(typeMsgpack)
		r.SetBodyRaw(res.Packed())
		return
	}
	h.SetContentType(typeJSON)
	s.sendJSON(r, res.Profile)
}

// appendCacheStatus appends what RFC 9211 says of one lookup: a hit and its tier, or where the
// request went forward. A stale answer is a hit too, as it did not come from further on; its
// freshness ended Age seconds ago, because no profile may be used without asking.
func appendCacheStatus(dst []byte, res tier.Result) []byte {
	dst = append(dst, "edgecache; "...)
	switch res.Tier {
	case look.FromOrigin:
		dst = append(dst, "fwd=miss; detail="...)
	case look.FromStale:
		dst = strconv.AppendInt(append(dst, "hit; ttl="...), -int64(res.Age/time.Second), 10)
		dst = append(dst, "; detail="...)
	default:
		dst = append(dst, "hit; detail="...)
	}
	return append(dst, res.Tier.String()...)
}

// sendJSON builds the body in a buffer of the pool: the response copies it, which is cheaper than
// growing anew.
func (s *Server) sendJSON(r *fasthttp.Response, p *profile.Profile) {
	buf := s.bodies.Get().(*[]byte)
	*buf = append(profile.AppendJSON((*buf)[:0], p), '\n')
	r.SetBody(*buf)
	if cap(*buf) <= maxPooledBody {
		s.bodies.Put(buf)
	}
}
