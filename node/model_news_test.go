package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// TestNewsAboveTheTruthEnds has an origin announce a version that it has lost since, for a user who
// is not in Redis. Until the news is old, what the origin says is marked stale, because the origin
// may lag. Then the origin is believed: asked once, for all nodes, and what it says is kept. A
// change after that is seen by all, though its version is below the one announced.
func TestNewsAboveTheTruthEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t, new(compiled))
		defer m.close()
		const id = "2"
		all := func(want look.Tier, version int64) {
			t.Helper()
			for i, n := range m.nodes {
				got, err := n.Get(m.ctx, id)
				check(t, err)
				if stale := got.Tier == look.FromStale; stale != (want == look.FromStale) || got.Version() != version {
					t.Errorf("after %v node %d answers %d from %v; want %d", time.Since(m.journal.start), i+1, got.Version(), got.Tier, version)
				}
			}
		}
		began := time.Now()
		m.news(id)
		time.Sleep(time.Second)
		all(look.FromStale, 1)
		time.Sleep(time.Until(began.Add(newsEnds + 100*time.Millisecond)))
		m.truth.clearAsked()
		for range 3 {
			all(look.FromL1, 1)
			time.Sleep(time.Second)
		}
		if n := m.truth.clearAsked()[id]; n != 1 {
			t.Errorf("the origin was asked %d times, want once", n)
		}
		m.truth.set(person(id, 3)) // below the news
		applied, err := m.L2.Apply(m.ctx, person(id, 3))
		check(t, err)
		if !applied {
			t.Error("a change below what was announced is refused for good")
		}
	})
}

// TestNewsAboveTheTruthEndsThoughTheClockIsSetBack sets the server's clock back by a minute after
// such news. Nobody reads until a minute later by any other clock: then the origin is believed.
func TestNewsAboveTheTruthEndsThoughTheClockIsSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t, new(compiled))
		defer m.close()
		m.news("2")
		time.Sleep(time.Second) // all nodes have been told
		m.setClock(2)
		time.Sleep(newsEnds + time.Second)
		for i, n := range m.nodes {
			if got, err := n.Get(m.ctx, "2"); err != nil || got.Tier == look.FromStale || got.Version() != 1 {
				t.Errorf("node %d answers %d from %v: %v", i+1, version(got), got.Tier, err)
			}
		}
	})
}
