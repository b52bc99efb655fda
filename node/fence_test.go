package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/tier"
)

// TestShortestFence cuts one node off from the stream. It answers nothing unmarked that is older
// than twice its fence.
func TestShortestFence(t *testing.T) {
	r := newRig(t, redistest.Server(t).URL(), rigConfig{links: true, bare: true, users: 20, fence: MinFenceAfter})
	stop := r.blow(4, 6)
	defer stop()
	for range pick(3, 20) {
		r.bind(2*MinFenceAfter, 0)
		r.links[0].BlackHole(true)
		eventually(t, "the fence", func() bool { return r.nodes[0].Stats().Cache.Fenced })
		wait(t.Context(), time.Second)
		if !r.nodes[0].Stats().Cache.Fenced {
			t.Error("the node that is cut off does not stay fenced")
		}
		r.links[0].BlackHole(false)
		eventually(t, "the end of the fence", func() bool { return !r.nodes[0].Stats().Cache.Fenced })
	}
	stop()
	t.Logf("result: stream link of one node with FenceAfter %v black-holed %d times for 1 s | nothing unmarked is older than %v | %v",
		MinFenceAfter, pick(3, 20), 2*MinFenceAfter, r.oracle.Stats())
}

// TestCalmNodesAreNotFenced looks at nodes with the shortest fence, on a stream at rest and on one
// that is busy.
func TestCalmNodesAreNotFenced(t *testing.T) {
	for name, writers := range map[string]int{"idle": 0, "busy": 4} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, redistest.Server(t).URL(), rigConfig{links: true, fence: MinFenceAfter})
			stop := r.blow(writers, 0)
			defer stop()
			looks, fenced := r.lookForFences(pick(3*time.Second, 30*time.Second))
			stop()
			t.Logf("result: FenceAfter %v, a stream that is %s | at most 1 look in 100 finds a node fenced | %d of %d",
				MinFenceAfter, name, fenced, looks)
			if fenced*100 > looks {
				t.Errorf("fenced at %d of %d looks", fenced, looks)
			}
		})
	}
}

// lookForFences counts looks at nodes and how many found one fenced. After it got no processor
// itself for 50 ms it waits for proofs anew: that is a pause, which lowers fences.
func (r *rig) lookForFences(d time.Duration) (looks, fenced int) {
	last, calm := time.Now(), time.Now()
	for end := last.Add(d); last.Before(end); wait(r.Context(), time.Millisecond) {
		now := time.Now()
		if now.Sub(last) > 50*time.Millisecond {
			calm = now.Add(2 * MinFenceAfter)
		}
		if last = now; now.Before(calm) {
			continue
		}
		for _, n := range r.nodes {
			looks++
			if n.Stats().Cache.Fenced {
				fenced++
			}
		}
	}
	return looks, fenced
}

func TestFenceHasABound(t *testing.T) {
	with := func(after time.Duration) error {
		n, err := New(Config{RedisURL: "redis://127.0.0.1:1", Origin: newPeople(1), Tier: tier.Config{FenceAfter: after}})
		if err == nil {
			check(t, n.Close())
		}
		return err
	}
	for _, after := range []time.Duration{1, 249 * time.Millisecond} {
		want := fmt.Sprintf("FenceAfter is %v; want at least 250ms", after)
		if err := with(after); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
	}
	for _, after := range []time.Duration{0, -1, MinFenceAfter, time.Hour} {
		check(t, with(after))
	}
}
