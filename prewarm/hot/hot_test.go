package hot

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/prewarm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var epoch = time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open returns a client that the test closes.
func open(t testing.TB, url string) redis.UniversalClient {
	t.Helper()
	c, err := redisconn.Open(url)
	check(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// collect reads a source to its end.
func collect(t testing.TB, s prewarm.Source, since time.Time) (users []prewarm.User, err error) {
	t.Helper()
	for u, err := range s.Active(t.Context(), since) {
		if err != nil {
			return users, err
		}
		users = append(users, u)
	}
	return users, nil
}

// onEach runs a test over the embedded Redis, a real one and a real cluster.
func onEach(t *testing.T, test func(t *testing.T, url string)) {
	for _, name := range []string{"embedded", "redis", "cluster"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, redistest.Kinds()[name](t))
		})
	}
}

// newHot returns a list that is sent only when the test says so.
func newHot(t testing.TB, url string, change func(*Config)) *List {
	t.Helper()
	conf := Config{Client: open(t, url), FlushEvery: time.Hour, Logger: logger(t)}
	if change != nil {
		change(&conf)
	}
	h, err := New(conf)
	check(t, err)
	check(t, h.Start(t.Context()))
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// scores returns the list as its source streams it.
func scores(t testing.TB, h *List, since time.Time) map[string]int64 {
	t.Helper()
	users, err := collect(t, h, since)
	check(t, err)
	out := map[string]int64{}
	for _, u := range users {
		out[u.ID] = u.LastActive.UnixMilli()
	}
	return out
}

func TestHotListScoresByForwardDecay(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, url string) {
		h := newHot(t, url, func(c *Config) { c.Tau = time.Hour })
		hour := float64(time.Hour.Milliseconds())
		visit := func(id string, ago float64, weight float64) {
			h.note(id, scoreOf(epoch, weight, time.Hour)-ago*hour)
			h.flush(t.Context()) // so that the server adds them up
		}
		visit("once", 2, 1)
		visit("twice", 2, 1)
		visit("twice", 2, 1)
		visit("twice at once", 2, 2)
		visit("backwards", 0, 1)
		visit("backwards", 1, 1)
		visit("forwards", 1, 1)
		visit("forwards", 0, 1)
		visit("long ago", 3000, 1) // exp underflows
		visit("long ago", 0, 1)
		h.note("together", scoreOf(epoch, 1, time.Hour)-hour) // added up here
		h.note("together", scoreOf(epoch, 1, time.Hour))
		h.flush(t.Context())
		base := epoch.UnixMilli()
		ln2, both := hour*math.Ln2, hour*math.Log(1+math.Exp(-1))
		want := map[string]float64{"once": -2 * hour, "twice": -2*hour + ln2, "twice at once": -2*hour + ln2, "backwards": both,
			"forwards": both, "together": both, "long ago": 0}
		got := scores(t, h, time.Time{})
		for id, offset := range want {
			if d := float64(got[id]-base) - offset; math.Abs(d) > 1 {
				t.Errorf("%q scores %d; want %.0f", id, got[id]-base, offset)
			}
		}
		if got := scores(t, h, epoch.Add(-90*time.Minute)); len(got) != 6 {
			t.Errorf("since 90 minutes before there are %v; want 6: two visits weigh as much as one 0.7 h later", got)
		}
	})
}

func TestHotListIsBoundedAndExpires(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, url string) {
		h := newHot(t, url, func(c *Config) { c.Max, c.TTL = 500, time.Hour })
		for i := range 2000 {
			h.note("u"+strconv.Itoa(i), float64(epoch.UnixMilli()+int64(i*1000)))
			if i%700 == 0 {
				h.flush(t.Context())
			}
		}
		h.flush(t.Context())
		got := scores(t, h, time.Time{})
		if len(got) != 500 || got["u1500"] == 0 || got["u1499"] != 0 {
			t.Errorf("%d users are kept; want the newest 500", len(got))
		}
		ttl, err := h.conf.Client.PTTL(t.Context(), h.conf.Key).Result()
		if check(t, err); ttl <= 0 || ttl > time.Hour {
			t.Errorf("TTL is %v; want an hour", ttl)
		}
	})
}

func TestHotListYieldsWhatWasJustNoted(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, url string) {
		h := newHot(t, url, nil)
		h.Note("now", 1)
		if got := scores(t, h, time.Now().Add(-time.Minute)); len(got) != 1 || got["now"] == 0 {
			t.Errorf("the list is %v; want who was noted", got)
		}
	})
}

func TestHotListOfSeveralNodesIsOne(t *testing.T) {
	t.Parallel()
	url := redistest.Server(t).URL()
	var nodes []*List
	for range 3 {
		nodes = append(nodes, newHot(t, url, func(c *Config) { c.FlushEvery = 5 * time.Millisecond }))
	}
	began := time.Now()
	var all sync.WaitGroup
	for _, h := range nodes {
		for range 4 {
			all.Go(func() {
				for i := range 1000 {
					h.Note("u"+strconv.Itoa(i%100), 1)
				}
			})
		}
	}
	all.Wait()
	for _, h := range nodes {
		check(t, h.Close()) // sends the rest
		if s := h.Stats(); s.Noted != 4000 || s.Dropped != 0 || s.Lost != 0 || s.Sent == 0 {
			t.Errorf("stats are %+v", s)
		}
	}
	got := scores(t, nodes[0], time.Time{})
	late := time.Since(began).Milliseconds()
	// 3 nodes, 4 goroutines, 10 visits each
	want := began.UnixMilli() + int64(ms(nodes[0].conf.Tau)*math.Log(120))
	for id, score := range got {
		if score < want-1 || score > want+late+1 {
			t.Errorf("%s scores %d; want %d to %d", id, score, want, want+late)
		}
	}
	if len(got) != 100 {
		t.Errorf("%d users; want 100", len(got))
	}
}

// TestCloseSendsTheLastNotes closes at once, perhaps before the flusher has begun.
func TestCloseSendsTheLastNotes(t *testing.T) {
	t.Parallel()
	url := redistest.Server(t).URL()
	for i := range 200 {
		h := newHot(t, url, func(c *Config) { c.FlushEvery = time.Millisecond })
		h.Note("u"+strconv.Itoa(i), 1)
		check(t, h.Close())
		if s := h.Stats(); s.Sent != 1 {
			t.Fatalf("closed with %+v; want 1 sent", s)
		}
	}
}

func TestNoteDropsWhatItCannotKeep(t *testing.T) {
	t.Parallel()
	h := newHot(t, redistest.Server(t).URL(), func(c *Config) { c.MaxPending = shards })
	for _, weight := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		h.Note("1", weight)
	}
	h.Note("no id", 1)
	if s := h.Stats(); s.Dropped != 5 || s.Noted != 0 {
		t.Errorf("stats are %+v; want 5 dropped", s)
	}
	for i := range 1000 {
		h.Note("u"+strconv.Itoa(i), 1)
	}
	if s := h.Stats(); s.Noted > shards || s.Noted+s.Dropped != 1005 {
		t.Errorf("stats are %+v; want at most %d noted", s, shards)
	}
}

func TestHotListWithoutRedisLosesAndCounts(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	h := newHot(t, server.URL(), nil)
	h.Note("1", 1)
	check(t, server.Kill())
	h.flush(t.Context())
	if s := h.Stats(); s.Lost != 1 || s.Sent != 0 {
		t.Errorf("stats are %+v; want 1 lost", s)
	}
	if _, err := collect(t, h, time.Time{}); err == nil {
		t.Error("the source of a dead server ends without an error")
	}
}

func TestHotLifecycle(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	h, err := New(Config{Client: open(t, server.URL())})
	check(t, err)
	check(t, h.Close())
	check(t, h.Close())
	if err := h.Start(t.Context()); !errors.Is(err, prewarm.ErrClosed) {
		t.Errorf("Start after Close: %v", err)
	}
	check(t, server.Kill())
	h, err = New(Config{Client: open(t, server.URL())})
	check(t, err)
	if err := h.Start(t.Context()); err == nil {
		t.Error("Start on a dead server succeeded")
	}
	check(t, server.Restart())
	check(t, h.Start(t.Context()))
	check(t, h.Start(t.Context()))
	check(t, h.Close())
}

// BenchmarkNote is what a lookup pays for being noted.
func BenchmarkNote(b *testing.B) {
	h, err := New(Config{Client: open(b, redistest.Server(b).URL())})
	check(b, err)
	ids := make([]string, 10_000)
	for i := range ids {
		ids[i] = "u" + strconv.Itoa(i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		h.Note(ids[i%len(ids)], 1)
	}
}

// TestClockOfANodeThatIsAhead has a node that notes by a clock a year ahead.
func TestClockOfANodeThatIsAhead(t *testing.T) {
	t.Parallel()
	h := newHot(t, redistest.Server(t).URL(), func(c *Config) { c.Tau = time.Hour })
	h.note("1", scoreOf(time.Now().AddDate(1, 0, 0), 1, time.Hour))
	if got, most := scores(t, h, time.Time{})["1"], time.Now().Add(21*time.Hour).UnixMilli(); got > most {
		t.Errorf("the score is %v ahead", time.Until(time.UnixMilli(got)))
	}
}

func TestAScriptThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	odd := func(ctx context.Context, c redis.Cmdable) error {
		return c.ZAdd(ctx, "hot", redis.Z{Score: 5, Member: "1"}).Err()
	}
	redistest.ScriptsAreWhole(t, redistest.Server(t), []redistest.ScriptCase{{Name: "hot", Prepare: odd, Script: script,
		Keys: []string{"hot"}, Args: []any{1000, 10, 100_000, "6.000", "1", "7.000", "2"}}})
}

func TestConfigIsChecked(t *testing.T) {
	client := open(t, "redis://127.0.0.1:1")
	for want, conf := range map[string]Config{
		"Config.Client is nil":     {},
		"Config.Max is -1":         {Client: client, Max: -1},
		"Config.Tau is 1s":         {Client: client, Tau: time.Second},
		"Config.TTL is 1ms":        {Client: client, TTL: time.Millisecond},
		"Config.FlushEvery is 1ns": {Client: client, FlushEvery: 1},
		"Config.MaxPending is 3":   {Client: client, MaxPending: 3},
	} {
		if _, err := New(conf); !errors.Is(err, prewarm.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q in it", err, want)
		}
	}
}
