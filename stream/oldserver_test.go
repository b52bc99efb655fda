package stream

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

// Redis below 6.2 has no XAUTOCLAIM: what failed is tried again all the same, up to the dead
// letters, and entries that were deleted meanwhile hold up nobody.
func TestClaimsWithoutAutoClaim(t *testing.T) {
	server := redistest.ServerWith(t, redistest.Options{Lines: []string{`rename-command XAUTOCLAIM ""`}})
	c := server.Client()
	m := newMemory()
	var mu sync.Mutex
	tries := 0
	m.fail = func(call string) error {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case call == "apply 7@666":
			return errors.New("broken")
		case call == "apply 7@5" && tries < 2:
			tries++
			return errors.New("not yet")
		}
		return nil
	}
	w := startWorker(t, server.URL(), m, claimAfter(30*time.Millisecond))
	add(t, c, 5)
	add(t, c, 666)
	await(t, "a second try", func() bool { return w.Stats().Applied >= 1 })
	await(t, "the dead letter", func() bool { return w.Stats().Dead["failed"] == 1 })
	if n := m.count("apply 7@666"); n != 5 {
		t.Errorf("tried %d times; want 5", n)
	}
	await(t, "a clean group", func() bool {
		b, err := Inspect(t.Context(), c, "", "")
		return err == nil && b.Pending == 0 && b.Dead == 1
	})
}

// An entry that another consumer was given, and that was deleted since, is acknowledged.
func TestClaimsByHandWhatIsGone(t *testing.T) {
	server := redistest.ServerWith(t, redistest.Options{Lines: []string{`rename-command XAUTOCLAIM ""`}})
	c := server.Client()
	must(t, c.XGroupCreateMkStream(t.Context(), Name, defaultGroup, "0").Err())
	var ids []string
	for v := range int64(300) { // more than one page
		ids = append(ids, add(t, c, v+1))
	}
	must(t, c.XReadGroup(t.Context(), &redis.XReadGroupArgs{
		Group: defaultGroup, Consumer: "dead", Streams: []string{Name, ">"}, Count: 1000,
	}).Err())
	must(t, c.XDel(t.Context(), Name, ids[3], ids[200]).Err())
	m := newMemory()
	w := startWorker(t, server.URL(), m, claimAfter(20*time.Millisecond))
	await(t, "a clean group", func() bool {
		b, err := Inspect(t.Context(), c, "", "")
		return err == nil && b.Pending == 0
	})
	if s := w.Stats(); s.Claimed != 298 || m.snapshot()["7"] != 300 {
		t.Errorf("stats %+v, %v", s, m.snapshot())
	}
	for _, err := range []error{redis.Nil, fmt.Errorf("x: %w", redis.Nil), errors.New("ERR unknown command 'XAUTOCLAIM'")} {
		if !lacksAutoClaim(err) {
			t.Errorf("%v is taken for a failure of the link", err)
		}
	}
	if lacksAutoClaim(nil) || lacksAutoClaim(errors.New("NOGROUP no such group")) {
		t.Error("another error is taken for a server without XAUTOCLAIM")
	}
}

// The stream keeps what other groups have still to read, up to ten times its length, and for a day.
func TestTrimLeavesWhatOtherGroupsNeed(t *testing.T) {
	const most = 200
	now := uint64(time.Now().UnixMilli())
	for name, tt := range map[string]struct {
		entries        int
		read           int    // how many the other group was given
		age            uint64 // of the entries, in ms
		pending        bool   // the first of them was not acknowledged
		least, longest int64
		warns          bool
	}{
		"nobody else":         {entries: 1500, read: -1, least: most, longest: most + nodeEntries},
		"a group behind":      {entries: 1500, read: 300, least: 1200, longest: 1200 + nodeEntries, warns: true},
		"one that is there":   {entries: 1500, read: 1500, least: most, longest: most + nodeEntries},
		"one entry pending":   {entries: 1500, read: 1500, pending: true, least: 1500, longest: 1500, warns: true},
		"behind for a day":    {entries: 1500, read: 300, age: 25 * 3600_000, least: most, longest: most + nodeEntries},
		"far behind, the cap": {entries: 2600, read: 1, least: 10 * most, longest: 10*most + nodeEntries, warns: true},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Server(t)
			c := server.Client()
			must(t, c.XGroupCreateMkStream(t.Context(), Name, defaultGroup, "$").Err())
			pipe := c.Pipeline()
			for i := range tt.entries {
				pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: Name, ID: fmt.Sprintf("%d-%d", now-tt.age, i+1), Values: []any{"payload", "{}"}})
			}
			_, err := pipe.Exec(t.Context())
			must(t, err)
			must(t, c.XGroupSetID(t.Context(), Name, defaultGroup, "$").Err())
			if tt.read >= 0 {
				must(t, c.XGroupCreate(t.Context(), Name, "theirs", "0").Err())
				given, err := c.XReadGroup(t.Context(), &redis.XReadGroupArgs{
					Group: "theirs", Consumer: "x", Streams: []string{Name, ">"}, Count: int64(tt.read)}).Result()
				must(t, err)
				for i, e := range given[0].Messages {
					if i > 0 || !tt.pending {
						must(t, c.XAck(t.Context(), Name, "theirs", e.ID).Err())
					}
				}
			}
			var log bytes.Buffer
			w, err := NewWorker(WorkerConfig{Client: tailClient(t, server.URL()), Applier: newMemory(), MaxLen: most,
				Logger: slog.New(slog.NewTextHandler(&log, nil))})
			must(t, err)
			l, err := w.connect(t.Context())
			must(t, err)
			defer l.close()
			for range 2 {
				w.tidy(t.Context(), l)
			}
			if n := c.XLen(t.Context(), Name).Val(); n < tt.least || n > tt.longest {
				t.Errorf("it has %d entries; want %d to %d", n, tt.least, tt.longest)
			}
			if warnings := strings.Count(log.String(), "group=theirs"); (warnings == 1) != tt.warns || warnings > 1 {
				t.Errorf("%d warnings:\n%s", warnings, log.String())
			}
		})
	}
}
