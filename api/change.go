package api

import (
	"context"
	"errors"
	"fmt"

	"github.com/gofiber/fiber/v2"

	"github.com/chatapp-ngomna/edgecache/internal/web"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// putUser serves PUT /v1/users/:id. An older profile than the one that is known changes nothing and
// is a conflict.
func (s *Server) putUser(c *fiber.Ctx) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	if err := wantType(c, typeJSON, typeMsgpack); err != nil {
		return err
	}
	p, err := s.bodyProfile(c, id)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.WorkTimeout)
	defer cancel()
	if err := s.cfg.Node.Put(ctx, p); err != nil {
		return changeError(err)
	}
	return c.SendStatus(fiber.StatusNoContent)
}

// bodyProfile decodes and checks the profile in the body, which must be that of id.
func (s *Server) bodyProfile(c *fiber.Ctx, id string) (*profile.Profile, error) {
	body, err := s.budget.ReadBody(c.Context(), profile.MaxSize)
	if errors.Is(err, web.ErrTooLarge) {
		return nil, &problem{status: 413, name: "too-large", title: "Too large",
			detail: fmt.Sprintf("the profile takes at most %d bytes", profile.MaxSize)}
	}
	if err != nil {
		return nil, err
	}
	defer body.Release()
	p, err := decodeProfile(body.Bytes, bodyType(c))
	if err != nil {
		return nil, problemRequest(err.Error())
	}
	if p.ID == "" {
		p.ID = id
	}
	p.Complete()
	return p, checkBody(p, id)
}

func decodeProfile(body []byte, mediaType string) (*profile.Profile, error) {
	if mediaType == typeMsgpack {
		p, err := profile.DecodeMsgpack(body)
		if err != nil {
			return nil, errors.New(reason(err, profile.ErrMalformed, profile.ErrTooLarge))
		}
		return p.Clone(), nil // its strings point into the body, which is released
	}
	p := new(profile.Profile)
	return p, decodeStrict(body, p)
}

func checkBody(p *profile.Profile, id string) error {
	if p.ID != id {
		return problemRequest(fmt.Sprintf("the body is the profile of %.140q, the path says %q", p.ID, id))
	}
	if p.UpdatedAt == 0 {
		bad := problemRequest("updatedAt is missing: the version that the source of truth gave this profile")
		bad.rule = "milliseconds since 1970, above 0, below 2^53"
		return bad
	}
	if err := p.Check(); errors.Is(err, profile.ErrMalformed) {
		return problemRequest(reason(err, profile.ErrMalformed))
	} else if err != nil {
		return err
	}
	return nil
}

// invalidateUser serves POST /v1/users/:id/invalidate. A user that nobody knows is no error.
func (s *Server) invalidateUser(c *fiber.Ctx) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	if err := s.skipBody(c); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.WorkTimeout)
	defer cancel()
	if err := s.cfg.Node.Invalidate(ctx, id); err != nil {
		return changeError(err)
	}
	return c.SendStatus(fiber.StatusNoContent)
}

// skipBody reads a small body that says nothing: some clients send {} with every POST.
func (s *Server) skipBody(c *fiber.Ctx) error {
	body, err := s.budget.ReadBody(c.Context(), web.Free)
	body.Release()
	return err
}
