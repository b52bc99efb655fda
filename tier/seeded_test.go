//go:build seeded

package tier

import (
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/seeded"
)

// TestSeededBugsAreSeen runs the storm with one safeguard removed at a time. The oracle must report each within a minute.
func TestSeededBugsAreSeen(t *testing.T) {
	for name, bug := range map[string]*bool{
		"no stamp check": &seeded.NoStamp, "no lease": &seeded.NoLease, "no flight key": &seeded.NoFlightKey,
		"Del only": &seeded.DelOnly, "Set over Set": &seeded.SetOverSet, "DEL instead of the guard": &seeded.NoGuard,
	} {
		t.Run(name, func(t *testing.T) {
			*bug = true
			defer func() { *bug = false }()
			started := time.Now()
			s := newStorm(t)
			s.run(t, time.Minute, true)
			if s.oracle.Err() == nil {
				t.Fatalf("not seen in a minute: %v", s.oracle.Stats())
			}
			t.Logf("seen after %v: %v", time.Since(started).Round(time.Millisecond), s.oracle.Violations()[0])
		})
	}
}
