// Package origin is the protocol between the nodes and the source of truth, and its client: lookups
// and changes over HTTP, with retries where they are safe and a circuit breaker. What stands behind
// the protocol is in package source; a program that embeds a node needs this package alone, and
// links no database and no web server by it.
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
	// ErrUnwritable reports that the database takes no changes: its disk is full, read-only or
	// broken. Reads go on.
	ErrUnwritable = errors.New("origin: the database cannot be written")
	// ErrInternal reports that the origin itself is broken: its database refused a statement.
	ErrInternal = errors.New("origin: internal error")
)

// CheckNewID returns nil for an id that a user may be created with: a valid id (profile.CheckID)
// that is no word of the service's own paths. GET /health is the service's health for every caller,
// so a user "health" could be stored but never be looked up; such ids are refused at creation
// instead. "." and ".." are refused because URLs give them a meaning of their own. Errors wrap
// profile.ErrInvalidID.
func CheckNewID(id string) error {
	if err := profile.CheckID(id); err != nil {
		return err
	}
	if Reserved(id) {
		return fmt.Errorf("%w: %q is reserved: the service uses it as a path", profile.ErrInvalidID, id)
	}
	return nil
}

// Reserved reports whether id is a word that the service answers itself or that a URL path cannot
// carry.
func Reserved(id string) bool {
	switch id {
	case "all", "batch", "health", "livez", "metrics", "openapi.html", "openapi.json", "readyz", ".", "..":
		return true
	}
	return false
}
