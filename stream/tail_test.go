package stream

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

func TestATailHandlesEveryEventInOrder(t *testing.T) {
	server := redistest.Server(t)
	r := &recorder{}
	tail := startTail(t, server.URL(), r)
	p, err := NewPublisher(PublisherConfig{Client: server.Client()})
	must(t, err)
	var want []string
	for v := range int64(2000) {
		id, err := p.Publish(t.Context(), updated("7", v+1))
		must(t, err)
		if _, ok := parseEntryID(id); !ok {
			t.Fatalf("entry id %q", id)
		}
		want = append(want, fmt.Sprintf("7@%d", v+1))
	}
	await(t, "all events", func() bool { return len(r.list()) >= len(want) })
	if got := r.list(); !slices.Equal(got, want) {
		t.Errorf("%d calls, flushes %v", len(got), r.flushes())
	}
	r.awaitAlive(t, 2)
	s := tail.Stats()
	if s.Entries != 2000 || len(s.Gaps) != 0 || s.Reconnects != 0 || s.LastID == "" || s.LastAlive.IsZero() || s.MaxLag <= 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestStartHandsOverTheLastMinute(t *testing.T) {
	server := redistest.Server(t)
	add(t, server.Client(), 1, withID("5-0")) // decades ago
	add(t, server.Client(), 2)
	r := &recorder{}
	tail := startTailWith(t, TailConfig{Client: tailClient(t, server.URL()), Handler: r})
	add(t, server.Client(), 3)
	await(t, "the event after Start", func() bool { return r.has("7@3") })
	if got := r.list(); !slices.Equal(got, []string{"7@2", "7@3"}) {
		t.Errorf("calls %v", got)
	}
	if s := tail.Stats(); s.MaxLag.Duration() > 10*time.Second {
		t.Errorf("an old entry counts as lag: %v", s.MaxLag)
	}
}

// happenings are what may happen to the stream while no tail reads it, and what has to come of it:
// the calls after "7@2".
var happenings = map[string]struct {
	do   func(t *testing.T, c *redis.Client)
	want []string
}{
	"more entries": {func(t *testing.T, c *redis.Client) { add(t, c, 3) }, []string{"7@3"}},
	"trimmed past the cursor": {func(t *testing.T, c *redis.Client) {
		add(t, c, 3)
		add(t, c, 4)
		must(t, c.XTrimMaxLen(t.Context(), Name, 1).Err())
	}, []string{"flush trimmed", "7@4"}},
	"trimmed up to the cursor": {func(t *testing.T, c *redis.Client) {
		add(t, c, 3)
		must(t, c.XTrimMaxLen(t.Context(), Name, 1).Err())
	}, []string{"7@3"}},
	"trimmed to nothing, nothing unread": {func(t *testing.T, c *redis.Client) {
		must(t, c.XTrimMaxLen(t.Context(), Name, 0).Err())
		add(t, c, 3)
	}, []string{"7@3"}},
	"trimmed to nothing, one unread": {func(t *testing.T, c *redis.Client) {
		add(t, c, 3)
		must(t, c.XTrimMaxLen(t.Context(), Name, 0).Err())
	}, []string{"flush trimmed"}},
	"an unread entry deleted": {func(t *testing.T, c *redis.Client) {
		id := add(t, c, 3)
		add(t, c, 4)
		must(t, c.XDel(t.Context(), Name, id).Err())
	}, []string{"flush trimmed", "7@4"}},
	"a read entry deleted": {func(t *testing.T, c *redis.Client) {
		first := c.XRangeN(t.Context(), Name, "-", "+", 1).Val()[0].ID
		must(t, c.XDel(t.Context(), Name, first).Err())
		add(t, c, 3)
	}, []string{"7@3"}},
	"deleted": {func(t *testing.T, c *redis.Client) {
		must(t, c.Del(t.Context(), Name).Err())
	}, []string{"flush deleted"}},
	"flushed with all else": {func(t *testing.T, c *redis.Client) {
		must(t, c.FlushAll(t.Context()).Err())
	}, []string{"flush deleted"}},
	"recreated with lower ids": {func(t *testing.T, c *redis.Client) {
		must(t, c.Del(t.Context(), Name).Err())
		add(t, c, 3, withID("5-1"))
	}, []string{"flush backwards"}},
	"recreated with higher ids": {func(t *testing.T, c *redis.Client) {
		later := afterLast(t, c)
		must(t, c.Del(t.Context(), Name).Err())
		add(t, c, 3, later)
	}, []string{"flush rewritten", "7@3"}},
	"rolled back": {func(t *testing.T, c *redis.Client) {
		first := c.XRangeN(t.Context(), Name, "-", "+", 1).Val()[0].ID
		must(t, c.Del(t.Context(), Name).Err())
		add(t, c, 1, withID(first))
	}, []string{"flush backwards"}},
	"rolled back and grown": {func(t *testing.T, c *redis.Client) {
		later, first := afterLast(t, c), c.XRangeN(t.Context(), Name, "-", "+", 1).Val()[0].ID
		must(t, c.Del(t.Context(), Name).Err())
		add(t, c, 1, withID(first))
		add(t, c, 3, later)
	}, []string{"flush rewritten", "7@3"}},
}

// A change to the stream while the tail looks away.
func TestTheTailNoticesWhatHappenedToTheStream(t *testing.T) {
	for name, tc := range happenings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, r, tail, g := stopped(t)
			tc.do(t, server.Client())
			g.release()
			r.awaitAlive(t, 3)
			add(t, server.Client(), 9)
			await(t, "the next event", func() bool { return r.has("7@9") })
			r.awaitAlive(t, 2)
			want := append(append([]string{"7@1", "7@2"}, tc.want...), "7@9")
			if got := r.list(); !slices.Equal(got, want) {
				t.Errorf("calls %v, want %v; stats %+v", got, want, tail.Stats())
			}
		})
	}
}

// afterLast is an id for an entry that a stream created in its place gets a while later.
func afterLast(t *testing.T, c *redis.Client) func(*redis.XAddArgs) {
	info, err := c.XInfoStream(t.Context(), Name).Result()
	must(t, err)
	last, _ := parseEntryID(info.LastGeneratedID)
	return withID(entryID{ms: last.ms + 1}.String())
}

func TestARestoredStreamIsNoticed(t *testing.T) {
	server, r, _, g := stopped(t)
	c := server.Client()
	dump := c.Dump(t.Context(), Name).Val()
	g.release()
	add(t, c, 3)
	await(t, "the third entry", func() bool { return r.has("7@3") })
	must(t, c.RestoreReplace(t.Context(), Name, 0, dump).Err())
	await(t, "a flush", func() bool { return len(r.flushes()) > 0 })
	add(t, c, 4)
	await(t, "the next event", func() bool { return r.has("7@4") })
	if got := r.flushes(); !slices.Equal(got, []string{gapBackwards}) {
		t.Errorf("flushes %v", got)
	}
}

func TestAnIdleStreamIsNeverFlushed(t *testing.T) {
	server := redistest.Server(t)
	r := &recorder{}
	startTail(t, server.URL(), r)
	r.awaitAlive(t, 2) // the key is not there yet
	add(t, server.Client(), 1)
	await(t, "the entry", func() bool { return r.has("7@1") })
	must(t, server.Client().XTrimMaxLen(t.Context(), Name, 0).Err())
	r.awaitAlive(t, 5)
	must(t, server.Client().XGroupCreate(t.Context(), Name, "g", "0").Err())
	r.awaitAlive(t, 5)
	if got := r.list(); !slices.Equal(got, []string{"7@1"}) {
		t.Errorf("calls %v", got)
	}
}

// TestBusyTrimming holds the flushes against what was really missed: with a stream as short as its
// writers allow, a tail that reads everything must not flush, and one that misses entries must.
// Entries come in bursts, so that some fall between the tail's XREAD and its XINFO.
func TestBusyTrimming(t *testing.T) {
	for _, tc := range []struct {
		maxLen, count int64
		burst         int64
		slow          int64 // every so many events the handler takes a while
	}{
		{maxLen: 300, count: 256, burst: 1}, {maxLen: 1, count: 256, burst: 1}, {maxLen: 20, count: 256, burst: 20}, {maxLen: 200, count: 16, burst: 10},
		{maxLen: 2000, count: 7, burst: 50}, {maxLen: 9, count: 5, burst: 10}, {maxLen: 50, count: 5, burst: 3, slow: 40},
	} {
		t.Run(fmt.Sprintf("kept %d, read %d, bursts of %d", tc.maxLen, tc.count, tc.burst), func(t *testing.T) {
			t.Parallel()
			server := redistest.Server(t)
			const total = 6000
			b := &bookkeeper{t: t, slow: tc.slow}
			r := &recorder{onHandle: b.handle, onFlush: b.flush}
			tail := startTailWith(t, TailConfig{Client: tailClient(t, server.URL()), Handler: r, Replay: -1, Count: tc.count, Block: 20 * time.Millisecond})
			for v := int64(1); v <= total; v += tc.burst {
				burst(t, server.Client(), tc.maxLen, v, min(v+tc.burst, total+1))
			}
			await(t, "the last entry", func() bool { return r.has(fmt.Sprintf("7@%d", total)) })
			r.awaitAlive(t, 2)
			s := tail.Stats()
			t.Logf("%d of %d entries in %d reads, %d jumps, %d flushes", s.Entries, total, s.Reads, b.jumps, b.flushes)
			if b.flushes != b.jumps || s.Entries == total && b.flushes > 0 {
				t.Errorf("flushed %d times for %d jumps: %v", b.flushes, b.jumps, s.Gaps)
			}
		})
	}
}

// burst adds the versions from until to in one go.
func burst(t *testing.T, c *redis.Client, maxLen, from, to int64) {
	pipe := c.Pipeline()
	for v := from; v < to; v++ {
		values, _ := Encode(updated("7", v))
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: Name, Values: values, MaxLen: maxLen})
	}
	_, err := pipe.Exec(t.Context())
	must(t, err)
}

// bookkeeper checks every jump in the versions against the flushes. Its methods are called by the
// tail alone.
type bookkeeper struct {
	t              *testing.T
	slow           int64
	last           int64
	flushes, jumps int
	// Flushes since the event before the last. An entry that is lost right after a read is found
	// with that read, so its flush comes before the last entry in front of the gap.
	recent, before int
}

func (b *bookkeeper) flush() { b.flushes++; b.recent++ }

func (b *bookkeeper) handle(e Event) {
	if e.Version != b.last+1 {
		if b.jumps++; b.recent+b.before == 0 {
			b.t.Errorf("%d after %d without a flush", e.Version, b.last)
		}
	}
	b.last, b.before, b.recent = e.Version, b.recent, 0
	if b.slow > 0 && e.Version%b.slow == 0 {
		<-time.After(3 * time.Millisecond)
	}
}

func TestAPanicInTheHandlerIsAnsweredByOneFlush(t *testing.T) {
	server := redistest.Server(t)
	r := &recorder{}
	r.onHandle = func(e Event) {
		if e.Version < 100 {
			panic("broken")
		}
	}
	tail := startTail(t, server.URL(), r)
	pipe := server.Client().TxPipeline()
	for v := int64(90); v < 105; v++ {
		values, _ := Encode(updated("7", v))
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: Name, Values: values})
	}
	_, err := pipe.Exec(t.Context())
	must(t, err)
	await(t, "the flush", func() bool { return len(r.flushes()) > 0 })
	r.awaitAlive(t, 2)
	if s := tail.Stats(); s.Panics != 10 || s.Gaps[gapPanic] == 0 || s.Gaps[gapPanic] > 2 || s.Entries != 15 {
		t.Errorf("stats %+v", s)
	}
}

func TestAFlushThatPanicsStaysOwed(t *testing.T) {
	server, r, tail, g := stopped(t)
	left := 3
	r.onFlush = func() {
		if left--; left >= 0 {
			panic("broken")
		}
	}
	aliveBefore := r.aliveCount()
	must(t, server.Client().Del(t.Context(), Name).Err())
	g.release()
	await(t, "the flush", func() bool { return len(r.flushes()) > 0 })
	if r.aliveCount() != aliveBefore && left >= 0 {
		t.Error("alive with a flush that is owed")
	}
	r.awaitAlive(t, 2)
	if s := tail.Stats(); s.Panics != 3 || s.Gaps[gapDeleted] != 1 || len(r.flushes()) != 1 {
		t.Errorf("stats %+v, flushes %v", s, r.flushes())
	}
}

// TestAStormOfBadEntries: what cannot be read neither stops the good ones nor flushes; what names a
// user invalidates him.
func TestAStormOfBadEntries(t *testing.T) {
	server := redistest.Server(t)
	r := &recorder{}
	tail := startTail(t, server.URL(), r)
	bad := []map[string]any{
		{"payload": "{"}, {"x": "y"}, {"payload": `{"userId":"8","event":"user.profile.renamed"}`},
		{"payload": strings.Repeat("x", maxPayload+1)}, {"payload": `{"userId":"8","event":"user.profile.updated","timestamp":"x"}`},
	}
	const rounds = 400
	for i := range int64(rounds) {
		pipe := server.Client().Pipeline()
		for _, values := range bad {
			pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: Name, Values: values})
		}
		_, err := pipe.Exec(t.Context())
		must(t, err)
		add(t, server.Client(), i+1)
	}
	await(t, "the last good entry", func() bool { return r.has(fmt.Sprintf("7@%d", rounds)) })
	s := tail.Stats()
	for reason, want := range map[string]uint64{refusedMalformed: 3 * rounds, refusedTooLarge: rounds, refusedKind: rounds} {
		if s.Refused[reason] != want {
			t.Errorf("%s: %d, want %d", reason, s.Refused[reason], want)
		}
	}
	if len(s.Gaps) != 0 || r.events != 3*rounds {
		t.Errorf("gaps %v, %d events; want %d good ones and %d invalidations", s.Gaps, r.events, rounds, 2*rounds)
	}
}

// TestPublishingWithLostReplies: the writer's client retries when the reply is lost, which adds
// entries twice or more.
func TestPublishingWithLostReplies(t *testing.T) {
	server := redistest.Server(t)
	r := &recorder{}
	startTail(t, server.URL(), r)
	proxy := redistest.ProxyTo(t, server.Addr)
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr, MaxRetries: -1, PoolSize: 1})
	defer client.Close()
	p, err := NewPublisher(PublisherConfig{Client: client})
	must(t, err)
	const total = 1000
	for v := int64(1); v <= total; v++ {
		if v%10 < 3 {
			proxy.CutReply("xadd", 0)
		}
		for {
			if _, err := p.Publish(t.Context(), updated("7", v)); err == nil {
				break
			}
		}
	}
	await(t, "the last version", func() bool { return r.has(fmt.Sprintf("7@%d", total)) })
	last, seen, doubles := int64(0), 0, 0
	for _, call := range r.list() {
		var v int64
		if _, err := fmt.Sscanf(call, "7@%d", &v); err != nil {
			t.Fatalf("call %q", call)
		}
		switch v {
		case last + 1:
			seen++
		case last:
			doubles++
		default:
			t.Fatalf("%d after %d", v, last)
		}
		last = v
	}
	if seen != total || doubles == 0 {
		t.Errorf("%d of %d versions, %d doubles", seen, total, doubles)
	}
}

func TestTailConfigs(t *testing.T) {
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	ring := redis.NewRing(&redis.RingOptions{})
	defer ring.Close()
	for name, cfg := range map[string]TailConfig{
		"no client":      {Handler: &recorder{}},
		"a ring":         {Handler: &recorder{}, Client: ring},
		"no handler":     {Client: client},
		"block too long": {Handler: &recorder{}, Client: client, Block: time.Second},
		"block too tiny": {Handler: &recorder{}, Client: client, Block: time.Microsecond},
		"count negative": {Handler: &recorder{}, Client: client, Count: -1},
		"count too high": {Handler: &recorder{}, Client: client, Count: maxCount + 1},
	} {
		if _, err := NewTail(cfg); !errors.Is(err, errConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, cfg := range map[string]PublisherConfig{"no client": {}, "max length": {Client: client, MaxLen: -1}} {
		if _, err := NewPublisher(cfg); !errors.Is(err, errConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
