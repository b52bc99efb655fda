package tier

import (
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

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
	Tier look.Tier
	// Age is how long ago this node, maybe before a restart, began to read the answer from Redis or
	// the origin; 0 when they answered this read. The answer is at least as new as that moment.
	Age time.Duration

	// from is where the packed bytes are. A Result of four words travels in registers, one that
	// holds the bytes does not.
	from *entry
}

// Packed returns the profile in msgpack. L1 holds it so, shared as the profile is; for an answer
// that L1 did not take it is made anew.
func (r Result) Packed() []byte { return r.from.bytes() }

// Version is the answer's version, its profile's UpdatedAt.
func (r Result) Version() int64 { return r.Profile.UpdatedAt }
