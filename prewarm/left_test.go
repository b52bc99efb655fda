package prewarm

import (
	"testing"
	"time"
)

// The time left follows the pace that a run has now, and is not told while it waits.
func TestTimeLeftFollowsThePace(t *testing.T) {
	now := time.Now()
	for name, tt := range map[string]struct {
		asked   int64
		rate    float64
		left    int64 // ms
		waiting string
	}{
		"as fast as before":    {asked: 1000, rate: 100, left: 90_000},
		"slowed down 10 times": {asked: 1000, rate: 10, left: 900_000},
		"it waits":             {asked: 1000, rate: 0, left: 0},
		"half were in Redis":   {asked: 500, rate: 100, left: 45_000},
		"all were in Redis":    {asked: 0, rate: 0, left: 90_000},
		"the origin hangs":     {asked: 1000, rate: 100, left: 0, waiting: waitsForOrigin},
	} {
		s := Status{State: Running, Planned: 10_000, Started: now.Add(-10 * time.Second), Rate: tt.rate, Waiting: tt.waiting,
			Counts: Counts{TotalProcessed: 1000, Asked: tt.asked}}
		if s.complete(now); s.ETA != tt.left {
			t.Errorf("%s: %d ms left; want %d", name, s.ETA, tt.left)
		}
	}
}

// A node says what it waits for.
func TestWhatARunWaitsFor(t *testing.T) {
	now := time.Now()
	late := now.Add(-2 * window)
	under, over := &turn{n: 5, began: late}, &turn{n: 5, began: late, ended: now}
	failed := []item{{of: &span{}, due: now.Add(time.Second)}}
	for name, c := range map[string]struct {
		part    *part
		unknown bool
		want    string
	}{
		"it loads":               {part: &part{beatAt: now, pace: pace{turns: []*turn{under, over}}}},
		"the members":            {part: &part{beatAt: now}, unknown: true, want: waitsForMembers},
		"Redis":                  {part: &part{beatAt: late}, want: waitsForRedis},
		"the origin":             {part: &part{beatAt: now, pace: pace{turns: []*turn{under}}}, want: waitsForOrigin},
		"a batch began just now": {part: &part{beatAt: now, pace: pace{turns: []*turn{under, {n: 5, began: now}}}}},
		"users who failed":       {part: &part{beatAt: now, queue: queue{again: failed}}, want: waitsForRetry},
		"others go on":           {part: &part{beatAt: now, queue: queue{again: failed, under: 3}}},
	} {
		c.part.state = Running
		if got := c.part.waitingLocked(now, !c.unknown); got != c.want {
			t.Errorf("%s: waits for %q; want %q", name, got, c.want)
		}
		c.part.state = Filling
		if got := c.part.waitingLocked(now, true); got != "" {
			t.Errorf("%s: when all is loaded it waits for %q", name, got)
		}
	}
}

// A run waits when all its nodes do that have something left.
func TestARunWaitsWhenAllNodesDo(t *testing.T) {
	loads, done := report{Status: Status{Node: "1", State: Running}}, report{Status: Status{Node: "2", State: Running, Share: 1}}
	waits := report{Status: Status{Node: "3", State: Running, Waiting: waitsForOrigin}}
	alive := map[string]bool{"1": true, "2": true, "3": true}
	for name, c := range map[string]struct {
		reports []report
		alive   map[string]bool
		want    string
	}{
		"one loads":      {[]report{loads, done, waits}, alive, ""},
		"the rest waits": {[]report{done, waits}, alive, waitsForOrigin},
		"one is dead":    {[]report{loads, waits}, map[string]bool{"3": true}, waitsForOrigin},
		"all are dead":   {[]report{loads, waits}, nil, waitsForNodes},
	} {
		if got := waiting(Running, c.reports, c.alive); got != c.want {
			t.Errorf("%s: waits for %q; want %q", name, got, c.want)
		}
	}
	if got := waiting(Done, []report{waits}, alive); got != "" {
		t.Errorf("a run that is over waits for %q", got)
	}
}
