package prewarm

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/chatapp-ngomna/edgecache/embedded"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

// collect reads a source to its end.
func collect(t testing.TB, s Source, since time.Time) (users []User, err error) {
	t.Helper()
	for u, err := range s.Active(t.Context(), since) {
		if err != nil {
			return users, err
		}
		users = append(users, u)
	}
	return users, nil
}

func TestJSONLReadsWhatIsActive(t *testing.T) {
	text := lines(
		`{"id":"1","lastActive":1700000000000}`,
		`{"userId":"2","lastActive":"2023-11-14T22:13:21Z","more":[1,{"a":2}]}`,
		``,
		`  {"id":3,"lastActive":1700000002000}  `,
		`{"id":"old","lastActive":1600000000000}`,
		`{"id":"1","lastActive":"2023-11-14T22:13:23.5+01:00"}`,
		`{"id":"4","lastActive":1700000004000}`)
	path := filepath.Join(t.TempDir(), "active.jsonl")
	check(t, os.WriteFile(path, []byte(text), 0o600))
	for name, conf := range map[string]JSONLConfig{"a file": {Path: path}, "a reader": {Reader: strings.NewReader(text + "\n")}} {
		t.Run(name, func(t *testing.T) {
			j, err := NewJSONL(conf)
			check(t, err)
			users, err := collect(t, j, time.UnixMilli(1_650_000_000_000))
			check(t, err)
			var got []string
			for _, u := range users {
				got = append(got, fmt.Sprintf("%s@%d", u.ID, u.LastActive.UnixMilli()-1_700_000_000_000))
			}
			want := []string{"1@0", "2@1000", "3@2000", "1@-3596500", "4@4000"}
			if !slices.Equal(got, want) || j.Name() != "jsonl" {
				t.Errorf("got %v; want %v", got, want)
			}
			if n, faults := j.Skipped(); n != 0 || faults != nil {
				t.Errorf("passed over %d: %v", n, faults)
			}
		})
	}
}

func TestJSONLPassesOverBadLines(t *testing.T) {
	good := `{"id":"1","lastActive":1700000000000}`
	for name, c := range map[string]struct{ line, want string }{
		"no JSON":                             {`{"id":`, "unexpected end"},
		"no object":                           {`[1]`, "cannot unmarshal"},
		"no id":                               {`{"lastActive":1}`, "it is empty"},
		"an id that cannot be":                {`{"id":"a b","lastActive":1}`, `"a b"`},
		"an id that is a list":                {`{"id":["a"],"lastActive":1}`, "invalid id"},
		"no time":                             {`{"id":"2"}`, "want milliseconds since 1970, or ISO 8601"},
		"a negative time":                     {`{"id":"2","lastActive":-5}`, "-5"},
		"true as an id":                       {`{"id":true,"lastActive":1}`, "want a text or a whole number"},
		"half of an id":                       {`{"id":1.5,"lastActive":1}`, "1.5"},
		"a time that is none":                 {`{"id":"2","lastActive":"yesterday"}`, "yesterday"},
		"a line that is too long":             {`{"id":"2","lastActive":1,"x":"` + strings.Repeat("x", maxLine) + `"}`, "longer than 65536 bytes"},
		"a long line that ends in the buffer": {strings.Repeat("x", maxLine), "longer than 65536 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			j, err := NewJSONL(JSONLConfig{Reader: strings.NewReader(lines(good, c.line, good))})
			check(t, err)
			users, err := collect(t, j, time.Time{})
			n, faults := j.Skipped()
			if err != nil || len(users) != 2 || n != 1 {
				t.Fatalf("%d users, %v, %d lines passed over; want 2 and 1", len(users), err, n)
			}
			if text := faults[0].Error(); !strings.HasPrefix(text, "line 2: prewarm: malformed") || !strings.Contains(text, c.want) {
				t.Errorf("fault is %q; want line 2 and %q", text, c.want)
			}
		})
	}
}

func TestJSONLEndsAfterTooManyBadLines(t *testing.T) {
	for most, lines := range map[int]int{-1: 1, 3: 4} {
		j, err := NewJSONL(JSONLConfig{Reader: strings.NewReader(strings.Repeat("bad\n", 20)), MaxFaults: most})
		check(t, err)
		_, err = collect(t, j, time.Time{})
		if want := fmt.Sprintf("line %d", lines); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), want) {
			t.Errorf("MaxFaults %d: %v; want %s", most, err, want)
		}
	}
}

func TestJSONLReportsItsFile(t *testing.T) {
	j, err := NewJSONL(JSONLConfig{Path: filepath.Join(t.TempDir(), "none")})
	check(t, err)
	if _, err := collect(t, j, time.Time{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	j, err = NewJSONL(JSONLConfig{Reader: strings.NewReader(`{"id":"1","lastActive":1}`)})
	check(t, err)
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errDown)
	for _, err := range j.Active(ended, time.Time{}) {
		if !errors.Is(err, errDown) {
			t.Errorf("with an ended context: %v", err)
		}
	}
}

func FuzzJSONLLine(f *testing.F) {
	f.Add([]byte(`{"id":"1","lastActive":1700000000000}`))
	f.Add([]byte(`{"userId":7,"lastActive":"2023-11-14T22:13:21Z"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if u, err := decodeLine(line); err != nil && (!errors.Is(err, ErrMalformed) || u != (User{})) {
			t.Errorf("%q is %v, %v", line, u, err)
		}
	})
}

// TestGatheringKeepsTheNewest compares with a plain fold of everything.
func TestGatheringKeepsTheNewest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 30).Draw(t, "most")
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 2))
		stream := make([]User, rapid.IntRange(0, 8000).Draw(t, "length"))
		for i := range stream {
			stream[i] = User{"u" + strconv.Itoa(rnd.IntN(5000)), time.UnixMilli(rnd.Int64N(500))}
		}
		g := newGathering(most, time.Time{})
		all := newGathering(1<<30, time.Time{})
		for _, u := range stream {
			g.add(u)
			all.add(u)
		}
		want := all.newest()
		want = want[:min(most, len(want))]
		// Of users of one time, any may be forgotten early.
		got := g.newest()
		if len(got) != len(want) {
			t.Fatalf("%d users; want %d", len(got), len(want))
		}
		for i := range got {
			if !got[i].LastActive.Equal(want[i].LastActive) {
				t.Fatalf("user %d is %v; want %v", i, got[i], want[i])
			}
		}
		if len(g.seen) > roomFactor*most+1000 {
			t.Errorf("%d users are held for %d", len(g.seen), most)
		}
	})
}

// onEach runs a test over the embedded Redis, a real one and a real cluster.
func onEach(t *testing.T, test func(t *testing.T, url string)) {
	for name, start := range map[string]func(t *testing.T) string{
		"embedded": func(t *testing.T) string {
			r, err := embedded.StartRedis()
			check(t, err)
			t.Cleanup(func() { _ = r.Close() })
			return r.URL()
		},
		"redis":   func(t *testing.T) string { return redistest.Server(t).URL() },
		"cluster": func(t *testing.T) string { return redistest.Cluster(t).URL() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start(t))
		})
	}
}

// newHot returns a list that is sent only when the test says so.
func newHot(t testing.TB, url string, change func(*HotConfig)) *Hot {
	t.Helper()
	conf := HotConfig{Client: open(t, url), FlushEvery: time.Hour, Logger: logger(t)}
	if change != nil {
		change(&conf)
	}
	h, err := NewHot(conf)
	check(t, err)
	check(t, h.Start(t.Context()))
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// scores returns the list as its source streams it.
func scores(t testing.TB, h *Hot, since time.Time) map[string]int64 {
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
		h := newHot(t, url, func(c *HotConfig) { c.Tau = time.Hour })
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
		h := newHot(t, url, func(c *HotConfig) { c.Max, c.TTL = 500, time.Hour })
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
	var nodes []*Hot
	for range 3 {
		nodes = append(nodes, newHot(t, url, func(c *HotConfig) { c.FlushEvery = 5 * time.Millisecond }))
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
	want := began.UnixMilli() + int64(ms(nodes[0].conf.Tau)*math.Log(120)) // 3 nodes, 4 goroutines, 10 visits each
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
		h := newHot(t, url, func(c *HotConfig) { c.FlushEvery = time.Millisecond })
		h.Note("u"+strconv.Itoa(i), 1)
		check(t, h.Close())
		if s := h.Stats(); s.Sent != 1 {
			t.Fatalf("closed with %+v; want 1 sent", s)
		}
	}
}

func TestNoteDropsWhatItCannotKeep(t *testing.T) {
	t.Parallel()
	h := newHot(t, redistest.Server(t).URL(), func(c *HotConfig) { c.MaxPending = hotShards })
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
	if s := h.Stats(); s.Noted > hotShards || s.Noted+s.Dropped != 1005 {
		t.Errorf("stats are %+v; want at most %d noted", s, hotShards)
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
	h, err := NewHot(HotConfig{Client: open(t, server.URL())})
	check(t, err)
	check(t, h.Close())
	check(t, h.Close())
	if err := h.Start(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Start after Close: %v", err)
	}
	check(t, server.Kill())
	h, err = NewHot(HotConfig{Client: open(t, server.URL())})
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
	h, err := NewHot(HotConfig{Client: open(b, redistest.Server(b).URL())})
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
