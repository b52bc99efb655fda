package source

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/internal/plain"
	"github.com/chatapp-ngomna/edgecache/internal/strictjson"
	"github.com/chatapp-ngomna/edgecache/internal/web"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// requestTimeout bounds the work of the store for one request.
const requestTimeout = 5 * time.Second

// request returns a context for the work of one request. Fiber's own says nothing about the client,
// and its memory is used again for the next request.
func (s *Service) request() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.ctx, requestTimeout)
}

// pathID returns the checked id of the path, copied: Fiber's string lives in a buffer of the
// connection.
func pathID(c *fiber.Ctx) (string, error) {
	id, err := url.PathUnescape(c.Params("id")) // once: clients may escape what they like
	if err != nil {
		return "", fmt.Errorf("%w: %.60q has a broken percent escape", profile.ErrInvalidID, c.Params("id"))
	}
	id = utils.CopyString(id)
	if err := profile.CheckID(id); err != nil {
		return "", err
	}
	if origin.Reserved(id) {
		return "", fmt.Errorf("%w: %q is reserved: the service uses it as a path", profile.ErrInvalidID, id)
	}
	return id, nil
}

func (s *Service) getOne(c *fiber.Ctx) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	ctx, cancel := s.request()
	defer cancel()
	p, err := s.cfg.Store.Get(ctx, id)
	if err != nil {
		return err
	}
	tag := origin.ETag(p.UpdatedAt)
	c.Set(fiber.HeaderETag, tag)
	if web.NoneMatch(c.Get(fiber.HeaderIfNoneMatch), tag) {
		return c.SendStatus(http.StatusNotModified)
	}
	return sendJSON(c, profile.AppendJSON(nil, p))
}

// getBatch takes ids from the query: ids=1,2,3, also several times.
func (s *Service) getBatch(c *fiber.Ctx) error {
	var ids []string
	for key, value := range c.Context().QueryArgs().All() {
		if string(key) == "shape" {
			continue
		}
		if string(key) != "ids" {
			return fmt.Errorf("%w: unknown query parameter %.40q; those of /batch are ids and shape", profile.ErrMalformed, key)
		}
		for id := range strings.SplitSeq(string(value), ",") {
			if ids = append(ids, id); len(ids) > origin.MaxBatch {
				return tooManyIDs()
			}
		}
	}
	return s.batch(c, ids)
}

func (s *Service) postBatch(c *fiber.Ctx) error {
	var body struct {
		IDs []string `json:"ids"`
	}
	text, err := s.body(c)
	if err != nil {
		return err
	}
	defer text.Release()
	if err := profile.CheckJSONText(text.Bytes); err != nil {
		return err
	}
	if err := strictjson.Decode(text.Bytes, &body); err != nil {
		return fmt.Errorf(`%w: %w; want {"ids":["1","2"]}, ids as strings`, profile.ErrMalformed, err)
	}
	return s.batch(c, body.IDs)
}

func tooManyIDs() error {
	return fmt.Errorf("%w: more than %d ids in one batch", profile.ErrTooLarge, origin.MaxBatch)
}

// batch answers a bulk lookup; one bad id never fails the others.
func (s *Service) batch(c *fiber.Ctx, ids []string) error {
	if len(ids) == 0 {
		return fmt.Errorf("%w: no ids; give 1-%d", profile.ErrMalformed, origin.MaxBatch)
	}
	if len(ids) > origin.MaxBatch {
		return tooManyIDs()
	}
	shape, err := s.batchShape(c)
	if err != nil {
		return err
	}
	hold, err := s.budget.Hold(len(ids) * heldPerUser)
	if err != nil {
		return err
	}
	defer hold.Release()
	body, err := s.batchBody(ids, shape, hold)
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	hold.Send(c.Response(), body)
	return nil
}

// batchBody looks users up and writes the answer, for which hold has room as soon as its size is
// known.
func (s *Service) batchBody(ids []string, shape BatchShape, hold *web.Hold) ([]byte, error) {
	ctx, cancel := s.request()
	defer cancel()
	leave, err := s.read(ctx, len(ids))
	if err != nil {
		return nil, err
	}
	defer leave()
	valid, bad := origin.SortIDs(ids)
	found, err := s.cfg.Store.GetBatch(ctx, valid)
	if err != nil {
		return nil, err
	}
	size := answerSize(maps.Values(found))
	if err := hold.Grow(size); err != nil {
		return nil, err
	}
	body := appendBatch(make([]byte, 0, 64+size), shape, valid, found, bad)
	return body, hold.Grow(len(body)) // escapes take more than was counted
}

// appendBatch appends {"users":{…},"missing":[…],"errors":{…}}, users in the order in which they
// were asked for.
func appendBatch(dst []byte, shape BatchShape, ids []string, found map[string]*profile.Profile, bad map[string]error) []byte {
	dst = shape.appendUsers(dst, ids, found)
	dst = append(dst, `,"missing":[`...)
	sep := ""
	for _, id := range ids {
		if found[id] == nil {
			dst = profile.AppendJSONString(append(dst, sep...), id)
			sep = ","
		}
	}
	dst = append(dst, `],"errors":{`...)
	sep = ""
	for _, id := range slices.Sorted(maps.Keys(bad)) {
		dst = profile.AppendJSONString(append(dst, sep...), id)
		dst = profile.AppendJSONString(append(dst, ':'), plain.Text(bad[id]))
		sep = ","
	}
	return append(dst, `}}`...)
}

func (s *Service) health(c *fiber.Ctx) error {
	if s.closing.Load() {
		return errClosing
	}
	ctx, cancel := s.request()
	defer cancel()
	users, err := s.cfg.Store.Count(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", profile.ErrUnavailable, err)
	}
	backlog, err := s.cfg.Store.Backlog(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", profile.ErrUnavailable, err)
	}
	if err := s.probe.ask(ctx, s.cfg.Store.Probe); err != nil {
		return fmt.Errorf("%w: %w", profile.ErrUnavailable, err)
	}
	if !s.known(c) {
		return c.JSON(map[string]string{"status": "ok"})
	}
	h := origin.Health{Status: "ok", Users: users, Backlog: backlog.Rows, BacklogAge: backlog.Oldest.Duration().Milliseconds()}
	if s.cfg.Relay != nil {
		stats := s.cfg.Relay.Stats()
		h.Relay = &stats
	}
	return c.JSON(h)
}

// known reports whether the caller may look users up.
func (s *Service) known(c *fiber.Ctx) bool { return s.gate.Known(c.Context(), auth.RoleRead) }

func sendJSON(c *fiber.Ctx, body []byte) error {
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return c.Send(body)
}
