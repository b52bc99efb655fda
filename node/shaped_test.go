package node

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

// TestShapedNetwork runs three nodes whose links to Redis are slow, uneven and lossy. No version
// goes back. On the uneven network an entry waits for the reply under way, the next request and its
// reply: no unmarked answer is older than the bound and three ways. On the lossy one the fence
// decides.
func TestShapedNetwork(t *testing.T) {
	netem, _ := exec.Command("unshare", "-n", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms").CombinedOutput()
	t.Logf("network: userspace proxy; netem, which is not used, said %q", strings.TrimSpace(string(netem)))
	for name, c := range map[string]struct {
		shape       redistest.Shape
		pace, bound time.Duration
	}{
		"uneven": {redistest.Shape{Delay: 5 * time.Millisecond, Jitter: 60 * time.Millisecond}, 400 * time.Millisecond,
			bound + 3*65*time.Millisecond},
		"lossy": {redistest.Shape{Delay: 5 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.05}, 0, cutBound},
	} {
		t.Run(name, func(t *testing.T) {
			shape := c.shape
			for range pick(1, 5) {
				shape.Seed = uint64(time.Now().UnixNano())
				canary.Judge(t, func(t *testing.T, bird *canary.Canary) {
					r := newRig(t, redistest.Server(t).URL(), rigConfig{links: true, data: true, users: 20, pace: c.pace, shape: shape, canary: bird})
					t.Logf("network %+v", shape)
					r.bind(c.bound)
					stop := r.blow(4, 8)
					wait(t.Context(), pick(4*time.Second, 30*time.Second))
					stop()
					t.Logf("result: three nodes over a network of %v + 0-%v and %.0f %% loss | no version goes back, nothing unmarked is older than %v | %v",
						shape.Delay, shape.Jitter, 100*shape.Loss, c.bound, r.oracle.Stats())
				})
			}
		})
	}
}
