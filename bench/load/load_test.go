package load

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// TestAPauseIsInTheLatencyOfAllThatWereDue stops one of the operations: those that were due
// meanwhile have waited, and a closed loop would not have asked for them.
func TestAPauseIsInTheLatencyOfAllThatWereDue(t *testing.T) {
	const pause = 200 * time.Millisecond
	p := Plan{Rate: 1000, Duration: 500 * time.Millisecond, Workers: 1}
	o, err := Open(t.Context(), p, func(_ context.Context, _ int, n uint64) error {
		if n == 100 {
			time.Sleep(pause)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	h := o.Latency()
	if o.Planned != 500 || o.Unstarted != 0 || h.TotalCount() != 500 {
		t.Fatalf("%d planned, %d not started, %d latencies; want 500, 0, 500", o.Planned, o.Unstarted, h.TotalCount())
	}
	if h.Max() < int64(pause) {
		t.Errorf("the longest latency is %v; want the pause of %v", time.Duration(h.Max()), pause)
	}
	// 200 operations were due within the pause and waited for between 0 and all of it.
	if got := time.Duration(h.ValueAtQuantile(80)); got < pause/4 {
		t.Errorf("80 of 100 took at most %v; a pause of %v held up 40 of 100 by half of it", got, pause)
	}
	if len(o.Windows) != DefaultWindows || o.Windows[1].Max() < int64(pause)*9/10 {
		t.Errorf("the second of %d windows knows of no pause", len(o.Windows))
	}
}

func TestMoreWorkersHideNoPauseOfOne(t *testing.T) {
	const pause = 100 * time.Millisecond
	p := Plan{Rate: 1000, Duration: 300 * time.Millisecond, Workers: 2}
	var under, most atomic.Int64
	o, err := Open(t.Context(), p, func(_ context.Context, _ int, n uint64) error {
		if now := under.Add(1); now > most.Load() {
			most.Store(now)
		}
		defer under.Add(-1)
		if n == 50 {
			time.Sleep(pause)
		}
		return nil
	})
	if err != nil || o.Latency().Max() < int64(pause) || most.Load() > 2 {
		t.Errorf("%v, longest %v, %d under way", err, time.Duration(o.Latency().Max()), most.Load())
	}
}

// TestTooMuchLoadIsSeen offers ten times what is possible.
func TestTooMuchLoadIsSeen(t *testing.T) {
	p := Plan{Rate: 2000, Duration: 200 * time.Millisecond, Workers: 1}
	o, err := Open(t.Context(), p, func(context.Context, int, uint64) error { time.Sleep(5 * time.Millisecond); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if o.Kept() || o.Unstarted == 0 || o.Achieved > 210 {
		t.Errorf("kept %v, %d not started, %.0f a second", o.Kept(), o.Unstarted, o.Achieved)
	}
	if got := o.Latency(); got.TotalCount() != int64(o.Planned) || got.Max() < int64(p.Duration) {
		t.Errorf("%d latencies of %d, the longest %v", got.TotalCount(), o.Planned, time.Duration(got.Max()))
	}
}

func TestErrorsAreCounted(t *testing.T) {
	broken := errors.New("broken")
	o, err := Open(t.Context(), Plan{Rate: 1000, Duration: 50 * time.Millisecond, Workers: 2}, func(_ context.Context, _ int, n uint64) error {
		if n%10 == 0 {
			return broken
		}
		return nil
	})
	if err != nil || o.Failed != 5 || !errors.Is(o.Err, broken) {
		t.Errorf("%v; %d failed: %v", err, o.Failed, o.Err)
	}
}

func TestACancelledRunEndsAtOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	began := time.Now()
	_, err := Open(ctx, Plan{Rate: 100, Duration: time.Minute}, func(_ context.Context, _ int, n uint64) error {
		if n == 3 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || time.Since(began) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if _, err := Spin(ctx, Plan{Rate: 100, Duration: time.Minute}, func(int, uint64, int) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Spin: %v", err)
	}
	if _, err := Closed(ctx, 1, time.Minute, func(context.Context, int, uint64) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Closed: %v", err)
	}
}

// TestSpinTimesTheFirstOfEachGroup stops one group: those after it were due meanwhile.
func TestSpinTimesTheFirstOfEachGroup(t *testing.T) {
	const pause = 50 * time.Millisecond
	var done atomic.Uint64
	p := Plan{Rate: 10_000, Duration: 200 * time.Millisecond, Workers: 1, Group: 10}
	o, err := Spin(t.Context(), p, func(_ int, n uint64, count int) error {
		done.Add(uint64(count))
		if n == 500 {
			time.Sleep(pause)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	h := o.Latency()
	if done.Load() != 2000 || o.Planned != 2000 || h.TotalCount() != 200 {
		t.Fatalf("%d done of %d, %d samples; want 2000, 2000, 200", done.Load(), o.Planned, h.TotalCount())
	}
	if h.Max() < int64(pause) || time.Duration(h.ValueAtQuantile(95)) < pause/4 {
		t.Errorf("the longest is %v, 95 of 100 at most %v; want the pause of %v", time.Duration(h.Max()), time.Duration(h.ValueAtQuantile(95)), pause)
	}
}

func TestClosedCountsWhatWasDone(t *testing.T) {
	rate, err := Closed(t.Context(), 4, 100*time.Millisecond, func(context.Context, int, uint64) error { time.Sleep(time.Millisecond); return nil })
	if err != nil || rate < 40 || rate > 4000 {
		t.Errorf("4 workers did %.0f operations of 1 ms a second: %v", rate, err)
	}
	broken := errors.New("broken")
	if _, err := ClosedPass(t.Context(), 2, 8, time.Minute, func(int, uint64, int) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("an error ends it: %v", err)
	}
}

func TestBadPlans(t *testing.T) {
	for _, p := range []Plan{{Duration: 1}, {Rate: -1, Duration: 1}, {Rate: 1}, {Rate: 1e18, Duration: 1}} {
		if _, err := Open(t.Context(), p, nil); !errors.Is(err, ErrPlan) {
			t.Errorf("Open %+v: %v", p, err)
		}
		if _, err := Spin(t.Context(), p, nil); !errors.Is(err, ErrPlan) {
			t.Errorf("Spin %+v: %v", p, err)
		}
	}
}

func TestMedian(t *testing.T) {
	values := []float64{3, 1, 2}
	got, err := Median(3, func() (float64, error) { v := values[0]; values = values[1:]; return v, nil })
	if err != nil || got != 2 {
		t.Errorf("the median is %v: %v", got, err)
	}
}

// TestManyPassesLetOthersRun has a client and a server talk over TCP while 64 workers take all
// processors.
func TestManyPassesLetOthersRun(t *testing.T) {
	const words, within = 50, 10 * time.Second
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	enough := errors.New("enough")
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	}()
	began := time.Now()
	go func() { cancel(cmp.Or(talk(l.Addr().String(), words), enough)) }()
	_, err = ClosedPass(ctx, 64, 64, within, func(int, uint64, int) error {
		for until := time.Now().Add(10 * time.Microsecond); time.Now().Before(until); {
		}
		return nil
	})
	if took := time.Since(began); !errors.Is(err, enough) || took >= within {
		t.Errorf("%d words did not come back within %v: %v", words, took, err)
	}
}

// talk sends words one by one, each when the one before has come back.
func talk(addr string, words int) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	word := []byte{1}
	for range words {
		if _, err := c.Write(word); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, word); err != nil {
			return err
		}
	}
	return nil
}
