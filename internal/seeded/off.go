//go:build !seeded

// Package seeded holds the switches of seeded bugs: one safeguard of the cache each, which a test removes to prove that the
// consistency oracle sees what follows. They can be switched only with the build tag "seeded". In any other build they are
// constants, and the compiler removes them together with what they guard.
package seeded

// The switches. Each is off unless a test of a build with the tag puts it on.
const (
	NoStamp        = false // tier: serve entries whatever has been invalidated
	NoFlightKey    = false // tier: join loads that began before an invalidation
	NoLease        = false // tier: fill Redis without a lease
	DelOnly        = false // tier: invalidate by the engine's Del, without the stamp
	SetOverSet     = false // tier: refresh by the engine's Set, without stamp and Del
	NoGuard        = false // tier: change Redis by a plain DEL
	NoFence        = false // tier: trust L1 however long the stream is silent
	NoGap          = false // stream: do not look whether entries were missed
	EndOnReconnect = false // stream: go on at the stream's end after a lost link, as XREAD $ does
	EventFirst     = false // node: announce a change before Redis has it
)
