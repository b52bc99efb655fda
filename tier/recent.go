package tier

import (
	"sync"
	"time"
)

const (
	// recentFor is how long a version is remembered.
	recentFor = 60 * time.Second
	// maxRecent bounds the ids remembered in one generation. Past it the oldest half is forgotten
	// early: L2 was written before the event, so only entries that another service put on the
	// stream alone lose by it.
	maxRecent = 1 << 17
)

// recent remembers the versions that events told of, so that an L2 record older than the news
// counts as a miss. Two generations take turns: no timer per id, no scan.
type recent struct {
	mu       sync.RWMutex
	now, old map[string]news
	turned   int64
	since    int64 // nothing was forgotten early that was learned after it
}

// news is a version, and when this node learned of it.
type news struct{ version, at int64 }

func newRecent() *recent { return &recent{now: map[string]news{}} }

// learn notes that version of id exists; at is the node's clock. A higher version that is known
// already is remembered as long as it would have been: what is learned later does not prolong it.
func (r *recent) learn(id string, version, at int64) {
	if version == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if at-r.turned > int64(recentFor) || len(r.now) >= maxRecent {
		r.old, r.now, r.since, r.turned = r.now, map[string]news{}, r.turned, at
	}
	if version >= r.now[id].since(at) {
		r.now[id] = news{version, at}
	}
}

// floor returns the highest version known of id, 0 when none is remembered at this time.
func (r *recent) floor(id string, at int64) int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return max(r.now[id].since(at), r.old[id].since(at))
}

// whole reports whether everything is remembered that was learned within recentFor before at.
func (r *recent) whole(at int64) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return at-r.since > int64(recentFor)
}

// toldAll reports whether the cache was told of every change within recentFor before now, and
// remembers them: what nobody told it of was not announced in that time.
func (c *Cache) toldAll(now int64) bool {
	told := c.fence.fed.Load()
	return told != 0 && now-max(told, c.flushed.Load()) > int64(recentFor) &&
		c.alive(now) && c.recent.whole(now)
}

// since returns the version while it is news.
func (n news) since(at int64) int64 {
	if at-n.at > int64(recentFor) {
		return 0
	}
	return n.version
}
