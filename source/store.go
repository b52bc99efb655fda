// Package source is the source of truth of the profiles: the contract of its store with the outbox,
// the relay that announces what was committed, and the HTTP service in front of them. Its databases
// are in sqlite and postgres.
//
// A change travels so: the service validates it and hands it to a Store, which commits the row and
// its outbox row in one transaction; the Relay takes outbox rows in version order per user and
// hands them to an Announcer (the second tier first, the stream's event second); only then is the
// outbox row marked done. A process that is killed anywhere in between announces the row again when
// it is back, so announcing is idempotent by version.
package source

import (
	"context"
	"iter"
	"slices"
	"time"

	"fmt"

	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// Store keeps the users and the outbox of their changes. All methods may be called concurrently
// between Start and Close.
//
// Every method that changes a user commits the change and its outbox row in one transaction, and
// gives the user a version of max(now in ms, highest version the user ever had + 1), deleted and
// created again included. Once it returned nil, the change survives the death of the process.
//
// Errors wrap profile.ErrNotFound, profile.ErrInvalidID, profile.ErrMalformed, profile.ErrTooLarge,
// ErrExists, ErrVersion, ErrClosed or ErrInternal, or are those of ctx. Profiles that come out
// belong to the caller.
type Store interface {
	// Start opens the store, brings its tables up to date and does one round trip.
	Start(ctx context.Context) error
	// Close ends the store; it may be called twice and before Start.
	Close() error

	// Get returns one user or profile.ErrNotFound.
	Get(ctx context.Context, id string) (*profile.Profile, error)
	// GetBatch returns those of ids that exist, by id.
	GetBatch(ctx context.Context, ids []string) (map[string]*profile.Profile, error)
	// Page returns up to limit users whose ids are above after, in byte order of the id; fewer than
	// limit means the end.
	Page(ctx context.Context, after string, limit int) ([]*profile.Profile, error)
	// Count returns how many users there are.
	Count(ctx context.Context) (int64, error)

	// Create adds a user; p.UpdatedAt is ignored, and an empty p.FullName follows Prenom and Nom.
	// ErrExists when taken.
	Create(ctx context.Context, p *profile.Profile) (Change, error)
	// Update changes the fields that u gives. profile.ErrNotFound, or ErrVersion when u.IfMatch
	// lacks the user's version.
	Update(ctx context.Context, id string, u origin.Update) (Change, error)
	// Delete removes a user. profile.ErrNotFound, or ErrVersion when ifMatch is not nil and lacks
	// the user's version.
	Delete(ctx context.Context, id string, ifMatch []int64) (Change, error)
	// BulkLoad adds users in one transaction, and returns how many were added; users who exist stay
	// as they are. They are announced by their ids, a few hundred in one outbox row of the kind
	// Imported: nobody can know more of them than that they were absent. A version of 0 becomes the
	// time of the load; others are kept. The first bad profile ends it with nothing added.
	BulkLoad(ctx context.Context, users iter.Seq[*profile.Profile]) (int64, error)
	// Deleted returns those of ids that were deleted once, those who were created again included.
	Deleted(ctx context.Context, ids []string) (map[string]bool, error)
	// Probe makes a change of no consequence, and returns ErrUnwritable if the database takes none.
	Probe(ctx context.Context) error

	Outbox
}

// IDMaker is a Store whose database may make ids, as that of a table with a serial does. Its Create
// then takes a profile without one, and the change has the id.
type IDMaker interface {
	// MakesIDs reports whether it does.
	MakesIDs() bool
}

// Outbox is the part of a Store that the Relay works on.
type Outbox interface {
	// Claim takes undone rows for this caller alone: none of a user with an older row that is
	// claimed elsewhere. A claim without rows is no error and must be closed like others. Several
	// may be open.
	Claim(ctx context.Context, w Want) (Claim, error)
	// Wake gets a value after changes were committed. One receiver; values that nobody fetched are
	// folded into one.
	Wake() <-chan struct{}
	// Backlog tells how much is undone.
	Backlog(ctx context.Context) (Backlog, error)
	// Prune forgets rows that were done before t and returns how many.
	Prune(ctx context.Context, t time.Time) (int64, error)
}

// Want says which undone rows a claim takes: of each user the oldest first.
type Want struct {
	// Limit is the largest number of rows.
	Limit int
	// Except are users whose rows are left out.
	Except []string
	// Users, if not nil, are the only users whose rows are taken. Except is not looked at then.
	Users []string
	// Newest takes users whose next row is a new one, instead of those who wait longest.
	Newest bool
}

// Claim is a set of outbox rows that one relay works on.
type Claim interface {
	// Changes are the rows, lowest Seq first, several of one user possible.
	Changes() []Change
	// Done notes that rows were announced. They do not come again, unless the process dies before
	// the note is durable.
	Done(ctx context.Context, seqs []int64) error
	// Close gives the rest of the rows back.
	Close() error
}

// Backlog is what waits in the outbox.
type Backlog struct {
	// Rows is the number of changes not yet announced.
	Rows int64 `json:"rows"`
	// Oldest is how long the oldest of them has waited, 0 without rows.
	Oldest profile.Millis `json:"oldestMs"`
}

// Matches reports whether a change conditional on ifMatch may be made to a user of this version.
func Matches(ifMatch []int64, version int64) bool {
	return ifMatch == nil || slices.Contains(ifMatch, version)
}

// Change is one committed change of one user.
type Change struct {
	// Seq is the place in the outbox. A user's later change has the higher one.
	Seq int64
	// Kind tells what happened.
	Kind profile.Kind
	// ID is the user's id. When Kind is profile.Imported it stands for the load, and is no id of a
	// user.
	ID string
	// Version is the user's version from this change on, above all that the user ever had.
	Version int64
	// Profile is the whole profile as this change left it, nil when Kind is Deleted or Imported.
	// Read only.
	Profile *profile.Profile
	// Added are the ids of the users when Kind is Imported, else nil. Read only.
	Added []string

	// Fault is why Profile could not be read from the outbox: such a row fails until someone mends
	// it, alone with its user.
	Fault error
}

// Announcer tells the rest of the world about a change. It is called from several goroutines, never
// twice at once for one user, and for one user in version order. A change may come again after it
// succeeded (a process died before it noted so), hence announcing must be idempotent by version. An
// error makes the relay try again later; ctx carries a deadline.
type Announcer interface {
	Announce(ctx context.Context, c Change) error
}

// AnnouncerFunc is a function as an Announcer.
type AnnouncerFunc func(ctx context.Context, c Change) error

// Announce calls f.
func (f AnnouncerFunc) Announce(ctx context.Context, c Change) error { return f(ctx, c) }

// NextVersion is the version of a change made at now (milliseconds since 1970) to a user whose
// highest version so far is previous: strictly above it whatever the clock does.
func NextVersion(now, previous int64) (int64, error) {
	v := max(now, previous+1)
	if v > profile.MaxVersion {
		return 0, fmt.Errorf("source: no version above %d is left: %w", previous, profile.ErrMalformed)
	}
	return v, nil
}

var (
	// ErrFull is an ErrUnwritable: a full disk.
	ErrFull = fmt.Errorf("%w: its disk is full", origin.ErrUnwritable)
	// ErrReadOnly is an ErrUnwritable: a read-only database or disk.
	ErrReadOnly = fmt.Errorf("%w: it, or its disk, is read-only", origin.ErrUnwritable)
	// ErrDisk is an ErrUnwritable: a disk that fails.
	ErrDisk = fmt.Errorf("%w: its disk fails", origin.ErrUnwritable)
)
