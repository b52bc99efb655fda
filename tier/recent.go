package tier

import (
	"sync"
	"time"
)

const (
	// recentFor is how long at least a version is remembered; at most twice as long.
	recentFor = 60 * time.Second
	// maxRecent bounds the ids remembered in one generation. Past it the oldest half is forgotten early: L2 was written
	// before the event, so only entries that another service put on the stream alone lose by it.
	maxRecent = 1 << 17
)

// recent remembers the versions that events told of, so that an L2 record older than the news counts as a miss. Two
// generations take turns: no timer per id, no scan.
type recent struct {
	mu       sync.RWMutex
	now, old map[string]int64
	turned   int64
}

func newRecent() *recent { return &recent{now: map[string]int64{}} }

// learn notes that version of id exists; at is the node's clock.
func (r *recent) learn(id string, version, at int64) {
	if version == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if at-r.turned > int64(recentFor) || len(r.now) >= maxRecent {
		r.old, r.now, r.turned = r.now, map[string]int64{}, at
	}
	r.now[id] = max(version, r.now[id], r.old[id])
}

// floor returns the highest version known of id, 0 when none is remembered.
func (r *recent) floor(id string) int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return max(r.now[id], r.old[id])
}
