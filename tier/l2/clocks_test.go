package l2

import (
	"fmt"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// What a server wrote whose clock was an hour ahead, before it was set back or another took its
// place, holds nobody up.
func TestTimesFromAClockThatWasSetBack(t *testing.T) {
	s, l := onRedis(t, Config{})
	ahead := func(d time.Duration) string { return fmt.Sprintf("%013d", time.Now().Add(d).UnixMilli()) }
	held := func(d time.Duration) string {
		id := s.id(t)
		check(t, s.client.Set(t.Context(), keys(id)[2], ahead(d)+"a node that is dead", time.Hour).Err())
		return id
	}
	gone := func(d time.Duration) string {
		id := s.id(t)
		check(t, s.client.HSet(t.Context(), keys(id)[1], "floor", 7, "absent", ahead(d)).Err())
		return id
	}
	for name, c := range map[string]struct {
		id   string
		want LeaseKind
	}{
		"a lease of an hour":                 {held(time.Hour), Leased},
		"a lease that another has":           {held(4 * time.Second), Busy},
		"an absence of an hour":              {gone(time.Hour), Leased},
		"an absence that was noted just now": {gone(29 * time.Second), Absent},
	} {
		v := beginOne(t, l, c.id, 0)
		if v.Err != nil || v.Kind != c.want {
			t.Errorf("%s: %+v; want %v", name, v, c.want)
		}
		if v.Kind != Leased {
			continue
		}
		check(t, fillOne(t, l, c.id, v.Token, user(c.id, 8)))
		if stored(t, l, c.id) == nil {
			t.Errorf("%s: not stored", name)
		}
		// The end of the absence is written down, so that it does not come back with the record's
		// eviction.
		check(t, s.client.Del(t.Context(), profile.Key(c.id)).Err())
		if v := beginOne(t, l, c.id, 0); v.Kind != Leased {
			t.Errorf("%s, evicted after it was filled: %+v", name, v)
		}
	}
}
