//go:build !race

package guests

// withRace says that the race detector is on.
const withRace = false
