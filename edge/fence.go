package edge

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	fenceAfter  = 5                // failures
	fenceWithin = 10 * time.Second // within which they fence a function
	firstPause  = time.Second      // before it is tried again; each failed try doubles it
	longest     = time.Minute
)

// fence keeps a function that fails from being called. The zero value is open.
type fence struct {
	// closed is until when nobody may call, in nanoseconds since 1970; 0 while everybody may.
	closed atomic.Int64

	mu       sync.Mutex
	failures [fenceAfter]time.Time // guarded by mu: the last ones, a ring
	next     int                   // guarded by mu
	pause    time.Duration         // guarded by mu
}

// enter reports whether a call may be made. After the pause one caller may, who is trying, and the
// others once that has succeeded.
func (f *fence) enter(now time.Time) (may, trying bool) {
	until := f.closed.Load()
	if until == 0 {
		return true, false
	}
	if now.UnixNano() < until {
		return false, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	tries := f.closed.CompareAndSwap(until, now.Add(f.pause).UnixNano())
	return tries, tries
}

// after takes note of how a call ended, and reports whether that closed the fence. Calls that were
// under way when it was closed decide nothing.
func (f *fence) after(now time.Time, trying, failed bool) (closed bool) {
	if !failed && !trying {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case trying && failed:
		f.pause = min(2*f.pause, longest)
		f.closed.Store(now.Add(f.pause).UnixNano())
		return false
	case trying:
		f.failures = [fenceAfter]time.Time{}
		f.closed.Store(0)
		return false
	}
	return f.failedLocked(now)
}

func (f *fence) failedLocked(now time.Time) bool {
	if f.closed.Load() != 0 {
		return false
	}
	f.failures[f.next] = now
	f.next = (f.next + 1) % fenceAfter
	oldest := f.failures[f.next]
	if oldest.IsZero() || now.Sub(oldest) > fenceWithin {
		return false
	}
	f.pause = firstPause
	f.closed.Store(now.Add(f.pause).UnixNano())
	return true
}
