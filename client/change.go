package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Put tells the cache what the source of truth already says of a user; the profile carries the
// version (UpdatedAt) that the truth gave it. It is not tried again by itself: after an
// ErrUnavailable it may be, and an ErrConflict then may mean that the first try had worked. Errors
// wrap ErrConflict, ErrInvalidID, ErrUnavailable, ErrUnauthorized, ErrForbidden, ErrLimited, or the
// cause of ctx.
func (c *Client) Put(ctx context.Context, p *profile.Profile) error {
	if err := profile.CheckID(p.ID); err != nil {
		return fmt.Errorf("client: put: %w", err)
	}
	_, err := c.do(ctx, &request{method: http.MethodPut, path: userPath(p.ID), body: profile.AppendJSON(nil, p)})
	return err
}

// Invalidate makes Redis and every node forget a user. Errors are those of Put without ErrConflict.
func (c *Client) Invalidate(ctx context.Context, id string) error {
	if err := profile.CheckID(id); err != nil {
		return fmt.Errorf("client: invalidate: %w", err)
	}
	_, err := c.do(ctx, &request{method: http.MethodPost, path: userPath(id) + "/invalidate", again: true})
	return err
}

// Ready returns nil when the node may have requests. It needs no token.
func (c *Client) Ready(ctx context.Context) error {
	_, err := c.do(ctx, &request{method: http.MethodGet, path: "/readyz"})
	return err
}

// Stats returns what the node counts, as JSON; GET /openapi.json describes it.
func (c *Client) Stats(ctx context.Context) (json.RawMessage, error) {
	return c.get(ctx, "/v1/stats")
}

// Cluster returns the nodes that the node knows, as JSON.
func (c *Client) Cluster(ctx context.Context) (json.RawMessage, error) {
	return c.get(ctx, "/v1/cluster")
}

// Prewarm returns how the cluster's prewarm does, as JSON. Errors have the Problem "no-prewarm"
// when there was none.
func (c *Client) Prewarm(ctx context.Context) (json.RawMessage, error) {
	return c.get(ctx, "/v1/prewarm")
}

// BeginPrewarm begins a prewarm of the cluster with options as JSON, or nil. Errors wrap
// ErrConflict when one is under way.
func (c *Client) BeginPrewarm(ctx context.Context, options json.RawMessage) (json.RawMessage, error) {
	a, err := c.do(ctx, &request{method: http.MethodPost, path: "/v1/prewarm", body: options})
	return a.Body, err
}

// CancelPrewarm ends the prewarm that is under way.
func (c *Client) CancelPrewarm(ctx context.Context) error {
	_, err := c.do(ctx, &request{method: http.MethodDelete, path: "/v1/prewarm"})
	return err
}

func (c *Client) get(ctx context.Context, path string) (json.RawMessage, error) {
	a, err := c.do(ctx, &request{method: http.MethodGet, path: path, again: true})
	if err != nil {
		return nil, err
	}
	return a.Body, nil
}
