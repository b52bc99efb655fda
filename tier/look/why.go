package look

import (
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
)

// CopyState says whether what a node's memory holds of a user is an answer.
type CopyState string

const (
	// CopyNone means that the memory holds nothing of the user.
	CopyNone CopyState = "none"
	// CopyValid is an answer.
	CopyValid CopyState = "valid"
	// CopyFlushed was ended together with everything else that the node held: its epoch is over.
	CopyFlushed CopyState = "flushed"
	// CopyInvalidated was ended by news of the user, or of one who shares the stamp.
	CopyInvalidated CopyState = "invalidated"
	// CopyExpired is older than its TTL.
	CopyExpired CopyState = "expired"
	// CopyFenced would be an answer, if the stream had not been silent for FenceAfter.
	CopyFenced CopyState = "fenced"
)

// Why is what a node knows about its answers for one user: what each tier holds, and what a read
// would be answered. Ages and times left are in milliseconds.
type Why struct {
	ID string `json:"id"`
	// Read is what a read without demands would be answered now.
	Read Reading `json:"read"`
	// Memory is what this node holds, Fenced says that its memory does not answer as fresh.
	Memory Copy `json:"memory"`
	Fenced bool `json:"fenced"`
	// Store is what its store on disk holds, nil without one. It is asked when memory holds nothing
	// that an event has not ended.
	Store *Copy `json:"store,omitempty"`
	// Flushed is how long ago this node last gave up all that it held; 0 for never.
	Flushed int64 `json:"flushedMs,omitempty"`
	// News is the highest version that an event told of in the last minute, 0 for none: what Redis
	// has below it does not count.
	News int64 `json:"news,omitempty"`
	// Hint is the place in the stream of what another service said in the last minute, for which
	// the origin may not have been asked yet; "" for none.
	Hint string `json:"hint,omitempty"`
	// Loading says that a load of the user is under way on this node.
	Loading bool `json:"loading,omitempty"`
	// Redis is what Redis holds; RedisError why that is not known. RedisDown says that readers do
	// not ask it, because it has not answered others.
	Redis      l2.Held `json:"redis"`
	RedisError string  `json:"redisError,omitempty"`
	RedisDown  bool    `json:"redisDown,omitempty"`
	// Origin is what the source of truth has answered, just now.
	Origin Truth `json:"origin"`
}

// Reading is what a read would be answered.
type Reading struct {
	// Tier is who would answer: "L1", "L1.5", "L2", "origin", "stale", or "none" when nobody can.
	Tier string `json:"tier"`
	// Missing says that the answer is that there is no such user.
	Missing bool `json:"missing,omitempty"`
	// Version is the answer's; 0 without one.
	Version int64 `json:"version,omitempty"`
	// Because says why it is that tier, and none before it.
	Because string `json:"because"`
}

// Copy is what a node's memory holds of a user.
type Copy struct {
	State CopyState `json:"state"`
	// Profile is the copy; nil without one, and for an absence.
	Profile *profile.Profile `json:"profile,omitempty"`
	// Absent says that what is held is "no such user".
	Absent bool `json:"absent,omitempty"`
	// Age is how long ago its load began, Left when it expires: below 0 when it has.
	Age  int64 `json:"ageMs,omitempty"`
	Left int64 `json:"leftMs,omitempty"`
	// Origin says that the origin was asked, and not Redis alone.
	Origin bool `json:"fromOrigin,omitempty"`
	// Bytes is what it takes.
	Bytes int64 `json:"bytes,omitempty"`
}

// Truth is what the origin answers.
type Truth struct {
	Profile *profile.Profile `json:"profile,omitempty"`
	// Absent says that it knows no such user.
	Absent bool `json:"absent,omitempty"`
	// Error says why it did not answer.
	Error string `json:"error,omitempty"`
	// Took is how long it took.
	Took int64 `json:"tookMs"`
}
