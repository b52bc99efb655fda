package stream

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

// TestAWorkerTellsWhatIsPending finds what another consumer has not done, and dead letters.
func TestAWorkerTellsWhatIsPending(t *testing.T) {
	server := redistest.Server(t)
	c, ctx := server.Client(), t.Context()
	must(t, c.XGroupCreateMkStream(ctx, Name, defaultGroup, "0").Err())
	for range 3 {
		put(t, c, "*", "payload", `{"event":"user.profile.updated","userId":"7"}`)
	}
	must(t, c.XReadGroup(ctx, &redis.XReadGroupArgs{Group: defaultGroup, Consumer: "other", Streams: []string{Name, ">"}, Block: -1}).Err())
	must(t, c.XAdd(ctx, &redis.XAddArgs{Stream: Name + deadSuffix, Values: []any{"entry", "1-1"}}).Err())
	w := startWorker(t, server.URL(), newMemory())
	await(t, "the count", func() bool { return !w.Stats().CountedAt.IsZero() })
	if s := w.Stats(); s.Pending != 3 || s.Letters != 1 {
		t.Errorf("%d pending and %d dead; want 3 and 1", s.Pending, s.Letters)
	}
}
