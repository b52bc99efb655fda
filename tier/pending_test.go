package tier

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// TestRefreshDoesNotBringAnOlderVersionBack: what a refresh put in place waits in the engine's
// queue, and a reader meanwhile finds what is newer in Redis.
func TestRefreshDoesNotBringAnOlderVersionBack(t *testing.T) {
	const users, queued = 50, 5000
	c := newCache(t, redistest.Server(t).URL(), newTruth(users), nil)
	junk := newEntry(user("junk", 1))
	for i := range users {
		id := fmt.Sprint(i + 1)
		get(t, c, id, Want{})
		c.l1.engine.Wait()
		for key := range uint64(queued) {
			c.l1.engine.Set(key, junk, 1)
		}
		for version := int64(2); version <= 3; version++ {
			if _, err := c.l2.Apply(t.Context(), user(id, version)); err != nil {
				t.Fatal(err)
			}
			if version == 2 {
				c.Refresh(user(id, 2))
			}
		}
		first := get(t, c, id, Want{}).Version()
		c.l1.engine.Wait()
		if second := get(t, c, id, Want{}).Version(); first < 2 || second < first {
			t.Fatalf("user %s: version %d, then %d", id, first, second)
		}
	}
}

// An event that comes late, after the deletion that it was overtaken by, does not put the user back
// in the place of what the node knows of his absence. It has no version to compare with: a node
// that missed the deletion learns of it from Redis.
func TestLateEventDoesNotBringBackTheDeleted(t *testing.T) {
	c := newCache(t, redistest.Server(t).URL(), newTruth(0), nil)
	if _, err := c.l2.Remove(t.Context(), "1", 6); err != nil {
		t.Fatal(err)
	}
	get := func() error {
		_, err := c.Get(t.Context(), "1")
		c.l1.drain()
		return err
	}
	for range 2 {
		if err := get(); !errors.Is(err, profile.ErrNotFound) {
			t.Fatalf("before the event: %v", err)
		}
	}
	c.Refresh(user("1", 5))
	if err := get(); !errors.Is(err, profile.ErrNotFound) {
		t.Errorf("after the event: %v, want %v", err, profile.ErrNotFound)
	}
}

// What a load leaves in the engine after an invalidation has overtaken it is no reason to put a
// late event of the same old version in its place.
func TestLateEventDoesNotBringBackTheInvalidated(t *testing.T) {
	server := redistest.Server(t)
	origin := newTruth(0)
	origin.set(user("1", 3))
	c := newCache(t, server.URL(), origin, nil)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	origin.before = func(context.Context, string) error { // the origin has read version 3
		origin.before = nil
		origin.set(user("1", 4))
		c.Forget("1", 0)
		return nil
	}
	if r, err := c.Get(t.Context(), "1"); err != nil || r.Version() != 3 {
		t.Fatalf("read %+v, %v; want version 3, which was true when the read began", r, err)
	}
	c.l1.drain()
	c.Refresh(user("1", 3))
	c.l1.drain()
	if r, err := c.Get(t.Context(), "1"); err != nil || r.Version() != 4 {
		t.Errorf("version %d from %v, %v; want 4", r.Version(), r.Tier, err)
	}
}
