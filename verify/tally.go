package verify

import (
	"maps"
	"math"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Counts is what became of checks. One check is one answer of one node about one change at one
// checkpoint.
type Counts struct {
	// Checks counts the answers that were judged, Violations those of them that were wrong.
	Checks     uint64 `json:"checks"`
	Violations uint64 `json:"violations"`
	// The rest are no checks. Stale counts answers that the node marked stale; Absent those that
	// know no such user, where the stream tells of one and nothing proves them wrong; Failed the
	// ones that the node did not give, or not in time; Dropped those that were not asked for in
	// time, because of the rate, the limit of what may wait, or the machine.
	Stale   uint64 `json:"stale"`
	Absent  uint64 `json:"absent"`
	Failed  uint64 `json:"failed"`
	Dropped uint64 `json:"dropped"`
}

func (c *Counts) add(d Counts) {
	c.Checks += d.Checks
	c.Violations += d.Violations
	c.Stale += d.Stale
	c.Absent += d.Absent
	c.Failed += d.Failed
	c.Dropped += d.Dropped
}

func (c *Counts) subtract(d Counts) {
	c.Checks -= d.Checks
	c.Violations -= d.Violations
	c.Stale -= d.Stale
	c.Absent -= d.Absent
	c.Failed -= d.Failed
	c.Dropped -= d.Dropped
}

// Nines returns -log10 of the share of violations: 6 for one in a million. Without a violation that
// is the least it can be, had the next check been one; 0 without checks.
func (c Counts) Nines() float64 {
	if c.Checks == 0 {
		return 0
	}
	return -math.Log10(float64(max(1, c.Violations)) / float64(c.Checks))
}

// Proven returns the nines of which 95 % can be sure when there was no violation in so many checks:
// the rule of three. With violations it is Nines.
func (c Counts) Proven() float64 {
	if c.Violations > 0 || c.Checks == 0 {
		return c.Nines()
	}
	return max(0, c.Nines()-math.Log10(3))
}

// total is all that was counted since the start.
type total struct {
	changes, sampled uint64
	gaps             map[string]uint64
	cells            [][]Counts // by node, by checkpoint
	reads            []uint64   // by node
	howOld           howOld
	lagSum           time.Duration // of what is in howOld
}

func (t total) clone() total {
	c := t
	c.gaps, c.reads, c.cells = maps.Clone(t.gaps), append([]uint64(nil), t.reads...), make([][]Counts, len(t.cells))
	for i := range t.cells {
		c.cells[i] = append([]Counts(nil), t.cells[i]...)
	}
	return c
}

// tally counts, for the whole run and for the window under way. Its methods may be called
// concurrently.
type tally struct {
	mu    sync.Mutex
	total total
	// What a window has of its own.
	began  time.Time
	before total           // when it began
	late   []time.Duration // by checkpoint, how much later than due the latest read was
	lag    time.Duration   // how long the oldest wrong answer had been overtaken
	// The same since the start.
	started  time.Time
	everLate []time.Duration
	worstLag time.Duration
}

func newTally(nodes, checkpoints int) *tally {
	t := &tally{late: make([]time.Duration, checkpoints), everLate: make([]time.Duration, checkpoints)}
	t.total = total{gaps: map[string]uint64{}, cells: make([][]Counts, nodes), reads: make([]uint64, nodes)}
	for i := range t.total.cells {
		t.total.cells[i] = make([]Counts, checkpoints)
	}
	t.before = t.total.clone()
	return t
}

func (t *tally) start(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.began, t.started = now, now
}

func (t *tally) change(sampled bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total.changes++
	if sampled {
		t.total.sampled++
	}
}

func (t *tally) gap(reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total.gaps[reason]++
}

// count adds to one cell.
func (t *tally) count(node, after int, d Counts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total.cells[node][after].add(d)
}

// prove makes an absent answer a violation.
func (t *tally) prove(node, after int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	cell := &t.total.cells[node][after]
	cell.add(Counts{Checks: 1, Violations: 1})
	cell.subtract(Counts{Absent: 1})
}

func (t *tally) read(node, users int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total.reads[node] += uint64(users)
}

func (t *tally) lateBy(after int, d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.late[after], t.everLate[after] = max(t.late[after], d), max(t.everLate[after], d)
}

// violated notes for how long the change had been known that an answer contradicted.
func (t *tally) violated(d time.Duration) {
	t.mu.Lock()
	t.total.howOld.add(d)
	t.total.lagSum += d
	t.mu.Unlock()
	t.lagged(d)
}

func (t *tally) lagged(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lag, t.worstLag = max(t.lag, d), max(t.worstLag, d)
}

// window returns the report of the window that ends now, and begins the next.
func (t *tally) window(v *Verifier, now time.Time) Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := v.report(t.total, t.before, t.began, now)
	r.WorstLag = profile.Millis(t.lag)
	if v.truth != nil {
		d := v.truth.window()
		r.Content = &d
	}
	for i := range r.After {
		r.After[i].Late = profile.Millis(t.late[i])
		t.late[i] = 0
	}
	t.began, t.before, t.lag = now, t.total.clone(), 0
	return r
}

// whole returns the report since the start.
func (t *tally) whole(v *Verifier, now time.Time) Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := v.report(t.total, newTally(len(t.total.cells), len(t.late)).total, t.started, now)
	r.WorstLag = profile.Millis(t.worstLag)
	if v.truth != nil {
		d := v.truth.total()
		r.Content = &d
	}
	for i := range r.After {
		r.After[i].Late = profile.Millis(t.everLate[i])
	}
	return r
}
