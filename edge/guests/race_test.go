//go:build race

package guests

// withRace says that the race detector is on, with which compiling a guest in Go takes a minute.
const withRace = true
