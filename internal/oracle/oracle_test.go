package oracle

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

const bound = 250 * time.Millisecond

// clock turns milliseconds into the explicit times of these tests.
type clock struct{ zero time.Time }

func (c clock) ms(n int) time.Time { return c.zero.Add(time.Duration(n) * time.Millisecond) }

func fresh() (*Oracle, clock) {
	o := New(Config{Bound: bound, MaxBound: 13 * bound})
	return o, clock{o.origin}
}

// kind is 0 for a read that was right.
func kind(v *Violation) Kind {
	if v == nil {
		return 0
	}
	return v.Kind
}

func TestAnAcknowledgementBindsOnceTheBoundHasPassed(t *testing.T) {
	for _, c := range []struct {
		name    string
		start   int
		version int64
		stale   bool
		want    Kind
	}{
		{"before anything was acknowledged", 50, 0, false, 0},
		{"at the bound exactly", 350, 1, false, 0},
		{"just past the bound", 351, 1, false, Old},
		{"past the bound, the version itself", 351, 2, false, 0},
		{"past the bound, a newer version", 351, 3, false, 0},
		{"past the bound, marked stale", 351, 1, true, 0},
		{"long past the bound", 100_000, 1, false, Old},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, at := fresh()
			o.Acked("k", 2, at.ms(100))
			if got := kind(o.BeginAt("k", at.ms(c.start)).End(c.version, c.stale)); got != c.want {
				t.Fatalf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestAReadIsJudgedByItsStart(t *testing.T) {
	o, at := fresh()
	o.Acked("k", 1, at.ms(0))
	r := o.BeginAt("k", at.ms(300))
	o.Acked("k", 2, at.ms(100)) // 200 ms before the start: not bound then, whenever the read ends
	o.Acked("k", 9, at.ms(400))
	if v := r.End(1, false); v != nil {
		t.Fatal(v)
	}
}

func TestAnAcknowledgementRecordedLateBindsAllTheSame(t *testing.T) {
	o, at := fresh()
	r := o.BeginAt("k", at.ms(1000))
	o.Acked("k", 2, at.ms(100))
	if got := kind(r.End(1, false)); got != Old {
		t.Fatalf("got %v", got)
	}
}

func TestAcknowledgementsMayComeInAnyOrder(t *testing.T) {
	times := map[int64]int{1: 0, 2: 1000, 3: 2000, 4: 3000}
	for _, order := range [][]int64{{1, 2, 3, 4}, {4, 3, 2, 1}, {2, 4, 1, 3}, {3, 3, 1, 4, 2, 2}} {
		o, at := fresh()
		for _, v := range order {
			o.Acked("k", v, at.ms(times[v]))
		}
		for v, from := range times {
			if got := kind(o.BeginAt("k", at.ms(from+251)).End(v-1, false)); got != Old {
				t.Errorf("order %v: version %d after %d bound: %v", order, v-1, v, got)
			}
			if got := kind(o.BeginAt("k", at.ms(from+251)).End(v, false)); got != 0 {
				t.Errorf("order %v: version %d itself: %v", order, v, got)
			}
		}
	}
}

func TestAVersionAcknowledgedAfterANewerOneRaisesNothing(t *testing.T) {
	o, at := fresh()
	o.Acked("k", 7, at.ms(0))
	o.Acked("k", 5, at.ms(100))
	if got := kind(o.BeginAt("k", at.ms(1000)).End(6, false)); got != Old {
		t.Fatalf("got %v", got)
	}
	if v := o.BeginAt("k", at.ms(1000)).End(7, false); v != nil {
		t.Fatal(v)
	}
}

func TestRemovals(t *testing.T) {
	o, at := fresh()
	o.Acked("k", 5, at.ms(0))
	o.Removing("k")
	o.Removed("k", 5, at.ms(1000))
	for _, c := range []struct {
		name    string
		start   int
		version int64 // 0 is missing
		want    Kind
	}{
		{"the old version before the removal binds", 1250, 5, 0},
		{"nothing, as soon as removed", 1001, 0, 0},
		{"the old version after it", 1251, 5, Resurrected},
		{"an older version after it", 1251, 4, Resurrected},
		{"nothing after it", 1251, 0, 0},
		{"a version of a new life", 1251, 6, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := o.BeginAt("k", at.ms(c.start))
			var v *Violation
			if c.version == 0 {
				v = r.Missing()
			} else {
				v = r.End(c.version, false)
			}
			if kind(v) != c.want {
				t.Fatalf("got %v, want %v", v, c.want)
			}
		})
	}
}

func TestMissing(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(*Oracle, clock)
		want Kind
	}{
		{"a key that nobody wrote", func(*Oracle, clock) {}, 0},
		{"a write that binds", func(o *Oracle, at clock) { o.Acked("k", 5, at.ms(0)) }, Lost},
		{"a write that does not bind yet", func(o *Oracle, at clock) { o.Acked("k", 5, at.ms(900)) }, 0},
		{"a removal that has begun", func(o *Oracle, at clock) {
			o.Acked("k", 5, at.ms(0))
			o.Removing("k")
		}, 0},
		{"a removal before the write", func(o *Oracle, at clock) {
			o.Removing("k")
			o.Removed("k", 4, at.ms(0))
			o.Acked("k", 5, at.ms(100))
		}, Lost},
		{"a removal after the read began", func(o *Oracle, at clock) {
			o.Acked("k", 5, at.ms(0))
			o.Removing("k")
			o.Removed("k", 5, at.ms(1100))
		}, 0},
		{"a new life that binds", func(o *Oracle, at clock) {
			o.Removing("k")
			o.Removed("k", 5, at.ms(0))
			o.Acked("k", 6, at.ms(0))
		}, Lost},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, at := fresh()
			r := o.BeginAt("k", at.ms(1000))
			c.do(o, at)
			if v := r.Missing(); kind(v) != c.want {
				t.Fatalf("got %v, want %v", v, c.want)
			}
		})
	}
}

func TestANodeNeverGoesBack(t *testing.T) {
	o, at := fresh()
	a, b := o.Node("a"), o.Node("b")
	overlapping := a.BeginAt("k", at.ms(0))
	if v := a.BeginAt("k", at.ms(0)).End(5, false); v != nil {
		t.Fatal(v)
	}
	for _, c := range []struct {
		name    string
		read    Read
		version int64
		stale   bool
		want    Kind
	}{
		{"older on the same node", a.BeginAt("k", at.ms(1)), 4, false, Back},
		{"the same", a.BeginAt("k", at.ms(1)), 5, false, 0},
		{"older, marked stale", a.BeginAt("k", at.ms(1)), 4, true, 0},
		{"older, begun before the newer one ended", overlapping, 4, false, 0},
		{"older on another node", b.BeginAt("k", at.ms(1)), 4, false, 0},
		{"older without a node", o.BeginAt("k", at.ms(1)), 4, false, 0},
		{"another key", a.BeginAt("l", at.ms(1)), 4, false, 0},
	} {
		if v := c.read.End(c.version, c.stale); kind(v) != c.want {
			t.Errorf("%s: got %v, want %v", c.name, v, c.want)
		}
	}
	if v := o.BeginAt("k", at.ms(2)).End(3, false); v != nil {
		t.Errorf("reads without a node were compared: %v", v)
	}
}

func TestAStaleAnswerDoesNotRaiseWhatANodeHasSeen(t *testing.T) {
	o, at := fresh()
	n := o.Node("a")
	n.BeginAt("k", at.ms(0)).End(9, true)
	if v := n.BeginAt("k", at.ms(1)).End(5, false); v != nil {
		t.Fatal(v)
	}
}

func TestWhatANodeWasToldBindsAtOnceAndEvenStale(t *testing.T) {
	o, at := fresh()
	n := o.Node("a")
	before := n.BeginAt("k", at.ms(0))
	n.Told("k", 6)
	n.Told("k", 4)
	if v := before.End(5, true); v != nil {
		t.Errorf("a read that had begun: %v", v)
	}
	for version, want := range map[int64]Kind{5: Told, 6: 0} {
		for _, stale := range []bool{true, false} {
			if v := n.BeginAt("k", at.ms(1)).End(version, stale); kind(v) != want {
				t.Errorf("version %d, stale %t: got %v, want %v", version, stale, v, want)
			}
		}
	}
	if v := o.Node("b").BeginAt("k", at.ms(1)).End(5, true); v != nil {
		t.Errorf("another node: %v", v)
	}
}

func TestANodesOwnBound(t *testing.T) {
	o, at := fresh()
	cut := o.Node("cut off")
	across := cut.BeginAt("k", at.ms(1000))
	cut.SetBound(10 * bound)
	o.Acked("k", 2, at.ms(0))
	if v := cut.BeginAt("k", at.ms(2500)).End(1, false); v != nil {
		t.Errorf("within the longer bound: %v", v)
	}
	if v := across.End(1, false); v != nil {
		t.Errorf("a read during which the bound grew: %v", v)
	}
	if v := cut.BeginAt("k", at.ms(2501)).End(1, false); kind(v) != Old {
		t.Errorf("past the longer bound: %v", v)
	}
	across = cut.BeginAt("k", at.ms(1000))
	cut.SetBound(bound)
	if v := across.End(1, false); v != nil {
		t.Errorf("a read during which the bound shrank: %v", v)
	}
	if v := cut.BeginAt("k", at.ms(1000)).End(1, false); kind(v) != Old {
		t.Errorf("after it shrank: %v", v)
	}
	cut.SetBound(time.Hour)
	if v := cut.BeginAt("k", at.ms(13*250+1)).End(1, false); kind(v) != Old {
		t.Errorf("beyond MaxBound: %v", v)
	}
}

func TestHistoryStaysBoundedAndBinding(t *testing.T) {
	o, at := fresh()
	const step = 100
	for v := 1; v <= 10_000; v++ {
		o.Acked("k", int64(v), at.ms(v*step))
	}
	held := len(o.key("k").acks())
	inKeep := int(o.keep/int64(step*time.Millisecond)) + DefaultHistory
	if held > 3*inKeep {
		t.Errorf("%d acknowledgements are held, want about %d", held, inKeep)
	}
	for _, ago := range []int{0, 1, 50, 100} {
		start := at.ms((10_000-ago)*step + 251)
		if v := o.BeginAt("k", start).End(int64(10_000-ago-1), false); kind(v) != Old {
			t.Errorf("a read %d acknowledgements ago: %v", ago, v)
		}
		if v := o.BeginAt("k", start).End(int64(10_000-ago), false); v != nil {
			t.Errorf("a read %d acknowledgements ago: %v", ago, v)
		}
	}
}

func TestAnAcknowledgementOlderThanWhatIsKept(t *testing.T) {
	o, at := fresh()
	for v := 1; v <= 1000; v++ {
		o.Acked("k", int64(v+10), at.ms(v*1000))
	}
	o.Acked("k", 5, at.ms(0))
	for version, want := range map[int64]Kind{1009: Old, 1010: 0} {
		if v := o.BeginAt("k", at.ms(1_000_251)).End(version, false); kind(v) != want {
			t.Errorf("version %d: got %v, want %v", version, v, want)
		}
	}
	for _, f := range *o.key("k").floors.Load() {
		if f.ack.Version != 5 && f.min != f.ack.Version {
			t.Errorf("after %d only %d binds", f.ack.Version, f.min)
		}
	}
}

func TestStatsCount(t *testing.T) {
	o, at := fresh()
	n := o.Node("a")
	o.Acked("k", 1, at.ms(0))
	o.Acked("k", 2, at.ms(1000))
	n.BeginAt("k", at.ms(1100)).End(1, false) // 100 ms behind, allowed
	n.BeginAt("k", at.ms(2000)).End(1, true)
	n.BeginAt("k", at.ms(2000)).End(2, false)
	o.BeginAt("k", at.ms(2000)).Missing()
	want := Stats{Reads: 4, Stale: 1, Missing: 1, Violations: 1, MaxLag: 100 * time.Millisecond}
	if got := o.Stats(); got != want {
		t.Errorf("oracle: got %v, want %v", got, want)
	}
	want.Reads, want.Missing = 3, 0
	if got := n.Stats(); got != want {
		t.Errorf("node: got %v, want %v", got, want)
	}
	if got := o.Stats().String(); got != "4 reads (1 stale, 1 missing), 1 violations, max lag 100ms" {
		t.Errorf("printed as %q", got)
	}
}

func TestAViolationTellsTheWholeStory(t *testing.T) {
	o, at := fresh()
	o.Acked("42", 1, at.ms(0))
	o.Acked("42", 2, at.ms(1000))
	o.Removing("42")
	o.Removed("42", 2, at.ms(1500))
	v := o.Node("node-3").BeginAt("42", at.ms(2000)).End(1, false)
	if v == nil {
		t.Fatal("not seen")
	}
	const want = `removed version: key "42" on node-3 returned version 1 (stale false), want at least 3; overtaken 1s before the read began
           -2s acked 1
           -1s acked 2
        -500ms removed 2
`
	if got := v.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	err := o.Err()
	if !errors.Is(err, ErrViolated) || !strings.Contains(err.Error(), `1 times, first: removed version: key "42"`) {
		t.Errorf("Err is %v", err)
	}
}

func TestOnlyTheFirstViolationsAreKept(t *testing.T) {
	o, at := fresh()
	if err := o.Err(); err != nil {
		t.Fatal(err)
	}
	o.Acked("k", 2, at.ms(0))
	for range 3 * MaxKept {
		o.BeginAt("k", at.ms(1000)).End(1, false)
	}
	if got := len(o.Violations()); got != MaxKept {
		t.Errorf("%d kept, want %d", got, MaxKept)
	}
	if got := o.Stats().Violations; got != 3*MaxKept {
		t.Errorf("%d counted, want %d", got, 3*MaxKept)
	}
}

func TestKindsHaveNames(t *testing.T) {
	for k := range Told + 2 {
		if k.String() == "" || (k >= Old && k <= Told) == strings.HasPrefix(k.String(), "Kind(") {
			t.Errorf("kind %d prints as %q", uint8(k), k)
		}
	}
}

func ExampleOracle() {
	o := New(Config{Bound: 250 * time.Millisecond})
	t := time.Now()
	o.Acked("123", 1, t)
	o.Acked("123", 2, t.Add(time.Second)) // the writer's 200 arrived
	node := o.Node("node-1")

	read := node.BeginAt("123", t.Add(1200*time.Millisecond))
	fmt.Println(read.End(1, false)) // within the bound

	read = node.BeginAt("123", t.Add(1300*time.Millisecond))
	fmt.Print(read.End(1, false))
	// Output:
	// <nil>
	// old version: key "123" on node-1 returned version 1 (stale false), want at least 2; overtaken 300ms before the read began
	//          -1.3s acked 1
	//         -300ms acked 2
}

// TestOnlyTheBoundHasAnExcuse: a machine that stood still explains an old answer, and nothing else.
func TestOnlyTheBoundHasAnExcuse(t *testing.T) {
	asked := 0
	o := New(Config{Bound: bound, Excuses: func(_ string, from, to time.Time, b time.Duration) bool {
		asked++
		return b == bound && to.Sub(from) <= bound+100*time.Millisecond
	}})
	n, at := o.Node("n"), clock{o.origin}
	o.Acked("k", 1, at.ms(0))
	o.Acked("k", 2, at.ms(10))
	for _, c := range []struct {
		version   int64
		ms, asked int
		want      Kind
	}{
		{2, 300, 0, 0}, {1, 200, 0, 0}, // right, and within the bound
	} {
		if got := kind(o.BeginAt("k", at.ms(c.ms)).End(c.version, false)); got != c.want || asked != c.asked {
			t.Errorf("%+v: %v, asked %d times", c, got, asked)
		}
	}
	if got := n.BeginAt("k", at.ms(360)).End(1, false); got != nil || asked != 1 {
		t.Errorf("held up by the machine: %v", got)
	}
	if got := kind(n.BeginAt("k", at.ms(361)).End(1, false)); got != Old {
		t.Errorf("beyond what the machine explains: %v", got)
	}
	n.BeginAt("k", at.ms(300)).End(2, false)
	if got := kind(n.BeginAt("k", at.ms(360)).End(1, false)); got != Back {
		t.Errorf("after the newer version: %v", got)
	}
	n.Told("k", 2)
	if got := kind(n.BeginAt("k", at.ms(360)).End(1, false)); got != Told {
		t.Errorf("what the node knows: %v", got)
	}
	if got := o.BeginAt("k", at.ms(350)).Missing(); got != nil {
		t.Errorf("missing, held up by the machine: %v", got)
	}
	if got := kind(o.BeginAt("k", at.ms(351)).Missing()); got != Lost {
		t.Errorf("missing beyond it: %v", got)
	}
}
