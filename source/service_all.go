package source

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"github.com/chatapp-ngomna/edgecache/internal/web"
	"github.com/chatapp-ngomna/edgecache/profile"
)

const (
	// pageUsers is the number of users that GET /all reads at once.
	pageUsers = 500
	// maxPage is the largest limit of GET /all.
	maxPage = 1000
	// mimeNDJSON is one JSON value a line.
	mimeNDJSON = "application/x-ndjson"
)

// getAll answers with one page when limit is given, else streams every user, by id.
func (s *Service) getAll(c *fiber.Ctx) error {
	after, limit, err := pageOf(c)
	if err != nil {
		return err
	}
	form := jsonArray
	if c.Accepts(fiber.MIMEApplicationJSON, mimeNDJSON) == mimeNDJSON {
		form = jsonLines
	}
	c.Set(fiber.HeaderContentType, form.mime)
	if limit > 0 {
		return s.page(c, after, limit, form)
	}
	hold, err := s.budget.Hold(pageUsers * heldPerUser)
	if err != nil {
		return err
	}
	all := &allReader{hold: hold, service: s, conn: c.Context().Conn(), form: form, after: after}
	// the first users, while the status can still tell of an error
	if err := all.fetch(); err != nil {
		hold.Release()
		return err
	}
	c.Status(http.StatusOK).Context().SetBodyStream(all, -1)
	return nil
}

// page answers with up to limit users and links to the next ones.
func (s *Service) page(c *fiber.Ctx, after string, limit int, form listForm) error {
	hold, err := s.budget.Hold(limit * heldPerUser)
	if err != nil {
		return err
	}
	defer hold.Release()
	ctx, cancel := s.request()
	defer cancel()
	leave, err := s.read(ctx, limit)
	if err != nil {
		return err
	}
	defer leave()
	// one more tells whether there is a next page
	users, err := s.cfg.Store.Page(ctx, after, limit+1)
	if err != nil {
		return err
	}
	if err := hold.Grow(answerSize(slices.Values(users))); err != nil {
		return err
	}
	if len(users) > limit {
		users = users[:limit]
		q := url.Values{"after": {users[limit-1].ID}, "limit": {strconv.Itoa(limit)}}
		c.Set(fiber.HeaderLink, fmt.Sprintf(`</all?%s>; rel="next"`, q.Encode()))
	}
	body := []byte(form.open)
	for i, p := range users {
		body = form.append(body, p, i == 0)
	}
	body = append(body, form.end...)
	if err := hold.Grow(len(body)); err != nil {
		return err
	}
	hold.Send(c.Response(), body)
	return nil
}

// pageOf reads after and limit; limit 0 is all.
func pageOf(c *fiber.Ctx) (after string, limit int, err error) {
	for key := range c.Context().QueryArgs().All() {
		if k := string(key); k != "after" && k != "limit" {
			return "", 0, fmt.Errorf("%w: unknown query parameter %.40q; those of /all are after and limit", profile.ErrMalformed, k)
		}
	}
	if after = utils.CopyString(c.Query("after")); after != "" {
		if err := profile.CheckID(after); err != nil {
			return "", 0, fmt.Errorf("after: %w", err)
		}
	}
	text := c.Query("limit")
	if text == "" {
		return after, 0, nil
	}
	limit, err = strconv.Atoi(text)
	if err != nil || limit < 1 || limit > maxPage {
		return "", 0, fmt.Errorf("%w: limit %.40q; want 1-%d", profile.ErrMalformed, text, maxPage)
	}
	return after, limit, nil
}

// listForm is how a list of users is written.
type listForm struct {
	mime, open, separator, terminator, end string
}

var (
	jsonArray = listForm{mime: fiber.MIMEApplicationJSON, open: "[", separator: ",\n", end: "]\n"}
	jsonLines = listForm{mime: mimeNDJSON, terminator: "\n"}
)

func (f listForm) append(dst []byte, p *profile.Profile, first bool) []byte {
	if !first {
		dst = append(dst, f.separator...)
	}
	return append(profile.AppendJSON(dst, p), f.terminator...)
}

// allReader is every user as a stream. The server reads it as fast as the client takes it, so one
// page of users is all that is in memory, and each page is a query of its own: a slow client holds
// no transaction open. So it is no snapshot: a user who is there all the while comes exactly once,
// one who comes or goes meanwhile may or may not.
//
// When the store fails in the middle, the reader's error makes the server cut the connection
// without the end of the body, so that no client takes a part for the whole.
type allReader struct {
	hold    *web.Hold
	service *Service
	conn    net.Conn
	form    listForm
	after   string // the last id in buf or before
	buf     []byte
	begun   bool
	ended   bool // buf holds the end
}

// Read implements io.Reader.
func (r *allReader) Read(dst []byte) (int, error) {
	for len(r.buf) == 0 {
		if r.ended {
			return 0, io.EOF
		}
		if err := r.fetch(); err != nil {
			r.service.cfg.Logger.Error("source: service: cut off /all", "after", r.after, "error", err)
			return 0, err
		}
	}
	n := copy(dst, r.buf)
	r.buf = r.buf[n:]
	return n, nil
}

// fetch puts the next page into buf and gives its writing a deadline of its own: the server sets
// one for a whole answer.
func (r *allReader) fetch() error {
	s := r.service
	if err := r.conn.SetWriteDeadline(time.Now().Add(s.cfg.WriteTimeout)); err != nil {
		return err
	}
	ctx, cancel := s.request()
	defer cancel()
	leave, err := s.read(ctx, pageUsers)
	if err != nil {
		return err
	}
	defer leave()
	users, err := s.cfg.Store.Page(ctx, r.after, pageUsers)
	if err != nil {
		return err
	}
	if err := r.hold.Grow(answerSize(slices.Values(users))); err != nil {
		return err
	}
	r.write(users)
	return r.hold.Grow(cap(r.buf))
}

// write puts users into buf, with what is around them.
func (r *allReader) write(users []*profile.Profile) {
	r.buf = r.buf[:0]
	if !r.begun {
		r.buf = append(r.buf, r.form.open...)
	}
	for _, p := range users {
		r.buf = r.form.append(r.buf, p, !r.begun)
		r.begun, r.after = true, p.ID
	}
	if r.ended = len(users) < pageUsers; r.ended {
		r.buf = append(r.buf, r.form.end...)
	}
}

// Close is called by the server when the answer is written, and when it cannot be.
func (r *allReader) Close() error {
	r.hold.Release()
	return nil
}
