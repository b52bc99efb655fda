package bench

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chatapp-ngomna/edgecache/bench/report"
	"github.com/chatapp-ngomna/edgecache/internal/oracle"
)

const (
	// watchEvery is how often the watch asks to be woken, lateFrom from when on it was held up.
	watchEvery = 5 * time.Millisecond
	lateFrom   = 15 * time.Millisecond
	// maxStalls is how many stalls are remembered; of more, the oldest go.
	maxStalls = 4096
)

// judge is the oracle, and a watch over this process: where the load takes all processors, an
// answer may be late because nothing ran, and not because the cache was wrong.
type judge struct {
	oracle  *oracle.Oracle
	changes atomic.Int64
	excused atomic.Int64

	mu     sync.Mutex
	stalls []stall // guarded by mu, by time
}

// stall is a time in which the watch was not woken.
type stall struct{ from, to time.Time }

func newJudge() *judge {
	j := &judge{}
	j.oracle = oracle.New(oracle.Config{Bound: Bound, Excuses: j.excuses})
	return j
}

// watch notes when it is woken late, until ctx ends.
func (j *judge) watch(ctx context.Context) {
	t := time.NewTimer(watchEvery)
	defer t.Stop()
	for due := time.Now().Add(watchEvery); ; due = time.Now().Add(watchEvery) {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		if now := time.Now(); now.Sub(due) > lateFrom {
			j.note(stall{due, now})
		}
		t.Reset(watchEvery)
	}
}

func (j *judge) note(s stall) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stalls = append(j.stalls, s); len(j.stalls) > maxStalls {
		j.stalls = j.stalls[1:]
	}
}

// excuses reports whether a change would have been seen within the bound, had this process not
// stood still meanwhile.
func (j *judge) excuses(_ string, from, to time.Time, bound time.Duration) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	lost := time.Duration(0)
	for _, s := range j.stalls {
		begin, end := s.from, s.to
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		lost += max(0, end.Sub(begin))
	}
	if to.Sub(from)-lost > bound {
		return false
	}
	j.excused.Add(1)
	return true
}

// acked records that a change was acknowledged.
func (j *judge) acked(id string, version int64, at time.Time) {
	j.changes.Add(1)
	j.oracle.Acked(id, version, at)
}

func (j *judge) verdict() report.Verdict {
	s := j.oracle.Stats()
	v := report.Verdict{
		Reads: s.Reads, Changes: j.changes.Load(), Bound: int64(Bound), Violations: s.Violations,
		Excused: j.excused.Load(), MaxLag: int64(s.MaxLag),
	}
	if all := j.oracle.Violations(); len(all) > 0 {
		v.First = all[0].String()
	}
	return v
}
