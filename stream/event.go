// Package stream carries changes of profiles between services, over the Redis stream events:users.
//
// A Publisher adds an event. A Tail, one on every node, reads every event and knows when it may
// have missed one. A Worker, which shares one consumer group with all the others of a cluster,
// applies events to the second tier. Events are idempotent: they carry the version of the profile,
// so one that comes twice, late or out of order does no harm.
package stream

import (
	"errors"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/life"
	"github.com/chatapp-ngomna/edgecache/profile"
)

const (
	// Name is the stream's default key.
	Name = "events:users"
	// DefaultMaxLen is how many entries the stream keeps, about, when nothing else is configured.
	DefaultMaxLen = 100_000
	// maxPayload is the largest payload field that is read or written, in bytes.
	maxPayload = 64 << 10
)

// Fields of an entry of the stream.
const (
	fieldPayload = "payload" // the JSON that all services share
	fieldProfile = "profile" // msgpack of the whole profile; only edgecache writes it
	// of a deletion: the payload's timestamp again; only edgecache writes it
	fieldVersion = "version"
	// id of the entry that this one repeats, when somebody put a dead one back
	fieldReplayOf = "replayOf"
	fieldFunction = "function" // name of the edge function that changed
)

var (
	// ErrMalformed reports an entry or an event that is no valid one.
	ErrMalformed = errors.New("stream: malformed event")
	// ErrUnknownKind reports an event of a kind that this version does not know.
	ErrUnknownKind = errors.New("stream: unknown kind of event")
	// ErrTooLarge reports a payload over 64 KiB or a profile over profile.MaxSize.
	ErrTooLarge = errors.New("stream: event too large")
	// ErrClosed reports a use after Close.
	ErrClosed = life.ErrClosed
	// ErrNoEntry reports a dead entry that is not, or no longer, there.
	ErrNoEntry = errors.New("stream: no such entry")
)

// functionsID is the user of entries about edge functions; nobody has that id. A reader that does
// not know of functions reads such an entry as the invalidation of that user, which changes
// nothing.
const functionsID = "edgecache:functions"

// Event is one change of one user's profile.
type Event struct {
	// Kind says what happened; never profile.Imported.
	Kind profile.Kind
	// UserID is the user's id, valid by profile.CheckID.
	UserID string
	// Version is the payload's timestamp, in milliseconds since 1970; 0 when it is unknown.
	Version int64
	// Profile is the whole profile after the change; nil when the entry carries only parts, or the
	// kind has none. It is shared by everyone who gets the event: read it only.
	Profile *profile.Profile
	// Patch holds the parts that the entry carries, when it does not carry the whole; it may hold
	// no part at all. Nil beside a Profile and for Deleted and Invalidated.
	Patch *profile.Patch
	// Hint is true when another service wrote the entry, so that Version is no version of the
	// source of truth: something may have changed, and the origin knows what. False when the entry
	// carries the whole profile, or is a deletion as edgecache announces it.
	Hint bool
	// ID is the id of the entry in the stream; empty out of Decode, which does not see it, and not
	// encoded.
	ID string
	// At is when the entry was added, by the clock of the Redis server, to the millisecond; of an
	// entry that was put back, when the original was. Zero out of Decode, which does not see the
	// entry's id.
	At time.Time
	// Known is true when the tail that left TailConfig.Resume has handled the entry, and it is read
	// once more. Not encoded.
	Known bool
	// Function is the name of an edge function that changed; "" for what is about a user. Kind is
	// profile.Invalidated then, and UserID "edgecache:functions". Not encoded.
	Function string
	// Degraded is true when the entry had a whole profile that could not be read, so that only its
	// parts are here.
	Degraded bool
}

// Order returns where in the stream the entry stands, as a text of 32 bytes that is greater than
// that of every entry before it. Empty for an event that was not read from a stream.
func (e Event) Order() string {
	id, ok := parseEntryID(e.ID)
	if !ok {
		return ""
	}
	return id.order()
}
