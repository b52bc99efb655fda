package gossip

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/chatapp-ngomna/edgecache/internal/life"
)

// told is what this node tells of itself. memberlist asks for it when a node starts and after
// UpdateNode.
type told struct {
	changed chan struct{} // capacity 1

	mu   sync.Mutex
	meta meta
	last []byte // what memberlist was given last
}

func newTold(m meta) *told { return &told{changed: make(chan struct{}, 1), meta: m} }

var _ memberlist.Delegate = (*told)(nil)

// NodeMeta returns the metadata.
func (t *told) NodeMeta(int) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = t.meta.encode()
	return t.last
}

// NotifyMsg drops messages of applications: nothing but membership travels over gossip.
func (t *told) NotifyMsg([]byte) {}

// GetBroadcasts has none.
func (t *told) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState is empty.
func (t *told) LocalState(bool) []byte { return nil }

// MergeRemoteState drops what it is given.
func (t *told) MergeRemoteState([]byte, bool) {}

func (t *told) get() meta {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.meta
}

func (t *told) setKeys(ids []string) (before []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, t.meta.keys = t.meta.keys, ids
	return before
}

func (t *told) setWarmth(share float64) {
	t.mu.Lock()
	t.meta.warmth = float64(percent(share)) / 100
	t.mu.Unlock()
	t.wake()
}

func (t *told) setReport(r Report) {
	t.mu.Lock()
	t.meta.report = r
	t.mu.Unlock()
	t.wake()
}

// setLeaving has the others told that this node is about to leave.
func (t *told) setLeaving() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.meta.report.Leaving = true
}

// stale says whether the others were told something else.
func (t *told) stale() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !bytes.Equal(t.last, t.meta.encode())
}

func (t *told) wake() {
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// tell passes on what changed, at most once every tellEvery.
func (c *Cluster) tell(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.told.changed:
		}
		if !c.told.stale() {
			continue
		}
		// The update is queued at once; UpdateNode would then wait until it was sent often enough,
		// for which there is no need.
		_ = c.list.UpdateNode(time.Nanosecond)
		c.counters.told.Add(1)
		life.Wait(ctx, c.cfg.timing.tellEvery)
	}
}
