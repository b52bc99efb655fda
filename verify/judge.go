package verify

import (
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// bindFor is how long a change binds answers. A node remembers what it was told for a minute at
// least; beyond half of that nothing is demanded that it might have been allowed to forget.
const bindFor = 30 * time.Second

// verdict is what a change says of an answer, or all changes of a user do.
type verdict uint8

const (
	right  verdict = iota
	wrong          // contradicts a change that the node had time to hear of
	marked         // marked stale, so that nothing is promised
	// no such user, where a change tells of one and none that he is gone: perhaps a deletion is
	// under way
	missing
)

// change is one event of the stream, as far as answers are judged by it. Immutable.
//
// Its times are moments of this process's monotonic clock between which the entry came to be: it
// was there at known, when it had been read, and not yet at before, when the stream's last id was
// asked for and was lower. What an answer must know of the change is reckoned from known, what it
// may not precede from before, so that whatever the clocks of Redis and the nodes say, every doubt
// is in the node's favour.
type change struct {
	id   string
	kind profile.Kind
	// of an event that tells one; 0 for the others, and for an invalidation always
	version int64
	at      time.Time // by the clock of the Redis server; shown, never judged by
	known   time.Time
	// zero when no such moment is known; then a change without a version binds nobody
	before time.Time
}

// answer is what a node said of one user.
type answer struct {
	sent, received time.Time
	absent         bool
	version        int64
	tier           string
	stale          bool
	age            time.Duration // since the node began to load it, rounded down
}

func (c *change) gone() bool { return c.kind == profile.Deleted }

// judge returns what one change, of which the node had time to hear, says of an answer.
func (c *change) judge(a *answer) verdict {
	switch {
	case a.stale:
		return marked
	case c.version == 0:
		// Whatever was held before an invalidation had to be asked for again. The load began
		// received - age at the latest.
		if !a.absent && !c.before.IsZero() && a.received.Add(-a.age).Before(c.before) {
			return wrong
		}
	case c.gone():
		if !a.absent && a.version <= c.version {
			return wrong
		}
	case a.absent:
		return missing
	case a.version < c.version:
		return wrong
	}
	return right
}

// judge returns what changes, in the order of the stream, say of an answer that was asked for, and
// the oldest change behind that. A change binds once it has been known for bound. A later one with
// a higher version only raises what is demanded.
func judge(changes []*change, bound time.Duration, a *answer) (verdict, *change) {
	if a.stale {
		return marked, nil
	}
	latest, oldest := a.sent.Add(-bound), a.sent.Add(-bindFor)
	deleted := deletedIn(changes)
	var missed *change
	for _, c := range changes {
		if c.version == 0 {
			missed = nil // the truth may have said by then that there is no such user
		}
		if c.known.After(latest) || c.known.Before(oldest) {
			continue
		}
		switch c.judge(a) {
		case wrong:
			return wrong, c
		case missing:
			if missed == nil && c.version > deleted {
				missed = c
			}
		}
	}
	if missed != nil {
		return missing, missed
	}
	return right, nil
}

// deletedIn returns the highest version in which the user was deleted. A deletion excuses from the
// moment it is made, and so before it binds.
func deletedIn(changes []*change) (version int64) {
	for _, c := range changes {
		if c.gone() {
			version = max(version, c.version)
		}
	}
	return version
}
