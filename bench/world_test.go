package bench

import (
	"testing"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
)

// TestFillFillsRedis has a node that is gone hold the lease of a user: others read that user from
// the origin without filling Redis, and keep it in memory.
func TestFillFillsRedis(t *testing.T) {
	c := short("l2").withDefaults()
	c.Redis = redistest.Server(t).URL()
	w, err := open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}()
	gone, err := l2.New(l2.Config{Client: w.redis})
	if err != nil {
		t.Fatal(err)
	}
	id := w.ids[7]
	got := gone.Begin(t.Context(), []l2.Ask{{ID: id}}, func(int) *profile.Profile { return new(profile.Profile) })
	if got[0].Kind != l2.Leased || got[0].Err != nil {
		t.Fatalf("the lease of %q: %+v", id, got[0])
	}
	if err := w.fill(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range w.ids {
		if n := w.redis.Exists(t.Context(), profile.Key(id)).Val(); n != 1 {
			t.Errorf("user %q is not in Redis", id)
		}
	}
}
