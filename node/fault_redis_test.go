package node

import (
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

// cutOff makes a fault last for d and then ends it. While it lasts no node may answer, unmarked,
// what was overtaken by more than cutBound; from a second after its end every answer is within the
// ordinary bound again.
func (r *rig) cutOff(d time.Duration, fault, heal func() error) {
	r.Helper()
	r.bind(cutBound)
	r.source.cut.Store(true)
	check(r.T, fault())
	wait(r.Context(), d)
	r.bind(unjudged)
	r.source.cut.Store(false)
	check(r.T, heal())
	back := time.Now()
	r.awaitService(back, 2*time.Second)
	eventually(r.T, "all changes to be told", func() bool { return r.source.pending.Load() < 5 })
	wait(r.Context(), time.Second-time.Since(back))
	r.bind(bound)
}

// TestRedisIsKilled kills the server again and again under load. Without AOF it forgets all that it
// knew.
func TestRedisIsKilled(t *testing.T) {
	for name, aof := range map[string]bool{"with AOF": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // mostly waiting
			canary.Judge(t, func(t *testing.T, c *canary.Canary) {
				server := redistest.ServerWith(t, redistest.Options{AOF: aof})
				r := newRig(t, server.URL(), rigConfig{canary: c})
				stop := r.blow(4, 6)
				defer stop()
				for i := range pick(2, 5) {
					wait(t.Context(), pick(500*time.Millisecond, 6*time.Second))
					down := fence / 4 // the nodes do not even notice the fence
					if i%2 == 0 {
						down = fence + time.Second
					}
					r.cutOff(down, server.Kill, server.Restart)
				}
				wait(t.Context(), time.Second)
				stop()
				r.lookAtAll()
				r.verdict()
				t.Logf("result: Redis killed %d times, %s | 0 unmarked older than %v, 0 older than %v from 1s on, service within 2s | %d violations, service within %v",
					pick(2, 5), name, cutBound, bound, r.oracle.Stats().Violations, r.slowest.Round(time.Millisecond))
			})
		})
	}
}

// TestRedisHangs stops the server without closing anything, and lets it go on.
func TestRedisHangs(t *testing.T) {
	canary.Judge(t, redisHangs)
}

func redisHangs(t *testing.T, c *canary.Canary) {
	server := redistest.Server(t)
	r := newRig(t, server.URL(), rigConfig{canary: c})
	stop := r.blow(4, 6)
	defer stop()
	for range pick(1, 3) {
		wait(t.Context(), 500*time.Millisecond)
		r.cutOff(pick(fence+time.Second, 10*time.Second), server.Pause, server.Resume)
	}
	wait(t.Context(), time.Second)
	stop()
	r.lookAtAll()
	r.verdict()
}
