//go:build !linux

package load

import "time"

// wakeEarly is how much before a planned start the timer is set; the rest is waited for in a loop.
const wakeEarly = 500 * time.Microsecond

func nap(d time.Duration) { time.Sleep(d) }
