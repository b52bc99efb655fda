package tier

import (
	"context"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/redistest"
)

// What the origin answered while Redis was down is not taken back when Redis returns with the record that it had before.
func TestRedisThatReturnsDoesNotTakeBack(t *testing.T) {
	server := redistest.ServerWith(t, redistest.Options{AOF: true})
	origin := newTruth(1)
	c := newCache(t, server.URL(), origin, nil)
	get := func() Result {
		r, err := c.Get(t.Context(), "1")
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	get()
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	origin.set(user("1", 2))
	c.Forget("1", 0)
	if r := get(); r.Version() != 2 || r.Tier != FromOrigin {
		t.Fatalf("without Redis: version %d from %v", r.Version(), r.Tier)
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for from := FromNone; from != FromL2; {
		c.Flush()
		r := get()
		if from = r.Tier; r.Version() != 2 || ctx.Err() != nil {
			t.Fatalf("version %d from %v; want 2, and from L2 in the end", r.Version(), from)
		}
	}
}
