// Package origin is the source of truth of the profiles: the store with its outbox, the relay that announces what was
// committed, the HTTP service in front of them, and the HTTP client that cache nodes load from.
//
// A change travels so: the service validates it and hands it to a Store, which commits the row and its outbox row in one
// transaction; the Relay takes outbox rows in version order per user and hands them to an Announcer (the second tier first,
// the stream's event second); only then is the outbox row marked done. A process that is killed anywhere in between
// announces the row again when it is back, so announcing is idempotent by version.
package origin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

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
	// ErrUnauthorized reports a request of the service without a token that is good.
	ErrUnauthorized = errors.New("origin: not authorized")
	// ErrForbidden reports a request that the token's roles do not cover.
	ErrForbidden = errors.New("origin: not allowed")
	// ErrUnwritable reports that the database takes no changes: its disk is full, read-only or broken. Reads go on.
	ErrUnwritable = errors.New("origin: the database cannot be written")
	// ErrInternal reports that the origin itself is broken: its database refused a statement.
	ErrInternal = errors.New("origin: internal error")

	// errBadToken is an ErrUnauthorized about a token that came.
	errBadToken = fmt.Errorf("%w: the token is not accepted", ErrUnauthorized)
)

// Kind is what a change did to a user.
type Kind uint8

const (
	// Created is a user who was not there before.
	Created Kind = iota + 1
	// Updated is a user whose fields changed.
	Updated
	// Deleted is a user who is gone.
	Deleted
	// Imported are users whom a bulk load added.
	Imported
)

// String returns "created", "updated", "deleted", "imported", or "kind(n)" for a value that is none of them.
func (k Kind) String() string {
	switch k {
	case Created:
		return "created"
	case Updated:
		return "updated"
	case Deleted:
		return "deleted"
	case Imported:
		return "imported"
	default:
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
}

// Change is one committed change of one user.
type Change struct {
	// Seq is the place in the outbox. A user's later change has the higher one.
	Seq int64
	// Kind tells what happened.
	Kind Kind
	// ID is the user's id. When Kind is Imported it stands for the load, and is no id of a user.
	ID string
	// Version is the user's version from this change on, above all that the user ever had.
	Version int64
	// Profile is the whole profile as this change left it, nil when Kind is Deleted or Imported. Read only.
	Profile *profile.Profile
	// Added are the ids of the users when Kind is Imported, else nil. Read only.
	Added []string

	// fault is why Profile could not be read from the outbox: such a row fails until someone mends it, alone with its user.
	fault error
}

// Announcer tells the rest of the world about a change. It is called from several goroutines, never twice at once for one
// user, and for one user in version order. A change may come again after it succeeded (a process died before it noted so),
// hence announcing must be idempotent by version. An error makes the relay try again later; ctx carries a deadline.
type Announcer interface {
	Announce(ctx context.Context, c Change) error
}

// AnnouncerFunc is a function as an Announcer.
type AnnouncerFunc func(ctx context.Context, c Change) error

// Announce calls f.
func (f AnnouncerFunc) Announce(ctx context.Context, c Change) error { return f(ctx, c) }

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

// nextVersion is the version of a change made at now (milliseconds since 1970) to a user whose highest version so far is
// previous: strictly above it whatever the clock does.
func nextVersion(now, previous int64) (int64, error) {
	v := max(now, previous+1)
	if v > profile.MaxVersion {
		return 0, fmt.Errorf("origin: no version above %d is left: %w", previous, profile.ErrMalformed)
	}
	return v, nil
}

// loggerOr returns l, or one that discards when l is nil.
func loggerOr(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}
