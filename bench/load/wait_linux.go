package load

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// wakeEarly is how much before a planned start the system's timer is set; the rest is waited
	// for in a loop.
	wakeEarly = 30 * time.Microsecond
	// slackNanos is how late the kernel may wake a thread to save power; 50 µs when nobody asks.
	slackNanos = 1000
)

// nap sleeps in the kernel: timers of the Go runtime are up to a millisecond late in a process that
// is idle otherwise.
func nap(d time.Duration) {
	// of this thread; a plain timer is what remains
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, slackNanos, 0, 0, 0)
	t := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&t, nil) // woken early by a signal: the caller looks at the clock
}
