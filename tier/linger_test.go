package tier

import (
	"fmt"
	"testing"

	"github.com/chatapp-ngomna/edgecache/internal/redistest"
)

// TestRefreshDoesNotBringAnOlderVersionBack: what a refresh put in place waits in the engine's queue, and a reader meanwhile
// finds what is newer in Redis.
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
