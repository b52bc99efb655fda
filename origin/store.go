package origin

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Store keeps the users and the outbox of their changes. All methods may be called concurrently between Start and Close.
//
// Every method that changes a user commits the change and its outbox row in one transaction, and gives the user a version
// of max(now in ms, highest version the user ever had + 1), deleted and created again included. Once it returned nil, the
// change survives the death of the process.
//
// Errors wrap profile.ErrNotFound, profile.ErrInvalidID, profile.ErrMalformed, profile.ErrTooLarge, ErrExists, ErrVersion,
// ErrClosed or ErrInternal, or are those of ctx. Profiles that come out belong to the caller.
type Store interface {
	// Start opens the store, brings its tables up to date and does one round trip.
	Start(ctx context.Context) error
	// Close ends the store; it may be called twice and before Start.
	Close() error

	// Get returns one user or profile.ErrNotFound.
	Get(ctx context.Context, id string) (*profile.Profile, error)
	// GetBatch returns those of ids that exist, by id.
	GetBatch(ctx context.Context, ids []string) (map[string]*profile.Profile, error)
	// Page returns up to limit users whose ids are above after, in byte order of the id; fewer than limit means the end.
	Page(ctx context.Context, after string, limit int) ([]*profile.Profile, error)
	// Count returns how many users there are.
	Count(ctx context.Context) (int64, error)

	// Create adds a user; p.UpdatedAt is ignored, and an empty p.FullName follows Prenom and Nom. ErrExists when taken.
	Create(ctx context.Context, p *profile.Profile) (Change, error)
	// Update changes the fields that u gives. profile.ErrNotFound, or ErrVersion when u.IfMatch lacks the user's version.
	Update(ctx context.Context, id string, u Update) (Change, error)
	// Delete removes a user. profile.ErrNotFound, or ErrVersion when ifMatch is not nil and lacks the user's version.
	Delete(ctx context.Context, id string, ifMatch []int64) (Change, error)
	// BulkLoad adds users in one transaction, and returns how many were added; users who exist stay as they are. They are
	// announced by their ids, a few hundred in one outbox row of the kind Imported: nobody can know more of them than that
	// they were absent. A version of 0 becomes the time of the load; others are kept. The first bad profile ends it with
	// nothing added.
	BulkLoad(ctx context.Context, users iter.Seq[*profile.Profile]) (int64, error)
	// Deleted returns those of ids that were deleted once, those who were created again included.
	Deleted(ctx context.Context, ids []string) (map[string]bool, error)
	// Probe makes a change of no consequence, and returns ErrUnwritable if the database takes none.
	Probe(ctx context.Context) error

	Outbox
}

// Outbox is the part of a Store that the Relay works on.
type Outbox interface {
	// Claim takes undone rows for this caller alone: none of a user of whom an older row is claimed elsewhere. A claim without
	// rows is no error and must be closed like others. Several may be open.
	Claim(ctx context.Context, w Want) (Claim, error)
	// Wake gets a value after changes were committed. One receiver; values that nobody fetched are folded into one.
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
	// Done notes that rows were announced. They do not come again, unless the process dies before the note is durable.
	Done(ctx context.Context, seqs []int64) error
	// Close gives the rest of the rows back.
	Close() error
}

// Backlog is what waits in the outbox.
type Backlog struct {
	// Rows is the number of changes not yet announced.
	Rows int64 `json:"rows"`
	// Oldest is how long the oldest of them has waited, 0 without rows.
	Oldest time.Duration `json:"oldestNs"`
}

// Update is a partial change: nil leaves a field as it is.
type Update struct {
	// Nom is the family name.
	Nom *string `json:"nom,omitempty"`
	// Prenom is the given name.
	Prenom *string `json:"prenom,omitempty"`
	// FullName is the name to display when it is not Prenom and Nom; "" makes it follow them again.
	FullName *string `json:"fullName,omitempty"`
	// Avatar is the URL or path of the picture.
	Avatar *string `json:"avatar,omitempty"`
	// Matricule is the registration number.
	Matricule *string `json:"matricule,omitempty"`
	// Ministere is the ministry.
	Ministere *string `json:"ministere,omitempty"`
	// Sexe is "M", "F" or "".
	Sexe *string `json:"sexe,omitempty"`
	// Attrs is merged into the attributes key by key (RFC 7396): a value sets its key, nil removes it, others stay.
	Attrs map[string]*string `json:"attrs,omitempty"`
	// IfMatch makes the change conditional: the user's version must be one of these. nil is unconditional.
	IfMatch []int64 `json:"-"`
}

// texts pairs the plain fields of an update with those of a profile, FullName excepted.
func (u *Update) texts(p *profile.Profile) [6]struct {
	to   *string
	from *string
} {
	return [6]struct {
		to   *string
		from *string
	}{
		{&p.Nom, u.Nom}, {&p.Prenom, u.Prenom}, {&p.Avatar, u.Avatar},
		{&p.Matricule, u.Matricule}, {&p.Ministere, u.Ministere}, {&p.Sexe, u.Sexe},
	}
}

// apply returns old with u's fields, owning its strings. The full name goes on following the names unless it was, or is
// now, given separately.
func (u *Update) apply(old *profile.Profile) *profile.Profile {
	p := old.Clone()
	p.FullName = customName(p)
	for _, f := range u.texts(p) {
		if f.from != nil {
			*f.to = strings.Clone(*f.from)
		}
	}
	if u.FullName != nil {
		p.FullName = strings.Clone(*u.FullName)
	}
	p.Attrs = mergeAttrs(p.Attrs, u.Attrs)
	p.Complete()
	return p
}

func mergeAttrs(attrs map[string]string, changes map[string]*string) map[string]string {
	if attrs == nil && len(changes) > 0 {
		attrs = make(map[string]string, len(changes))
	}
	for k, v := range changes {
		if v == nil {
			delete(attrs, k)
			continue
		}
		attrs[strings.Clone(k)] = strings.Clone(*v)
	}
	if len(attrs) == 0 {
		return nil
	}
	return attrs
}

// customName returns p's full name when it is not the one that its names give, else "". Only such a name is stored.
func customName(p *profile.Profile) string {
	derived := profile.Profile{Nom: p.Nom, Prenom: p.Prenom}
	derived.Complete()
	if p.FullName == derived.FullName {
		return ""
	}
	return p.FullName
}

// matches reports whether a change conditional on ifMatch may be made to a user of this version.
func matches(ifMatch []int64, version int64) bool {
	return ifMatch == nil || slices.Contains(ifMatch, version)
}

// empty reports whether u changes nothing.
func (u *Update) empty() bool {
	p := new(profile.Profile)
	for _, f := range u.texts(p) {
		if f.from != nil {
			return false
		}
	}
	return u.FullName == nil && len(u.Attrs) == 0
}
