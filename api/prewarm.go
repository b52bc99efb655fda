package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/chatapp-ngomna/edgecache/internal/web"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/prewarm"
)

// getCluster serves GET /v1/cluster.
func (s *Server) getCluster(c *fiber.Ctx) error {
	return sendValue(c, fiber.StatusOK, s.cfg.Node.Cluster())
}

// getPrewarm serves GET /v1/prewarm: how the cluster's run does, or the last one did.
func (s *Server) getPrewarm(c *fiber.Ctx) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.WorkTimeout)
	defer cancel()
	return s.sendPrewarm(ctx, c, fiber.StatusOK)
}

func (s *Server) sendPrewarm(ctx context.Context, c *fiber.Ctx, code int) error {
	status, err := s.cfg.Node.PrewarmStatus(ctx)
	if err != nil {
		return prewarmError(err)
	}
	return sendValue(c, code, status)
}

// postPrewarm serves POST /v1/prewarm, with options or without a body: it begins a run.
func (s *Server) postPrewarm(c *fiber.Ctx) error {
	if err := wantType(c, typeJSON); err != nil {
		return err
	}
	body, err := s.budget.ReadBody(c.Context(), web.Free)
	if err != nil {
		return err
	}
	defer body.Release()
	o, err := prewarmOptions(body.Bytes)
	if err != nil {
		return problemRequest(err.Error())
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.WorkTimeout)
	defer cancel()
	if _, err := s.cfg.Node.BeginPrewarm(ctx, o); err != nil {
		return prewarmError(err)
	}
	return s.sendPrewarm(ctx, c, fiber.StatusAccepted)
}

// deletePrewarm serves DELETE /v1/prewarm: it ends the run.
func (s *Server) deletePrewarm(c *fiber.Ctx) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.WorkTimeout)
	defer cancel()
	if err := s.cfg.Node.CancelPrewarm(ctx); err != nil {
		return prewarmError(err)
	}
	return s.sendPrewarm(ctx, c, fiber.StatusAccepted)
}

// mostDelay is the longest delayBetweenBatches, in milliseconds: an hour.
const mostDelay = 3_600_000

// prewarmBody is what may be asked of a prewarm; 0 is the default of a number.
type prewarmBody struct {
	MaxUsers  int      `json:"maxUsers"`
	DaysBack  int      `json:"daysBack"`
	BatchSize int      `json:"batchSize"`
	Delay     *float64 `json:"delayBetweenBatches"`
	Rate      float64  `json:"rate"`
	Unlimited bool     `json:"unlimited"`
}

// check refuses what package prewarm would take for "no limit" or for a default.
func (b prewarmBody) check() error {
	for _, n := range []struct {
		name  string
		value int
	}{{"maxUsers", b.MaxUsers}, {"daysBack", b.DaysBack}, {"batchSize", b.BatchSize}} {
		if n.value < 0 {
			return fmt.Errorf("%s is %d; want 1 or more", n.name, n.value)
		}
	}
	if b.Rate < 0 {
		return fmt.Errorf("rate is %g; want more than 0, or unlimited true for no limit", b.Rate)
	}
	if b.Rate > 0 && b.Unlimited {
		return fmt.Errorf("rate is %g and unlimited is true; want one of them", b.Rate)
	}
	if b.Delay != nil && (*b.Delay < 0 || *b.Delay > mostDelay) {
		return fmt.Errorf("delayBetweenBatches is %g; want 0 to %d milliseconds", *b.Delay, mostDelay)
	}
	return nil
}

// prewarmOptions reads the contract's names. A field that is not there has its default.
func prewarmOptions(body []byte) (o prewarm.Options, err error) {
	var in prewarmBody
	if len(bytes.TrimSpace(body)) > 0 {
		if err := decodeStrict(body, &in); err != nil {
			return o, err
		}
	}
	if err := in.check(); err != nil {
		return o, err
	}
	o = prewarm.Options{MaxUsers: in.MaxUsers, DaysBack: in.DaysBack, BatchSize: in.BatchSize, Rate: in.Rate, Unlimited: in.Unlimited}
	if in.Delay != nil {
		if o.Delay = time.Duration(*in.Delay * float64(time.Millisecond)); o.Delay == 0 {
			o.Delay = -1
		}
	}
	return o, nil
}

// prewarmError is for the errors of a run: what is no fault of the request is one of Redis, which
// keeps the run.
func prewarmError(err error) error {
	switch {
	case errors.Is(err, prewarm.ErrRunning):
		return &problem{status: 409, name: "prewarm-running", title: "A prewarm is under way",
			detail: "a run is under way in the cluster; GET /v1/prewarm tells how it does, DELETE ends it"}
	case errors.Is(err, prewarm.ErrNoRun):
		return &problem{status: 404, name: "no-prewarm", title: "No prewarm", detail: "no run is under way in the cluster"}
	case errors.Is(err, node.ErrNoPrewarm):
		return &problem{status: 404, name: "no-prewarm", title: "No prewarm", detail: "this node takes no part in prewarms; ask another"}
	case errors.Is(err, prewarm.ErrConfig):
		return problemRequest(reason(err, prewarm.ErrConfig))
	}
	return &problem{status: 503, name: "prewarm-unavailable", title: "Prewarm unavailable",
		detail: "Redis, which keeps the run, did not answer; try again", cause: err}
}
