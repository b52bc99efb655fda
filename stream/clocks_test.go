package stream

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

// TestServersWhoseClocksDiffer has a stream whose last entry is from a clock an hour ahead of the
// server's, or an hour behind, as after a failover or after the clock was set. Its last minutes are
// applied all the same, and nothing in them creates a record.
func TestServersWhoseClocksDiffer(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"ahead": time.Hour, "behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			server := redistest.ServerWith(t, redistest.Options{AOF: true})
			add(t, server.Client(), 1, func(a *redis.XAddArgs) { a.ID = fmt.Sprintf("%d-1", time.Now().Add(ahead).UnixMilli()) })
			m := newMemory()
			startWorker(t, server.URL(), m)
			await(t, "the entry", func() bool { return m.count("replace 7@1") == 1 })
			must(t, server.Restart())
			await(t, "the entry once more", func() bool { return m.count("replace 7@1") == 2 })
			if n := m.count("apply 7@1"); n > 0 {
				t.Errorf("an event of unknown age has created a record, %d times", n)
			}
		})
	}
}
