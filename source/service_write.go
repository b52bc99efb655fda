package source

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"github.com/chatapp-ngomna/edgecache/internal/web"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
)

func (s *Service) create(c *fiber.Ctx) error {
	// A page in a browser on this machine may POST anywhere without asking first, but not with this
	// type.
	if mediaType(c) != fiber.MIMEApplicationJSON {
		return fiber.NewError(http.StatusUnsupportedMediaType, "want Content-Type: application/json")
	}
	body, err := s.body(c)
	if err != nil {
		return err
	}
	defer body.Release()
	p, err := parseCreate(body.Bytes, s.makesIDs(), s.cfg.IgnoreUnknown)
	if err != nil {
		return err
	}
	ctx, cancel := s.request()
	defer cancel()
	change, err := s.cfg.Store.Create(ctx, p)
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderLocation, "/"+change.ID)
	return s.answerChange(c, change, http.StatusCreated)
}

// makesIDs reports whether a user may be created without an id.
func (s *Service) makesIDs() bool {
	m, ok := s.cfg.Store.(IDMaker)
	return ok && m.MakesIDs()
}

func mediaType(c *fiber.Ctx) string {
	name, _, _ := strings.Cut(c.Get(fiber.HeaderContentType), ";")
	return strings.ToLower(strings.TrimSpace(name))
}

func (s *Service) update(c *fiber.Ctx) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	body, err := s.body(c)
	if err != nil {
		return err
	}
	defer body.Release()
	u, err := parseUpdate(body.Bytes, id, s.cfg.IgnoreUnknown)
	if err != nil {
		return err
	}
	if u.IfMatch, err = ifMatch(c); err != nil {
		return err
	}
	ctx, cancel := s.request()
	defer cancel()
	change, err := s.cfg.Store.Update(ctx, id, u)
	if err != nil {
		return err
	}
	return s.answerChange(c, change, http.StatusOK)
}

func (s *Service) remove(c *fiber.Ctx) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	versions, err := ifMatch(c)
	if err != nil {
		return err
	}
	ctx, cancel := s.request()
	defer cancel()
	change, err := s.cfg.Store.Delete(ctx, id, versions)
	if err != nil {
		return err
	}
	return s.answerChange(c, change, http.StatusOK)
}

// ifMatch returns the versions that If-Match lists, nil without the header or for *, which every
// existing user matches. A weak tag (W/"1") is no version that a change may rely on and matches
// none.
func ifMatch(c *fiber.Ctx) ([]int64, error) {
	header := utils.CopyString(c.Get(fiber.HeaderIfMatch))
	if header == "" || strings.TrimSpace(header) == "*" {
		return nil, nil
	}
	versions := []int64{}
	for rest := header; rest != ""; {
		tag, after, ok := web.NextTag(rest)
		if !ok {
			return nil, fmt.Errorf(`%w: If-Match %.60q; want the ETag of an answer, such as "1700000000000", quotes included`,
				profile.ErrMalformed, header)
		}
		rest = after
		// Any other tag is valid, and matches no version.
		if v, err := strconv.ParseInt(tag.Text, 10, 64); err == nil && !tag.Weak {
			versions = append(versions, v)
		}
	}
	return versions, nil
}

// answerChange waits for the relay and answers with the user as it is now; for a delete with its id
// and version.
func (s *Service) answerChange(c *fiber.Ctx, change Change, status int) error {
	if !s.relayed(change) {
		status = http.StatusAccepted
	}
	c.Set(fiber.HeaderETag, origin.ETag(change.Version))
	c.Status(status)
	if change.Profile == nil {
		c.Response().Header.Del(fiber.HeaderETag) // what it would be the tag of is gone
		return c.JSON(origin.Deletion{ID: change.ID, Version: change.Version})
	}
	return sendJSON(c, profile.AppendJSON(nil, change.Profile))
}

// relayed reports whether the change was announced within RelayWait.
func (s *Service) relayed(change Change) bool {
	if s.cfg.Relay == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.RelayWait)
	defer cancel()
	return s.cfg.Relay.Wait(ctx, change)
}
