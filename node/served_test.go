package node

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/tier"
)

// TestHitsAreSampledEvenly looks at many users over many moves of the clock: each is sampled about
// as often as it should be.
func TestHitsAreSampledEvenly(t *testing.T) {
	const users, ticks = 50, 64 * 400
	rnd := rand.New(rand.NewPCG(1, 2))
	for range users {
		loaded, now, hits := rnd.Int64N(1e15), int64(1e15), 0
		for range ticks {
			now += int64(time.Millisecond) + rnd.Int64N(int64(50*time.Microsecond))
			if sampled(time.Duration(now - loaded)) {
				hits++
			}
		}
		if hits < ticks/sampleHits*7/10 || hits > ticks/sampleHits*13/10 {
			t.Errorf("a user loaded at %d was sampled %d times in %d; want about %d", loaded, hits, ticks, ticks/sampleHits)
		}
	}
}

// TestLoadsAndHitsOfRedisAreNoted reads the same users on one node, which loads them, and on
// another, which finds them in Redis.
func TestLoadsAndHitsOfRedisAreNoted(t *testing.T) {
	const users = 4000
	url, origin := redistest.Server(t).URL(), newPeople(users)
	noted := func() uint64 {
		n, err := New(Config{RedisURL: url, Origin: origin})
		check(t, err)
		t.Cleanup(func() { check(t, n.Close()) })
		check(t, n.Start(t.Context()))
		for from := 1; from <= users; from += 500 {
			var ids []string
			for id := from; id < from+500; id++ {
				ids = append(ids, fmt.Sprint(id))
			}
			b, err := n.BatchGet(t.Context(), ids, tier.Want{})
			check(t, err)
			if len(b.Found) != len(ids) {
				t.Fatalf("%d of %d found, errors %v", len(b.Found), len(ids), b.Errors)
			}
		}
		return n.Stats().Hot.Noted
	}
	if n := noted(); n != users {
		t.Errorf("%d of %d loads were noted; want all", n, users)
	}
	if n := noted(); n != users {
		t.Errorf("%d of %d hits of Redis were noted; want all", n, users)
	}
}
