package node

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

// TestShapedNetwork runs three nodes whose links to Redis are slow, uneven and lossy. No version
// goes back, and no unmarked answer is older than the bound of a node that is cut off.
func TestShapedNetwork(t *testing.T) {
	netem, _ := exec.Command("unshare", "-n", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms").CombinedOutput()
	t.Logf("network: userspace proxy; netem, which is not used, said %q", strings.TrimSpace(string(netem)))
	for name, shape := range map[string]redistest.Shape{
		"uneven": {Delay: 5 * time.Millisecond, Jitter: 60 * time.Millisecond},
		"lossy":  {Delay: 5 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.05},
	} {
		t.Run(name, func(t *testing.T) {
			for range pick(1, 5) {
				shape.Seed = uint64(time.Now().UnixNano())
				url := redistest.Server(t).URL()
				r := newRig(t, url, rigConfig{links: true, data: true, users: 20, shape: shape})
				t.Logf("network %+v", shape)
				r.bind(cutBound)
				stop := r.blow(4, 24)
				wait(t.Context(), pick(4*time.Second, 30*time.Second))
				stop()
				t.Logf("result: three nodes over a network of %v + 0-%v and %.0f %% loss | no version goes back, nothing unmarked is older than %v | %v",
					shape.Delay, shape.Jitter, 100*shape.Loss, cutBound, r.oracle.Stats())
			}
		})
	}
}
