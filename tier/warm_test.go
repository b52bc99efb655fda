package tier

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

func TestWarmTakesFromRedisAndNeverAsksTheOrigin(t *testing.T) {
	server := redistest.Server(t)
	origin := newTruth(100)
	c := newCache(t, server.URL(), origin, nil)
	var ids []string
	for i := 1; i <= 100; i++ {
		ids = append(ids, strconv.Itoa(i))
		if i > 40 {
			continue
		}
		if _, err := c.l2.Apply(t.Context(), user(ids[i-1], 7)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time they are there
		if n, err := c.Warm(t.Context(), append(ids, "no id")); err != nil || n != 40 {
			t.Fatalf("warmed %d, %v; want 40", n, err)
		}
	}
	before := c.Stats()
	for _, id := range ids[:40] {
		if r, err := c.Get(t.Context(), id); err != nil || r.Tier != look.FromL1 || r.Version() != 7 {
			t.Fatalf("user %s is %+v, %v; want version 7 from L1", id, r, err)
		}
	}
	if after := c.Stats(); after.L1Hits-before.L1Hits != 40 || origin.calls.Load() != 0 {
		t.Errorf("%d hits, %d calls of the origin; want 40 and 0", after.L1Hits-before.L1Hits, origin.calls.Load())
	}
}

// A key of another type costs one user, once, and not all who come after it.
func TestWarmPassesOverKeysOfAnotherType(t *testing.T) {
	server := redistest.Server(t)
	origin := newTruth(100)
	c := newCache(t, server.URL(), origin, nil)
	var ids []string
	for i := 1; i <= 100; i++ {
		ids = append(ids, strconv.Itoa(i))
		if _, err := c.l2.Apply(t.Context(), user(ids[i-1], 7)); err != nil {
			t.Fatal(err)
		}
	}
	origin.set(user("12", 7))
	server.Client().Set(t.Context(), profile.Key("12"), "x", 0)
	server.Client().Set(t.Context(), profile.Key("77"), "x", 0)
	if n, err := c.Warm(t.Context(), ids); err != nil || n != 98 {
		t.Fatalf("warmed %d, %v; want 98", n, err)
	}
	for range 2 {
		if r, err := c.Get(t.Context(), "12"); err != nil || r.Version() == 0 {
			t.Fatalf("user 12 is %+v, %v", r, err)
		}
	}
	if s := c.Stats(); s.Malformed != 2 || s.L2Errors != 0 {
		t.Errorf("%d malformed, %d errors of Redis; want 2 and 0", s.Malformed, s.L2Errors)
	}
	if kind := server.Client().Type(t.Context(), profile.Key("12")).Val(); kind != "hash" {
		t.Errorf("the record of user 12 is a %s", kind)
	}
}

func TestWarmShowsNothingThatWasInvalidatedMeanwhile(t *testing.T) {
	server := redistest.Server(t)
	origin := newTruth(1)
	c := newCache(t, server.URL(), origin, nil)
	if _, err := c.l2.Apply(t.Context(), user("1", 1)); err != nil {
		t.Fatal(err)
	}
	cold, _ := c.cold([]string{"1"})
	found := make(entries, 1)
	_, errs := c.l2.Read(t.Context(), []string{"1"}, found.room)
	if errs[0] != nil {
		t.Fatal(errs[0])
	}
	if err := c.Invalidate(t.Context(), "1"); err != nil { // between the read and the offer
		t.Fatal(err)
	}
	origin.set(user("1", 2))
	c.warmOne(&cold[0], found[0], look.FromL2)
	c.l1.drain()
	if r, err := c.Get(t.Context(), "1"); err != nil || r.Version() != 2 {
		t.Errorf("read %+v, %v; want version 2", r, err)
	}
}

func TestWarmKnowsItsLimits(t *testing.T) {
	server := redistest.Server(t)
	c := newCache(t, server.URL(), newTruth(0), nil)
	if _, err := c.Warm(t.Context(), make([]string, MaxBatch+1)); !errors.Is(err, ErrTooMany) {
		t.Errorf("too many ids: %v", err)
	}
	ended, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	<-ended.Done()
	if n, err := c.Warm(ended, []string{"1"}); err == nil || n != 0 {
		t.Errorf("with an ended context: %d, %v", n, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Warm(t.Context(), []string{"1"}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
