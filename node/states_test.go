package node

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chatapp-ngomna/edgecache/gossip"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier"
)

// TestTroublesAreToldInWords has a node in each state.
func TestTroublesAreToldInWords(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	heard := stream.TailStats{LastAlive: now.Add(-100 * time.Millisecond)}
	for _, c := range []struct {
		stats Stats
		want  []string
	}{
		{Stats{Stream: heard}, nil},
		{Stats{}, nil},
		{Stats{Stream: heard, Redis: RedisStats{Down: true, Since: now.Add(-12 * time.Second)}}, []string{"Redis has not answered for 12s"}},
		{Stats{Cache: tier.Stats{Fenced: true}}, []string{"fenced: nothing was heard"}},
		{Stats{Cache: tier.Stats{Fenced: true}, Stream: stream.TailStats{LastAlive: now.Add(-4 * time.Second)}}, []string{"fenced: the stream of changes has been silent for 4s"}},
		{Stats{Stream: stream.TailStats{LastAlive: now.Add(-2 * time.Second)}}, []string{"the stream of changes has been silent for 2s"}},
		{Stats{Stream: heard, Origin: &origin.ClientStats{Breaker: "open"}}, []string{"its breaker is open"}},
		{Stats{Stream: heard, Origin: &origin.ClientStats{Breaker: "closed"}}, nil},
		{Stats{Stream: heard, Worker: &stream.WorkerStats{Pending: 1001, CountedAt: now}}, []string{"1001 events of other services wait"}},
		{Stats{Stream: heard, Worker: &stream.WorkerStats{Pending: 1001, CountedAt: now.Add(-time.Hour)}}, nil},
	} {
		got := c.stats.Troubles(now)
		for i, want := range c.want {
			if i >= len(got) || !strings.Contains(got[i], want) {
				t.Errorf("%q; want %q", got, c.want)
			}
		}
		if len(got) != len(c.want) {
			t.Errorf("%q; want %q", got, c.want)
		}
	}
}

// logged returns a logger into a buffer, through the handler that holds symptoms back.
func logged() (*slog.Logger, *held, *bytes.Buffer) {
	var b bytes.Buffer
	s := newSymptoms(slog.NewTextHandler(&b, nil))
	return slog.New(s), s.held, &b
}

// TestSymptomsOfALostRedisAreLeftOut has links fail before, while and after Redis is lost.
func TestSymptomsOfALostRedisAreLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, h, b := logged()
		fail := func(link string) { log.With("x", 1).Warn("it failed", "link", link, "error", errors.New("EOF")) }
		fail("tail")
		fail("tail")
		fail("worker")
		log.Warn("of something else")
		time.Sleep(symptomRest + time.Second) // Redis is there
		synctest.Wait()
		if got := b.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, `msg="it failed" x=1 link=tail error=EOF more=2 of="tail, worker"`) {
			t.Errorf("a link failed, and the log says\n%s", got)
		}
		b.Reset()
		fail("watch")
		if why := h.begin(); why != "EOF" {
			t.Errorf("Redis was lost for %q; want EOF", why)
		}
		fail("tail")
		time.Sleep(2 * symptomRest)
		synctest.Wait()
		if dropped := h.end(); dropped != 2 || b.Len() > 0 {
			t.Errorf("%d lines were left out, and the log says\n%s", dropped, b)
		}
		fail("tail")
		time.Sleep(symptomRest + time.Second)
		synctest.Wait()
		if strings.Count(b.String(), "\n") != 1 {
			t.Errorf("Redis is back, a link failed, and the log says\n%s", b)
		}
	})
}

// TestStatesAreSaidOnce goes through an outage and a silence of the stream alone.
func TestStatesAreSaidOnce(t *testing.T) {
	log, h, b := logged()
	s := states{log: log, symptoms: h}
	now, stats := time.Unix(1_700_000_000, 0), func() tier.Stats { return tier.Stats{} }
	for _, step := range []struct {
		down, fenced bool
		says         string
	}{
		{false, true, ""}, {false, false, ""}, // it starts
		{true, false, "Redis is lost"}, {true, false, ""}, {true, true, "fenced"}, {true, true, ""},
		{false, true, ""}, {true, true, ""}, {false, true, ""}, {false, false, "Redis is back: memory answers as fresh again\" after=7s"}, {false, false, ""},
		{false, true, "fenced"}, {false, true, ""}, {false, false, "unfenced: memory answers as fresh again\" after=2s"},
		{true, false, "Redis is lost"}, {false, false, "Redis is back"},
	} {
		b.Reset()
		now = now.Add(time.Second)
		s.lookAtRedis(now, step.down, step.fenced, stats)
		s.lookAtFence(now, step.fenced)
		if got := b.String(); !strings.Contains(got, step.says) || (step.says == "") != (got == "") {
			t.Errorf("down %v, fenced %v: %q; want %q", step.down, step.fenced, got, step.says)
		}
	}
	if r := s.redisStats(); r.Down || r.Losses != 2 || !r.Since.IsZero() {
		t.Errorf("%+v; want two losses, and that it is there", r)
	}
}

// TestMembersThatComeAndGoAreNamed tells one who left from one who died.
func TestMembersThatComeAndGoAreNamed(t *testing.T) {
	log, h, b := logged()
	s, since := states{log: log, symptoms: h}, time.Unix(1_700_000_000, 0)
	a, c, d := gossip.Member{Name: "a", Since: since}, gossip.Member{Name: "c", Since: since}, gossip.Member{Name: "d", Since: since}
	left := c
	left.Report.Leaving = true
	again := d
	again.Since = since.Add(time.Minute)
	for _, step := range []struct {
		alive, gone []gossip.Member
		says        string
	}{
		{[]gossip.Member{a}, nil, ""}, {[]gossip.Member{a, c}, nil, "joined: another node\" node=c"}, {[]gossip.Member{a, c, d}, nil, "joined: another node\" node=d"},
		{[]gossip.Member{a, d}, []gossip.Member{left}, "left: another node\" node=c"}, {[]gossip.Member{a}, []gossip.Member{d, left}, "died: another node does not answer any more\" node=d"},
		{[]gossip.Member{a, d}, nil, "joined"}, {[]gossip.Member{a, again}, nil, "joined"}, {[]gossip.Member{a, again}, nil, ""},
	} {
		b.Reset()
		s.lookAtMembers(step.alive, step.gone, "a")
		if got := b.String(); !strings.Contains(got, step.says) || (step.says == "") != (got == "") {
			t.Errorf("%q; want %q", got, step.says)
		}
	}
}

// TestAMemoryThatIsTooSmallSaysSo compares what a run has planned with what is in memory.
func TestAMemoryThatIsTooSmallSaysSo(t *testing.T) {
	full := tier.Stats{L1Bytes: 900 << 10, L1Capacity: 1 << 20, L1Entries: 2000}
	for _, c := range []struct {
		run   prewarm.Status
		cache tier.Stats
		share float64
		short string
	}{
		{prewarm.Status{State: prewarm.Done, Whole: 300_000}, full, 2.0 / 300, "memory holds 2000 of 300000 users; 166 MiB would hold all"},
		{prewarm.Status{State: prewarm.Filling, Whole: 300_000}, full, 2.0 / 300, ""},
		{prewarm.Status{State: prewarm.Done, Whole: 2000}, full, 1, ""},
		{prewarm.Status{State: prewarm.Done, Whole: 4000}, tier.Stats{L1Bytes: 1 << 10, L1Capacity: 1 << 20, L1Entries: 2}, 0.0005, ""},
		{prewarm.Status{}, full, 0, ""},
	} {
		if share, short := memoryWarmth(&c.run, &c.cache); share-c.share > 1e-9 || c.share-share > 1e-9 || short != c.short {
			t.Errorf("%g, %q; want %g, %q", share, short, c.share, c.short)
		}
	}
	log, h, b := logged()
	s := states{log: log, symptoms: h}
	s.lookAtMemory("memory holds too little", "r1")
	s.lookAtMemory("memory holds too little", "r1")
	if strings.Count(b.String(), "\n") != 1 {
		t.Errorf("the log says\n%s", b)
	}
}
