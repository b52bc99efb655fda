package node

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// TestReadsOutliveLeasesThatNobodyUses leaves leases behind, of a node that is dead, and of nodes
// that have not heard of theirs. The origin is well, so every read is answered, in the time of one
// load.
func TestReadsOutliveLeasesThatNobodyUses(t *testing.T) {
	const id = "2"
	readAll := func(t *testing.T, m *model, what string) {
		t.Helper()
		began := time.Now()
		var reading sync.WaitGroup
		for i, n := range m.nodes {
			reading.Go(func() {
				got, err := n.Get(m.ctx, id)
				if err != nil || got.Tier == look.FromStale || got.Version() != 1 {
					t.Errorf("%s: node %d answers %v from %v after %v", what, i+1, err, got.Tier, time.Since(began))
				}
			})
		}
		reading.Wait()
		if n := m.truth.clearAsked()[id]; n > len(m.nodes) {
			t.Errorf("%s: the origin was asked %d times by %d nodes", what, n, len(m.nodes))
		}
	}
	t.Run("of a dead node", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := newModel(t, new(compiled))
			defer m.close()
			m.dieLoading(id, 0)
			readAll(t, m, "dead")
		})
	})
	t.Run("whose grant is lost", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := newModel(t, new(compiled))
			defer m.close()
			for lost := range 12 { // of the replies to a load, with what the client tries again
				m.forgetEverywhere(id)
				for _, n := range m.nodes {
					n.data.loseReplies(lost)
				}
				readAll(t, m, "the load itself")
				for _, n := range m.nodes {
					n.data.heal()
					n.cache.Forget(id, 0)
				}
				readAll(t, m, "the next one")
			}
		})
	})
}

// forgetEverywhere has Redis and all nodes know nothing of a user, leases included, and waits until
// they take Redis for well.
func (m *model) forgetEverywhere(id string) {
	check(m.t, m.L2.Invalidate(m.ctx, id))
	for _, n := range m.nodes {
		n.cache.Forget(id, 0)
	}
	time.Sleep(time.Second)
}
