package api

import (
	"testing"
	"time"
)

func TestDeadlineFollowsWhatIsWanted(t *testing.T) {
	const slack = time.Second
	at := func(s float64) time.Time { return time.Unix(0, int64(s*1e9)) }
	for _, c := range []struct {
		name        string
		set, wanted time.Time
		due         bool
	}{
		{"none yet", time.Time{}, at(5), true},
		{"none wanted", time.Time{}, time.Time{}, false},
		{"the same", at(5), at(5), false},
		{"a little later", at(5), at(6), false},
		{"later", at(5), at(6.1), true},
		{"earlier, however little", at(5), at(4.9), true},
		{"no longer wanted", at(5), time.Time{}, true},
	} {
		d := deadline{wanted: c.wanted, set: c.set}
		if got := d.due(slack); got != c.due {
			t.Errorf("%s: set %v, wanted %v: due %v", c.name, c.set, c.wanted, got)
		}
		if c.due && !d.set.Equal(c.wanted) {
			t.Errorf("%s: set %v after it was due; want %v", c.name, d.set, c.wanted)
		}
	}
}
