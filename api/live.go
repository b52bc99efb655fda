package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/chatapp-ngomna/edgecache/internal/web"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/ui"
)

const (
	// maxSnapshots is the highest ?count of GET /v1/live: a day's.
	maxSnapshots = 86_400
	// shownLookups is how many lookups GET /v1/lookups shows without ?n, maxShownLookups with it.
	shownLookups    = 50
	maxShownLookups = 1000
)

// getUI serves GET /ui, the dashboard's page.
func (s *Server) getUI(c *fiber.Ctx) error { return sendUI(c, ui.Index) }

// getUIFile serves GET /ui/:file, what the page loads.
func (s *Server) getUIFile(c *fiber.Ctx) error { return sendUI(c, c.Params("file")) }

func sendUI(c *fiber.Ctx, name string) error {
	text, mediaType, ok := ui.File(name)
	if !ok {
		return &problem{status: 404, name: "no-such-path", title: "No such path", detail: fmt.Sprintf("the dashboard has no file %.100q", name)}
	}
	h := &c.Response().Header
	h.SetContentType(mediaType)
	h.Set(fiber.HeaderContentSecurityPolicy, ui.Policy)
	h.SetCanonical(headerCacheControl, valueNoStore)
	h.Set(fiber.HeaderReferrerPolicy, "no-referrer")
	c.Response().SetBodyRaw(text)
	return nil
}

// streamLive serves GET /v1/live: a snapshot a second, as server-sent events.
func (s *Server) streamLive(c *fiber.Ctx) error {
	left, err := countOf(c, "count", maxSnapshots)
	if err != nil {
		return err
	}
	h := &c.Response().Header
	h.SetContentType("text/event-stream")
	h.SetCanonical(headerCacheControl, valueNoStore)
	if c.Method() == fiber.MethodHead {
		return nil
	}
	viewer := s.live.Join()
	if viewer == nil {
		return errClosing
	}
	c.Context().SetBodyStream(&events{live: s.live, viewer: viewer, left: left, conn: c.Context().Conn(), patience: s.cfg.WriteTimeout}, -1)
	return nil
}

// countOf returns a number of the query: 1 to most, 0 if it is not there.
func countOf(c *fiber.Ctx, name string, most int) (int, error) {
	text := c.Query(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, problemRequest(fmt.Sprintf("%s is %.60q; want a number from 1 to %d", name, text, most))
	}
	return n, nil
}

// events are snapshots as a body: one event each. The server reads it, and closes it when the
// client is gone. It is used by one goroutine.
type events struct {
	live     *ui.Live
	viewer   *ui.Viewer
	left     int    // how many are still to come; 0 for no end
	last     bool   // rest is the last one
	text     []byte // the one that is being read
	rest     []byte // what has not been read of it
	conn     net.Conn
	patience time.Duration // for which the client may take to read one event
}

// Read implements io.Reader: it waits for the next snapshot. Each may take as long as an answer.
func (e *events) Read(p []byte) (int, error) {
	if len(e.rest) == 0 {
		if err := e.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

func (e *events) next() error {
	if e.last {
		return io.EOF
	}
	select {
	case text := <-e.viewer.Next:
		e.text = append(append(append(e.text[:0], "data: "...), text...), "\n\n"...)
		e.rest = e.text
	case <-e.live.Done():
		return io.EOF
	}
	e.last = e.left == 1
	e.left = max(0, e.left-1)
	return e.conn.SetWriteDeadline(time.Now().Add(e.patience))
}

// Close implements io.Closer.
func (e *events) Close() error {
	e.viewer.Leave()
	return nil
}

// getLookups serves GET /v1/lookups: which lookups were timed lately, while somebody has /v1/live
// open.
func (s *Server) getLookups(c *fiber.Ctx) error {
	n, err := countOf(c, "n", maxShownLookups)
	if err != nil {
		return err
	}
	if n == 0 {
		n = shownLookups
	}
	filter, err := ui.ParseFilter(c.Query("filter"))
	if err != nil {
		return problemRequest("filter: " + reason(err, ui.ErrFilter))
	}
	return sendValue(c, fiber.StatusOK, s.live.Find(filter, n))
}

// shownDead is how many dead letters GET /v1/dead shows without ?n, maxShownDead with it.
const (
	shownDead    = 50
	maxShownDead = 1000
)

// deadLetters is what GET /v1/dead answers.
type deadLetters struct {
	Letters []node.DeadLetter `json:"letters"`
}

// getDead serves GET /v1/dead: the changes that no worker could apply.
func (s *Server) getDead(c *fiber.Ctx) error {
	n, err := countOf(c, "n", maxShownDead)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.WorkTimeout)
	defer cancel()
	letters, err := s.cfg.Node.DeadLetters(ctx, cmp.Or(n, shownDead))
	if err != nil {
		return &problem{status: 503, name: "dead-letters-unavailable", title: "Dead letters unavailable",
			detail: "Redis, which keeps the dead letters, did not answer; try again", cause: err}
	}
	return sendValue(c, fiber.StatusOK, deadLetters{letters})
}

// demoBody is what POST /v1/demo takes.
type demoBody struct {
	Fault string `json:"fault"`
	On    *bool  `json:"on"`
}

// postDemo serves POST /v1/demo: it brings on a fault of a node that runs to be broken, or ends it.
func (s *Server) postDemo(c *fiber.Ctx) error {
	if s.cfg.Demo == nil {
		return &problem{status: 404, name: "no-such-path", title: "No such path", detail: "nothing can be broken here: this is no demonstration (edgecache serve --demo)"}
	}
	if err := wantType(c, typeJSON); err != nil {
		return err
	}
	body, err := s.budget.ReadBody(c.Context(), web.Free)
	if err != nil {
		return err
	}
	defer body.Release()
	var in demoBody
	if err := decodeStrict(body.Bytes, &in); err != nil {
		return problemRequest(err.Error())
	}
	if in.On == nil {
		return problemRequest(`"on" is missing; want {"fault":"redis","on":true}`)
	}
	if err := s.cfg.Demo.Break(in.Fault, *in.On); errors.Is(err, ui.ErrFault) {
		return problemRequest(reason(err, ui.ErrFault))
	} else if err != nil {
		return fmt.Errorf("api: demo: %w", err)
	}
	return sendValue(c, fiber.StatusOK, s.cfg.Demo.State())
}
