package prewarm

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

func TestAScriptThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	const ttl = 100_000
	run := []string{"run"}
	part := []string{"run", "nodes", "beats"}
	done := []string{"run", "ranges", "failures"}
	claimed := func(ctx context.Context, c redis.Cmdable) error {
		return claimScript.Run(ctx, c, run, "a", "node", "{}", ttl, 30_000).Err()
	}
	running := func(ctx context.Context, c redis.Cmdable) error {
		if err := claimed(ctx, c); err != nil {
			return err
		}
		return publishScript.Run(ctx, c, run, "a", "running", ttl, "ranges", 2).Err()
	}
	underWay := func(ctx context.Context, c redis.Cmdable) error {
		if err := running(ctx, c); err != nil {
			return err
		}
		if err := beatScript.Run(ctx, c, part, "a", "other", "report", 3000, ttl).Err(); err != nil {
			return err
		}
		return doneScript.Run(ctx, c, done, "a", ttl, 10, 1, 5, 4, 0, 1, 1, "7", "why").Err()
	}
	redistest.ScriptsAreWhole(t, redistest.Server(t), []redistest.ScriptCase{
		{Name: "claim", Script: claimScript, Keys: run, Args: []any{"a", "node", "{}", ttl, 30_000}},
		{Name: "publish", Prepare: claimed, Script: publishScript, Keys: run, Args: []any{"a", "running", ttl, "ranges", 2}},
		{Name: "beat", Prepare: running, Script: beatScript, Keys: part, Args: []any{"a", "node", "report", 3000, ttl}},
		{Name: "beat after others", Prepare: underWay, Script: beatScript, Keys: part, Args: []any{"a", "node", "report", 3000, ttl}},
		{Name: "done", Prepare: running, Script: doneScript, Keys: done, Args: []any{"a", ttl, 10, 1, 5, 4, 0, 1, 1, "7", "why"}},
		{Name: "the last is done", Prepare: underWay, Script: doneScript, Keys: done, Args: []any{"a", ttl, 10, 2, 5, 5, 0, 0, 0}},
		{Name: "cancel", Prepare: underWay, Script: cancelScript, Keys: run},
	})
}

// TestClockThatWasSetBack has a run and a node that gave their last signs of life by a clock an
// hour ahead.
func TestClockThatWasSetBack(t *testing.T) {
	t.Parallel()
	client := open(t, redistest.Server(t).URL())
	s := newStore(client, "p", "node")
	check(t, s.claim(t.Context(), "a", Options{}))
	state, err := s.publish(t.Context(), "a", Running, runTTL)
	if err != nil || state != Running {
		t.Fatal(state, err)
	}
	ahead := float64(time.Now().Add(time.Hour).UnixMilli())
	r := &record{id: "a"}
	check(t, client.ZAdd(t.Context(), s.key("a", "beats"), redis.Z{Score: ahead, Member: "dead"}).Err())
	if _, alive, _, err := s.reports(t.Context(), "a"); err != nil || len(alive) > 0 {
		t.Errorf("alive: %v, %v", alive, err)
	}
	for _, want := range []int{2, 1} { // one that lives has the time of a beat to tell so
		if _, live, err := s.beat(t.Context(), r, nil); err != nil || live != want {
			t.Errorf("%d nodes alive, %v; want %d", live, err, want)
		}
	}
	if err := s.claim(t.Context(), "b", Options{}); !errors.Is(err, ErrRunning) {
		t.Errorf("beside a run that lives: %v", err)
	}
	check(t, client.HSet(t.Context(), s.run(), "beat", int64(ahead)).Err())
	check(t, s.claim(t.Context(), "b", Options{}))
}
