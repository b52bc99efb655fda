//go:build seeded

package seeded

// The switches; see the other build for what each removes. A test sets them while nothing else runs.
var (
	NoStamp, NoFlightKey, NoLease, DelOnly, SetOverSet, NoGuard, NoFence bool
	NoGap, EndOnReconnect                                                bool
	EventFirst                                                           bool
)
