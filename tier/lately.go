package tier

import "sync/atomic"

// lately remembers whether Redis had what the last large batch of misses asked for. When it had next to nothing, as while
// a cluster is warmed up, the next large batch begins its loads at once: begin returns what is there as well, so that nothing
// but one wasted read a user is left out.
type lately struct{ empty atomic.Bool }

const (
	// largeBatch is from how many ids on a batch tells, and is told, something.
	largeBatch = 100
	// coldShare is one in how many ids Redis may have in a cold batch.
	coldShare = 16
)

// cold reports whether a batch of n should not be read first.
func (l *lately) cold(n int) bool { return n >= largeBatch && l.empty.Load() }

// read takes note of a batch that was read, of which Redis did not have rest.
func (l *lately) read(n, rest int) {
	if n >= largeBatch {
		l.empty.Store((n-rest)*coldShare < n)
	}
}

// began takes note of a batch that begin was asked about, of which it had some.
func (l *lately) began(n, had int) {
	if n >= largeBatch && had*coldShare >= n {
		l.empty.Store(false)
	}
}
