package prewarm

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// epoch is where the virtual times of these tests begin.
var epoch = time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return epoch.Add(d) }

func TestShareFallsAtOnceAndRisesAfterSettling(t *testing.T) {
	for name, steps := range map[string][]struct {
		at         time.Duration
		live, want int
	}{
		"one more is heard at once":             {{0, 3, 3}, {time.Second, 4, 4}},
		"one less counts after settling":        {{0, 3, 3}, {time.Second, 2, 3}, {3900 * time.Millisecond, 2, 3}, {4 * time.Second, 2, 2}},
		"who comes back in between":             {{0, 3, 3}, {time.Second, 2, 3}, {2 * time.Second, 3, 3}, {5 * time.Second, 2, 3}, {8 * time.Second, 2, 2}},
		"the most of what was seen meanwhile":   {{0, 5, 5}, {time.Second, 1, 5}, {2 * time.Second, 3, 5}, {3 * time.Second, 2, 5}, {4 * time.Second, 2, 3}},
		"nobody at all is still this node":      {{0, 0, 1}},
		"two who leave one after the other":     {{0, 3, 3}, {time.Second, 2, 3}, {3 * time.Second, 1, 3}, {4 * time.Second, 1, 2}, {6 * time.Second, 1, 2}, {9 * time.Second, 1, 1}},
		"more while fewer were to come to pass": {{0, 3, 3}, {time.Second, 2, 3}, {2 * time.Second, 9, 9}, {5 * time.Second, 9, 9}},
	} {
		t.Run(name, func(t *testing.T) {
			s := share{settle: 3 * time.Second}
			for _, step := range steps {
				if got := s.observe(step.live, at(step.at)); got != step.want {
					t.Errorf("at %v with %d alive the budget is divided by %d; want %d", step.at, step.live, got, step.want)
				}
			}
		})
	}
}

// TestPaceKeepsEverySecondBelowTheBound lets batches reach the origin at any time between their
// beginning and end.
func TestPaceKeepsEverySecondBelowTheBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		share := rapid.Float64Range(1, 5000).Draw(t, "share")
		lanes := rapid.IntRange(1, 6).Draw(t, "lanes")
		slow := rapid.IntRange(1, 700).Draw(t, "slowest answer in ms")
		cached := rapid.IntRange(0, 100).Draw(t, "percent in Redis")
		p := pace{share: share}
		type flight struct {
			t   *turn
			end time.Duration
			n   int
		}
		var flying []flight
		var seen []asking
		asked := 0
		const span = 8 * time.Second
		for now := time.Duration(0); now < span; now += time.Millisecond {
			flying = slices.DeleteFunc(flying, func(f flight) bool {
				if f.end > now {
					return false
				}
				p.end(f.t, f.n, at(now))
				return true
			})
			for len(flying) < lanes {
				n := p.size(500)
				turn, wait := p.begin(n, at(now))
				if turn == nil {
					if wait <= 0 {
						t.Fatalf("told to wait %v", wait)
					}
					break
				}
				took := time.Duration(1+rnd.IntN(slow)) * time.Millisecond
				if rnd.IntN(100) < cached {
					n = rnd.IntN(n + 1)
				}
				flying = append(flying, flight{turn, now + took, n})
				seen = append(seen, asking{at(now + time.Duration(rnd.Int64N(int64(took)+1))), n})
				asked += n
			}
		}
		o := truth{times: seen}
		most, _ := o.busiest()
		if bound := max(1, share*excess); float64(most) > bound {
			t.Errorf("%d users in a second; want at most %.1f", most, bound)
		}
		// With answers that take no longer than a batch's turn, nothing of the budget is given
		// away.
		if slow < 30 && share >= 20 && lanes > 1 && float64(asked) < 0.93*share*span.Seconds() {
			t.Errorf("%d users in %v at %.0f a second", asked, span, share)
		}
	})
}

func TestPaceWithoutLimitNeverWaits(t *testing.T) {
	var p pace
	for range 100 {
		if turn, wait := p.begin(p.size(500), epoch); turn == nil || turn.n != 500 {
			t.Fatalf("told to wait %v", wait)
		}
	}
}

func TestPaceGivesBackWhatRedisHad(t *testing.T) {
	p := pace{share: 100}
	now := epoch
	for range 1000 { // all are in Redis: none counts
		turn, wait := p.begin(p.size(500), now)
		if turn == nil {
			t.Fatalf("told to wait %v", wait)
		}
		p.end(turn, 0, now)
	}
	if n := p.recent(now); n != 0 {
		t.Errorf("%d count as asked", n)
	}
}

func TestSlowdown(t *testing.T) {
	var s slowdown
	now := epoch
	answers := func(n int, took time.Duration) {
		for range n {
			now = now.Add(50 * time.Millisecond)
			s.note(took, now)
		}
	}
	answers(100, 30*time.Millisecond)
	if f := s.factor(); f != 1 {
		t.Fatalf("a steady origin slows down to %g", f)
	}
	answers(20, 70*time.Millisecond)
	if f := s.factor(); f != 0.5 {
		t.Errorf("p95 more than doubled: %g; want 0.5", f)
	}
	answers(200, 70*time.Millisecond)
	if f := s.factor(); f != slowMost {
		t.Errorf("after ten seconds of it: %g; want %g", f, slowMost)
	}
	before := s.factor()
	answers(20, 30*time.Millisecond)
	if f := s.factor(); f != before+slowStep {
		t.Errorf("first step back: %g; want %g", f, before+slowStep)
	}
	answers(200, 30*time.Millisecond)
	if f := s.factor(); f != 1 {
		t.Errorf("ten seconds later: %g; want 1", f)
	}
	answers(20, 50*time.Millisecond)
	if f := s.factor(); f != 1 {
		t.Errorf("less than double slows down to %g", f)
	}
}

func TestSlowdownKnowsNoTroubleBelow50ms(t *testing.T) {
	var s slowdown
	for i := range 200 {
		s.note(time.Duration(1+i/5)*time.Millisecond, at(time.Duration(i)*50*time.Millisecond))
	}
	if s.factor() != 1 {
		t.Errorf("answers of up to 40 ms slow down to %g", s.factor())
	}
}

func TestSlowdownJudgesFewAnswersAfterTwoSeconds(t *testing.T) {
	var s slowdown
	s.note(30*time.Millisecond, at(0))
	s.note(30*time.Millisecond, at(3*time.Second)) // the baseline
	s.note(90*time.Millisecond, at(4*time.Second))
	if s.factor() != 1 {
		t.Error("judged too early")
	}
	s.note(90*time.Millisecond, at(7*time.Second))
	if s.factor() != 0.5 {
		t.Errorf("factor is %g; want 0.5", s.factor())
	}
}

func TestQueueTakesNewestFirstOverAllRanges(t *testing.T) {
	var q queue
	q.gain(map[int][]ranked{1: {{"a", 0}, {"c", 2}}, 2: {{"b", 1}, {"d", 3}}})
	if got := names(q.take(3, epoch)); got != "abc" {
		t.Errorf("took %q; want abc", got)
	}
	q.gain(map[int][]ranked{3: {{"x", 2}}})
	if got := names(q.take(9, epoch)); got != "xd" {
		t.Errorf("took %q; want xd", got)
	}
}

func TestQueueTriesFailuresOnceMoreAtTheEnd(t *testing.T) {
	q := queue{pause: againAfter}
	q.gain(map[int][]ranked{1: {{"a", 0}, {"b", 1}, {"c", 2}}})
	first := q.take(2, epoch)
	q.finish(first, []outcome{{reason: "down"}, {cached: true}}, epoch)
	if got := names(q.take(9, epoch)); got != "c" {
		t.Errorf("after the failure %q is next; want c", got)
	}
	q.finish([]item{{ranked: ranked{"c", 2}, of: q.held[1]}}, []outcome{{missing: true}}, epoch)
	if done := q.done(9); len(done) != 0 {
		t.Errorf("done before the second try: %v", done)
	}
	if early := q.take(9, at(againAfter-1)); len(early) > 0 || q.ready(at(againAfter-1)) != 0 {
		t.Errorf("%q is tried again too early", names(early))
	}
	again := q.take(9, at(againAfter))
	if names(again) != "a" {
		t.Fatalf("the second try is %q; want a", names(again))
	}
	q.finish(again, []outcome{{reason: "still down"}}, epoch)
	done := q.done(9)
	want := doneRange{1, Counts{TotalProcessed: 3, Cached: 1, Missing: 1, Errors: 1}, []Failure{{"a", "still down"}}}
	if len(done) != 1 || fmt.Sprint(done[0]) != fmt.Sprint(want) {
		t.Errorf("done is %v; want %v", done, want)
	}
	q.report(done)
	if !q.idle() || len(q.held) != 0 || q.reported != want.counts {
		t.Errorf("left over: %+v", q)
	}
}

func TestQueueGivesUpADoubtAfterSomeTries(t *testing.T) {
	var q queue
	q.gain(map[int][]ranked{1: {{"a", 0}}})
	for try := 1; try <= mostTries; try++ {
		items := q.take(9, epoch)
		if names(items) != "a" {
			t.Fatalf("try %d is %q; want a", try, names(items))
		}
		q.finish(items, []outcome{{doubtful: true, reason: "doubt"}}, epoch)
	}
	want := doneRange{1, Counts{TotalProcessed: 1, Errors: 1}, []Failure{{"a", "doubt"}}}
	if done := q.done(9); len(done) != 1 || fmt.Sprint(done[0]) != fmt.Sprint(want) || len(q.again) > 0 {
		t.Errorf("done is %v; want %v", done, want)
	}
}

func TestQueueForgetsRangesGivenAway(t *testing.T) {
	var q queue
	q.gain(map[int][]ranked{1: {{"a", 0}, {"c", 2}}, 2: {{"b", 1}}})
	under := q.take(1, epoch)
	q.drop(1)
	q.finish(under, []outcome{{cached: true}}, epoch)
	if got := names(q.take(9, epoch)); got != "b" {
		t.Errorf("took %q; want b", got)
	}
	q.gain(map[int][]ranked{1: {{"a", 0}, {"c", 2}}}) // and it comes back
	if got := names(q.take(9, epoch)); got != "ac" {
		t.Errorf("took %q; want ac", got)
	}
	if c, users := q.pending(); c != (Counts{}) || users != 3 {
		t.Errorf("pending %v of %d", c, users)
	}
}

func names(items []item) (s string) {
	for _, it := range items {
		s += it.id
	}
	return s
}

func TestPlanSurvivesItsEncoding(t *testing.T) {
	users := people(5000)
	plan := split(users)
	most, total := 0, 0
	for n, part := range plan {
		got, err := decodeRange(string(appendRange(nil, part)))
		if err != nil || !slices.Equal(got, part) {
			t.Fatalf("range %d is %v, %v; want %v", n, got, err, part)
		}
		most, total = max(most, len(part)), total+len(part)
	}
	if total != len(users) || most > 20 {
		t.Errorf("%d users, up to %d in a range; want %d, evenly", total, most, len(users))
	}
}

func FuzzDecodeRange(f *testing.F) {
	f.Add(string(appendRange(nil, []ranked{{"1", 0}, {"42", 7}, {"a@b", 1000}})))
	f.Add("")
	f.Add("\x00\x81")
	f.Add("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x011")
	f.Fuzz(func(t *testing.T, text string) {
		users, err := decodeRange(text)
		if err != nil {
			return
		}
		again, err := decodeRange(string(appendRange(nil, users)))
		if err != nil || !slices.Equal(again, users) {
			t.Errorf("%v became %v, %v", users, again, err)
		}
	})
}
