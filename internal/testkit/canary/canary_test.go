package canary

import (
	"testing"
	"time"
)

// stalled is a canary whose watchers were held up at the given milliseconds after origin.
func stalled(origin time.Time, each ...[]stallAt) *Canary {
	c := &Canary{}
	for _, ms := range each {
		w := &watcher{}
		for _, s := range ms {
			w.stalls = append(w.stalls, stall{at(origin, s.from), at(origin, s.to)})
		}
		c.watchers = append(c.watchers, w)
	}
	return c
}

type stallAt struct{ from, to int }

func at(origin time.Time, ms int) time.Time { return origin.Add(time.Duration(ms) * time.Millisecond) }

func TestStallIsWhatAnyWatcherMissed(t *testing.T) {
	origin := time.Now()
	one, other := []stallAt{{10, 50}, {100, 200}}, []stallAt{{40, 60}, {120, 130}, {300, 400}}
	c := stalled(origin, one, other)
	for _, want := range []struct{ from, to, ms int }{
		{0, 500, 250}, {0, 10, 0}, {20, 30, 10}, {45, 55, 10}, {60, 100, 0}, {150, 350, 100}, {400, 500, 0},
	} {
		got := c.Stall(at(origin, want.from), at(origin, want.to))
		if got != time.Duration(want.ms)*time.Millisecond {
			t.Errorf("%d-%d: %v, want %d ms", want.from, want.to, got, want.ms)
		}
	}
	if got := (*Canary)(nil).Stall(origin, at(origin, 1)); got != 0 {
		t.Errorf("no canary: %v", got)
	}
}

func TestOnlyAStallInTheWindowExcuses(t *testing.T) {
	origin := time.Now()
	const bound = 250 * time.Millisecond
	for name, c := range map[string]struct {
		stalls       []stallAt
		ended        int
		want         bool
		inconclusive int
	}{
		"in time":                 {nil, 250, true, 0},
		"late on a quiet machine": {nil, 251, false, 0},
		"late by the stall":       {[]stallAt{{100, 150}}, 300, true, 0},
		"late by more than it":    {[]stallAt{{100, 150}}, 301, false, 0},
		"stalled before":          {[]stallAt{{-100, 0}}, 300, false, 0},
		"stalled afterwards":      {[]stallAt{{300, 400}}, 300, false, 0},
		"nothing to be judged":    {[]stallAt{{0, 251}}, 5000, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			canary := stalled(origin, c.stalls)
			got := canary.Excuses("this", origin, at(origin, c.ended), bound)
			if times, first := canary.Inconclusive(); got != c.want || times != c.inconclusive {
				t.Errorf("excused %t, inconclusive %d: %s", got, times, first)
			}
		})
	}
}

func TestAWatcherSeesThatItIsHeldUp(t *testing.T) {
	w := &watcher{}
	c := &Canary{watchers: []*watcher{w}}
	began := time.Now()
	w.begin(began.Add(-time.Second)) // it still waits
	if got := c.Stall(began.Add(-100*time.Millisecond), began); got != 100*time.Millisecond {
		t.Errorf("while it waits: %v", got)
	}
	w.end()
	if got := c.Stall(began.Add(-100*time.Millisecond), began); got != 100*time.Millisecond {
		t.Errorf("afterwards: %v", got)
	}
	w.begin(time.Now())
	w.end()
	if len(w.stalls) != 1 {
		t.Errorf("stalls %v", w.stalls)
	}
}
