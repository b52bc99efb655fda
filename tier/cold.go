package tier

import (
	"sync/atomic"
)

// coldReads remembers whether Redis had what the last large batch of misses asked for. When it had
// next to nothing, as while a cluster is warmed up, the next large batch is not read first: the
// script that gives the leases returns what is there as well, so a read saves nothing.
type coldReads struct{ empty atomic.Bool }

const (
	// largeBatch is from how many ids on a batch tells, and is told, something.
	largeBatch = 100
	// coldShare is one in how many ids Redis may have in a cold batch.
	coldShare = 16
)

// cold reports whether a batch of n should not be read first.
func (r *coldReads) cold(n int) bool { return n >= largeBatch && r.empty.Load() }

// read takes note of a batch that was read, of which Redis did not have rest.
func (r *coldReads) read(n, rest int) {
	if n >= largeBatch {
		r.empty.Store((n-rest)*coldShare < n)
	}
}

// began takes note of a large batch of n that leases were asked for, of which Redis had some.
func (r *coldReads) began(n, had int) {
	if had*coldShare >= n {
		r.empty.Store(false)
	}
}
