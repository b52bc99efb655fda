// Package testkit is what tests of many packages need. Nothing but tests and benchmarks imports it
// or what is below it.
package testkit

import (
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Ptr returns a pointer to s.
func Ptr(s string) *string { return &s }

// SameProfile reports whether a and b are the same to a reader.
func SameProfile(a, b *profile.Profile) bool {
	return string(profile.AppendJSON(nil, a)) == string(profile.AppendJSON(nil, b))
}

// Eventually polls until ok, and fails the test after limit.
func Eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}
