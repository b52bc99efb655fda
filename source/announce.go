package source

import (
	"context"
	"fmt"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
)

// RedisAnnouncer writes a change to the Redis tier and then to the stream. The order matters: a
// node that hears of the change and reads Redis finds it there. Both are idempotent by version, so
// a change may come again.
type RedisAnnouncer struct {
	L2        *l2.Redis
	Publisher *stream.Publisher
}

// Announce implements origin.Announcer.
func (a RedisAnnouncer) Announce(ctx context.Context, c Change) error {
	if c.Kind == profile.Imported {
		return a.imported(ctx, c.Added)
	}
	e := stream.Event{UserID: c.ID, Version: c.Version, Profile: c.Profile}
	var err error
	switch c.Kind {
	case profile.Deleted:
		e.Kind = profile.Deleted
		_, err = a.L2.Remove(ctx, c.ID, c.Version)
	case profile.Created:
		e.Kind = profile.Created
		_, err = a.L2.Apply(ctx, c.Profile)
	default:
		e.Kind = profile.Updated
		_, err = a.L2.Apply(ctx, c.Profile)
	}
	if err != nil {
		return err
	}
	if _, err := a.Publisher.Publish(ctx, e); err != nil {
		return fmt.Errorf("announce: publish %q: %w", c.ID, err)
	}
	return nil
}

// imported tells nodes of users who were added and may be known there as absent. Of others nobody
// knows a thing, so an import of many users does not fill the stream.
func (a RedisAnnouncer) imported(ctx context.Context, ids []string) error {
	known, err := a.L2.Appear(ctx, ids)
	if err != nil {
		return err
	}
	for _, id := range known {
		if _, err := a.Publisher.Publish(ctx, stream.Event{Kind: profile.Invalidated, UserID: id}); err != nil {
			return fmt.Errorf("announce: publish %q: %w", id, err)
		}
	}
	return nil
}
