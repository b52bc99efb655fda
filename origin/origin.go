// Package origin is the source of truth of the profiles: the store with its outbox, the relay that announces what was
// committed, the HTTP service in front of them, and the HTTP client that cache nodes load from.
//
// A change travels so: the service validates it and hands it to a Store, which commits the row and its outbox row in one
// transaction; the Relay takes outbox rows in version order per user and hands them to an Announcer (the second tier first,
// the stream's event second); only then is the outbox row marked done. A process that is killed anywhere in between
// announces the row again when it is back, so announcing is idempotent by version.
package origin

import (
	"errors"
	"fmt"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// MaxBatch is the largest number of ids in one bulk lookup.
const MaxBatch = 500

var (
	// ErrExists reports a create for an id that is taken.
	ErrExists = errors.New("origin: user exists")
	// ErrVersion reports a conditional change whose version is no longer the user's.
	ErrVersion = errors.New("origin: version does not match")
	// ErrClosed reports a call to something that is closed or not started.
	ErrClosed = errors.New("origin: closed")
	// ErrUnwritable reports that the database takes no changes: its disk is full, read-only or broken. Reads go on.
	ErrUnwritable = errors.New("origin: the database cannot be written")
	// ErrInternal reports that the origin itself is broken: its database refused a statement.
	ErrInternal = errors.New("origin: internal error")
)

// CheckNewID returns nil for an id that a user may be created with: a valid id (profile.CheckID) that is no word of the
// service's own paths. GET /health is the service's health whoever asks, so a user "health" could be stored but never be
// looked up; such ids are refused at creation instead. "." and ".." are refused because URLs give them a meaning of their
// own. Errors wrap profile.ErrInvalidID.
func CheckNewID(id string) error {
	if err := profile.CheckID(id); err != nil {
		return err
	}
	if reserved(id) {
		return fmt.Errorf("%w: %q is reserved: the service uses it as a path", profile.ErrInvalidID, id)
	}
	return nil
}

// reserved reports whether id is a word that the service answers itself or that a URL path cannot carry.
func reserved(id string) bool {
	switch id {
	case "all", "batch", "health", "livez", "metrics", "openapi.json", "readyz", ".", "..":
		return true
	}
	return false
}
