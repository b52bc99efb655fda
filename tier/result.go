package tier

import (
	"fmt"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Tier says who answered.
type Tier uint8

const (
	// FromNone is the zero value: nobody answered.
	FromNone Tier = iota
	// FromL1 is the node's memory.
	FromL1
	// FromStore is the node's store on disk, L1.5.
	FromStore
	// FromL2 is Redis.
	FromL2
	// FromOrigin is the source of truth.
	FromOrigin
	// FromStale is a copy that may be older than the published bounds, used because nobody else
	// could answer.
	FromStale
)

// String returns "none", "L1", "L1.5", "L2", "origin" or "stale", and "tier(n)" for any other value.
func (t Tier) String() string {
	if names := [...]string{"none", "L1", "L1.5", "L2", "origin", "stale"}; int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("tier(%d)", uint8(t))
}

// Want says what a read demands beyond the cache's own bounds. The zero value demands nothing.
type Want struct {
	// MinVersion is the lowest version to accept, for a caller that must see its own write. 0: any.
	MinVersion int64
	// MaxAge is the highest Result.Age to accept. 0: any.
	MaxAge time.Duration
}

func (w Want) accepts(e *entry, now int64) bool {
	return e.profile.UpdatedAt >= w.MinVersion && (w.MaxAge == 0 || now-e.loaded <= int64(w.MaxAge))
}

// Result is the answer to one read.
type Result struct {
	// Profile is shared with every other reader: read it, never change it.
	Profile *profile.Profile
	// Tier says who answered.
	Tier Tier
	// Age is how long ago this node, maybe before a restart, began to read the answer from Redis or
	// the origin; 0 when they answered this read. The answer is at least as new as that moment.
	Age time.Duration

	// from is where the packed bytes are. A Result of four words travels in registers, one that
	// holds the bytes does not.
	from *entry
}

// MakeResult returns the answer that a Cache gives about p, which must have passed profile.Check,
// for those who stand in for a Cache.
func MakeResult(p *profile.Profile, from Tier, age time.Duration) Result {
	return newEntry(p).result(from, age)
}

// Packed returns the profile in msgpack. L1 holds it so, shared as the profile is; for an answer
// that L1 did not take it is made anew.
func (r Result) Packed() []byte { return r.from.bytes() }

// Version is the answer's version, its profile's UpdatedAt.
func (r Result) Version() int64 { return r.Profile.UpdatedAt }
