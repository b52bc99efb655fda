package ui

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
	"github.com/chatapp-ngomna/edgecache/tier/watch"
)

// still is a node that does nothing, and counts who looks at it.
type still struct {
	looked  atomic.Int64
	sampled atomic.Int64
	lookups []look.Lookup
}

func (n *still) Stats() node.Stats {
	n.looked.Add(1)
	return node.Stats{Stream: stream.TailStats{LastAlive: time.Now()}}
}
func (n *still) Times() node.Times      { return node.Times{} }
func (n *still) Cluster() node.Cluster  { return node.Cluster{Self: "a"} }
func (n *still) Lookups() []look.Lookup { return n.lookups }
func (n *still) SampleLookups() (stop func()) {
	n.sampled.Add(1)
	return func() { n.sampled.Add(-1) }
}

// The node is looked at once a second for all viewers, and not at all when there are none.
func TestSnapshotsAreMadeOnceForAllAndNotForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(still)
		l := NewLive(n, nil, slog.New(slog.DiscardHandler))
		defer l.Close()
		time.Sleep(time.Hour)
		if n.looked.Load() != 0 {
			t.Fatal("nobody looks, and a snapshot was made")
		}
		var viewers []*Viewer
		for range 5 {
			viewers = append(viewers, l.Join())
			synctest.Wait()
		}
		for second := range 10 {
			for i, v := range viewers {
				var s Snapshot
				if err := json.Unmarshal(<-v.Next, &s); err != nil || s.Cluster.Self != "a" || len(s.Checks) != 6 {
					t.Fatalf("viewer %d in second %d: %+v, %v", i, second, s, err)
				}
			}
		}
		if got := n.looked.Load(); got != 10 {
			t.Errorf("looked %d times in ten seconds", got)
		}
		if got := n.sampled.Load(); got != 1 {
			t.Errorf("lookups are timed for %d, want 1", got)
		}
		for _, v := range viewers {
			v.Leave()
			v.Leave()
		}
		time.Sleep(time.Hour)
		if got := n.looked.Load(); got > 11 || n.sampled.Load() != 0 {
			t.Errorf("nobody looks: looked %d times, %d have lookups timed", got, n.sampled.Load())
		}
		again := l.Join()
		<-again.Next
		again.Leave()
	})
}

// A viewer who is slow gets the newest snapshot, and holds nobody up.
func TestASlowViewerMissesSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLive(new(still), nil, slog.New(slog.DiscardHandler))
		slow := l.Join()
		time.Sleep(time.Minute + time.Second/2)
		var s Snapshot
		if err := json.Unmarshal(<-slow.Next, &s); err != nil {
			t.Fatal(err)
		}
		if age := time.Since(time.UnixMilli(s.At)); age > Every {
			t.Errorf("the snapshot is %v old", age)
		}
		l.Close()
		l.Close()
		if l.Join() != nil {
			t.Error("somebody could join after Close")
		}
	})
}

func TestFilters(t *testing.T) {
	lookups := []look.Lookup{
		{ID: "1", Tier: look.FromL1, Took: 300 * time.Nanosecond}, {ID: "12", Tier: look.FromOrigin, Took: 60 * time.Millisecond},
		{ID: "2", Tier: look.FromL2, Took: 200 * time.Microsecond}, {ID: "3", Absent: true, Took: time.Millisecond}, {ID: "x:1", Took: 2 * time.Second},
	}
	for text, want := range map[string]string{
		"": "1 12 2 3 x:1", " tier=origin  ms>50 ": "12", "tier=l1": "1", "TIER!=L1 ms<1": "2", "tier=absent": "3", "tier=failed": "x:1",
		"id=1*": "1 12", "id!=1* us>=200": "2 3 x:1", "id=x:1": "x:1", "us=0.3": "1", "ms<=1 ms>=1": "3", "ms!=60": "1 2 3 x:1", "id=*": "1 12 2 3 x:1",
	} {
		f, err := ParseFilter(text)
		var got []string
		for i := range lookups {
			if f.Match(&lookups[i]) {
				got = append(got, lookups[i].ID)
			}
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %v, %v; want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"tier": "no comparison", "=5": "no comparison", "tier=": "compares with nothing", "tier!": "compares with nothing", "tier!L1": "compares with nothing",
		"tier=L3": `"L3" is no tier; want one of L1, L1.5, L2, origin, stale, absent, failed`, "tier>L1": "has no order", "id<5": "has no order",
		"ms>x": "compares with no time", "ms>-1": "compares with no time", "ms>NaN": "compares with no time", "age>5": `"age" is no field; want tier, id, ms or us`,
		strings.Repeat("x", MaxFilter+1): "it has 501 bytes; want 500 at most",
	} {
		if _, err := ParseFilter(text); !errors.Is(err, ErrFilter) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v; want %s", text, err, want)
		}
	}
}

func FuzzFilter(f *testing.F) {
	f.Add("tier=origin ms>50 id=12*")
	f.Fuzz(func(t *testing.T, text string) {
		filter, err := ParseFilter(text)
		if err != nil && !errors.Is(err, ErrFilter) {
			t.Fatal(err)
		}
		filter.Match(&look.Lookup{ID: "1"})
	})
}

func TestDistributions(t *testing.T) {
	for d, want := range map[time.Duration]int{0: 0, 100: 0, 99 * time.Nanosecond: 0, time.Microsecond: 5, 999: 4, time.Millisecond: 20, time.Second: 35, time.Hour: Buckets - 1} {
		if got := bucket(d); got != want {
			t.Errorf("%v is in bucket %d, want %d", d, got, want)
		}
	}
	got := latency([]look.Lookup{{Tier: look.FromL1, Took: time.Microsecond}, {Tier: look.FromL1, Took: 3 * time.Microsecond}, {Tier: look.FromOrigin, Took: time.Second}})
	if l := got["L1"]; l.Lookups != 2*look.SampleHits || l.P50.Duration() != 3*time.Microsecond || l.Counts[5] != look.SampleHits || len(got) != 2 {
		t.Errorf("%+v", got)
	}
	if h := hottest([]look.Lookup{{ID: "miss", Tier: look.FromL2}, {ID: "hit", Tier: look.FromL1}}); h[0].ID != "hit" || h[0].Share < 0.98 || len(h) != 2 {
		t.Errorf("%+v", h)
	}
}

// Each trouble is in a sentence of its check, and no other check says more than "ok".
func TestChecksNameTroubles(t *testing.T) {
	now := time.Now()
	calm := func() view {
		s := node.Stats{Cache: tier.Stats{L1Capacity: 10 << 20, TotalCached: -1}, Stream: stream.TailStats{LastAlive: now.Add(-100 * time.Millisecond)},
			Watch: &watch.Stats{Links: 1, Way: "push"}, Origin: &origin.ClientStats{Breaker: "closed"}, Worker: &stream.WorkerStats{},
			Functions: []edge.FunctionStats{{Name: "short"}}}
		return view{now: moment{now, s}, past: []moment{{now.Add(-30 * time.Second), s}}, cluster: node.Cluster{Members: []node.Member{{Name: "a"}}}}
	}
	for _, c := range checks(calm()) {
		if c.State != OK {
			t.Errorf("all is well, and %+v", c)
		}
	}
	for name, x := range map[string]struct {
		change func(*view)
		check  string
		state  string
		says   string
	}{
		"fenced": {func(v *view) {
			v.now.stats.Cache.Fenced, v.now.stats.Stream.LastAlive = true, now.Add(-5*time.Second)
		}, "freshness", Bad, "Fenced: for 5.0 s nothing has proved"},
		"held up":     {func(v *view) { v.now.stats.Cache.Fenced = true }, "freshness", Warn, "the next proof ends it"},
		"late proof":  {func(v *view) { v.now.stats.Stream.LastAlive = now.Add(-2 * time.Second) }, "freshness", Warn, "2.0 s old"},
		"stale":       {func(v *view) { v.now.stats.Cache.Stale = 3 }, "freshness", Warn, "3 answers were marked stale"},
		"no Redis":    {func(v *view) { v.now.stats.Stream.LastAlive = now.Add(-90 * time.Second) }, "redis", Bad, "last heard of 1 min ago"},
		"Redis back":  {func(v *view) { v.now.stats.Cache.L2Errors, v.now.stats.Stream.Lost = 7, 1 }, "redis", Warn, "answers again. 7 users were not served"},
		"poison":      {func(v *view) { v.now.stats.Stream.Refused = map[string]uint64{"malformed": 2} }, "stream", Warn, "2 entries were no good event in the last minute: malformed"},
		"dead":        {func(v *view) { v.now.stats.Worker.Dead = map[string]uint64{"failed": 1} }, "stream", Warn, "put 1 entry to the dead letters"},
		"gap":         {func(v *view) { v.now.stats.Stream.Gaps = map[string]uint64{"trimmed": 1} }, "stream", Warn, "emptied 1 time in the last minute"},
		"lag":         {func(v *view) { v.now.stats.Stream.Lag, v.now.stats.Stream.Entries = profile.Millis(time.Second), 1 }, "stream", Warn, "1.0 s after it was made"},
		"errors":      {func(v *view) { v.now.stats.Cache.OriginCalls, v.now.stats.Cache.OriginErrors = 4, 2 }, "origin", Warn, "2 of 4 calls of the origin failed"},
		"slow origin": {func(v *view) { v.lookups = []look.Lookup{{At: now, Tier: look.FromOrigin, Took: 2 * time.Second}} }, "origin", Warn, "half of 1 lookup took 2.0 s"},
		"breaker":     {func(v *view) { v.now.stats.Origin.Breaker = "open" }, "origin", Bad, "is open"},
		"gone":        {func(v *view) { v.cluster.Gone = []node.Member{{Name: "b", Since: now.Add(-4 * time.Second)}} }, "cluster", Warn, "b, the last 4.0 s ago"},
		"another": {func(v *view) {
			v.cluster.Self = "a"
			v.cluster.Members = []node.Member{{Name: "a", Fenced: true}, {Name: "b", Fenced: true, Lag: 4000, Redis: "lost", Origin: "failing"}, {Name: "c", Fenced: true, Redis: "ok"}}
		}, "cluster", Warn, "In trouble: b (fenced, Redis lost, origin failing)."},
		"small":     {func(v *view) { v.now.stats.Cache.L1Bytes, v.now.stats.Cache.Unadmitted = 10<<20, 9 }, "memory", Warn, "9 answers of Redis found no room"},
		"forbidden": {func(v *view) { v.now.stats.Watch.Way, v.now.stats.Watch.Links = "sweep", 0 }, "outside writes", Warn, "compares its hottest users"},
		"unwatched": {func(v *view) { v.now.stats.Watch.Links = 0 }, "outside writes", Warn, "is not seen"},
		"function":  {func(v *view) { v.now.stats.Functions[0].Fenced = true }, "functions", Warn, "short"},
	} {
		v := calm()
		x.change(&v)
		for _, c := range checks(v) {
			switch {
			case c.Name == x.check && (c.State != x.state || !strings.Contains(c.Says, x.says)):
				t.Errorf("%s: %+v; want %s and %q", name, c, x.state, x.says)
			case c.Name != x.check && c.State != OK && name != "fenced" && name != "no Redis" && name != "late proof":
				t.Errorf("%s: %+v", name, c)
			}
		}
	}
}

// What was before the first look is not known, and does not count as of the last minute.
func TestOldTroublesAreNotOfTheLastMinute(t *testing.T) {
	now := time.Now()
	s := node.Stats{Cache: tier.Stats{Stale: 5}, Stream: stream.TailStats{LastAlive: now}}
	v := view{now: moment{now, s}}
	if n := v.lately(func(s *node.Stats) uint64 { return s.Cache.Stale }); n != 0 {
		t.Errorf("%d without a past", n)
	}
	v.past = []moment{{now.Add(-2 * time.Minute), node.Stats{}}, {now.Add(-time.Second), s}}
	if n := v.lately(func(s *node.Stats) uint64 { return s.Cache.Stale }); n != 0 {
		t.Errorf("%d of two minutes ago", n)
	}
}

// Every file has a type, is asked for by the page or by one that it loads, and asks for nothing
// elsewhere.
func TestFiles(t *testing.T) {
	page, _, ok := File(Index)
	if !ok {
		t.Fatal("there is no page")
	}
	var all strings.Builder
	entries, err := fs.ReadDir(static, "static")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, kind, ok := File(e.Name())
		if !ok || kind == "" || len(text) == 0 {
			t.Errorf("%s: %q, %t", e.Name(), kind, ok)
		}
		all.Write(text)
	}
	for _, e := range entries {
		if e.Name() != Index && !strings.Contains(all.String(), "/"+e.Name()) {
			t.Errorf("nothing loads %s", e.Name())
		}
	}
	for _, bad := range []string{" style=", "<style", " onclick=", "innerHTML", "eval("} {
		if strings.Contains(all.String(), bad) {
			t.Errorf("the policy forbids %q", bad)
		}
	}
	for line := range strings.Lines(all.String()) {
		if strings.Contains(line, "://") && !strings.Contains(line, "http://www.w3.org/2000/svg") {
			t.Errorf("an address elsewhere: %s", line)
		}
	}
	if strings.Contains(string(page), "<script>") {
		t.Error("a script stands in the page")
	}
	for _, name := range []string{"", ".", "..", "../ui.go", "static/app.js", "ui.go", "none.js"} {
		if _, _, ok := File(name); ok {
			t.Errorf("%q is served", name)
		}
	}
}

// BenchmarkASecond is what five viewers cost in a second: a snapshot with all lookups that are
// kept, and a filter for each. 10 ms are 1 % of a core.
func BenchmarkASecond(b *testing.B) {
	n := &still{lookups: make([]look.Lookup, look.MaxLookups)}
	for i := range n.lookups {
		n.lookups[i] = look.Lookup{At: time.Now(), ID: strconv.Itoa(i % 1000), Tier: look.Tier(1 + i%4), Took: time.Duration(i) * time.Microsecond}
	}
	l := NewLive(n, nil, slog.New(slog.DiscardHandler))
	f, err := ParseFilter("tier=origin ms>5")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		l.tell(moment{time.Now(), n.Stats()}, nil)
		for range 5 {
			l.Find(f, 60)
		}
	}
}
