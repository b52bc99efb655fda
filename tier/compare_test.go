package tier

import (
	"context"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// TestRedisThatDoesNotAnswerTheWatch has Redis hang while the watch looks at what it noticed. The
// entry goes, because nobody knows, but it does not count as a write of others.
func TestRedisThatDoesNotAnswerTheWatch(t *testing.T) {
	c := newCache(t, redistest.Server(t).URL(), newTruth(2), nil)
	getFrom(t, c, "1", look.FromL1)
	// not the load alone
	eventually(t, "the engine to hold it", func() bool { return c.l1.peek(c.l1.hash("1")) != nil })
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	if wrong := c.look(ctx, []string{"1"}); wrong != 0 {
		t.Errorf("%d writes of others without an answer of Redis, want 0", wrong)
	}
	if r := get(t, c, "1", Want{}); r.Tier == look.FromL1 {
		t.Error("an entry that nobody could look at still answers")
	}
}
