package node

import (
	"cmp"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

// network is one that TestShapedNetwork runs over, and what it makes of answers.
type network struct {
	shape redistest.Shape
	// fence and pace are rigConfig's.
	fence, pace time.Duration
	// bound is how old an unmarked answer may be.
	bound time.Duration
}

// networks are slow, uneven and lossy. On the uneven one an entry waits for the reply under way,
// the next request and its reply: no unmarked answer is older than the bound and three ways. On a
// lossy one the fence decides.
func networks() map[string]network {
	uneven := redistest.Shape{Delay: 5 * time.Millisecond, Jitter: 60 * time.Millisecond}
	lossy := redistest.Shape{Delay: 5 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.05}
	const pace = 400 * time.Millisecond
	return map[string]network{
		"uneven":                {uneven, 0, pace, bound + 3*65*time.Millisecond},
		"lossy":                 {lossy, 0, 0, cutBound},
		"lossy, shortest fence": {lossy, MinFenceAfter, pace, 2 * MinFenceAfter},
	}
}

// TestShapedNetwork runs three nodes whose links to Redis are slow, uneven and lossy, while users
// are changed, deleted, and invalidated without a version. No version goes back.
func TestShapedNetwork(t *testing.T) {
	netem, _ := exec.Command("unshare", "-n", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms").CombinedOutput()
	t.Logf("network: userspace proxy; netem, which is not used, said %q", strings.TrimSpace(string(netem)))
	for name, n := range networks() {
		t.Run(name, func(t *testing.T) {
			for range pick(1, 5) {
				n.shape.Seed = uint64(time.Now().UnixNano())
				canary.Judge(t, n.judge)
			}
		})
	}
}

// judge runs three nodes over the network.
func (n network) judge(t *testing.T, bird *canary.Canary) {
	r := newRig(t, redistest.Server(t).URL(), rigConfig{links: true, data: true, users: 20, unversioned: true,
		fence: n.fence, pace: n.pace, shape: n.shape, canary: bird})
	t.Logf("network %+v", n.shape)
	r.bind(n.bound)
	stop := r.blow(4, 8)
	wait(t.Context(), pick(2*time.Second, 30*time.Second))
	stop()
	t.Logf("result: three nodes over a network of %v + 0-%v and %.0f %% loss, FenceAfter %v | no version goes back, nothing unmarked is older than %v | %v",
		n.shape.Delay, n.shape.Jitter, 100*n.shape.Loss, cmp.Or(n.fence, fence), n.bound, r.oracle.Stats())
}
