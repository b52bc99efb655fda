package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chatapp-ngomna/edgecache/internal/life"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/internal/record"
)

// pruneRows bounds the rows that one transaction of Prune deletes, so that writers never wait long
// behind it.
const pruneRows = 2000

// undoTimeout bounds the end of a transaction that changes nothing.
const undoTimeout = 2 * time.Second

// userState is a user inside the transaction that holds the user's lock.
type userState struct {
	present *profile.Profile // nil: there is none
	deleted int64            // the version of the last deletion, 0: never
	now     int64            // the clock that the next version comes from
}

// Create implements Store. An empty id is left to the database where that makes ids.
func (s *Store) Create(ctx context.Context, p *profile.Profile) (source.Change, error) {
	if p.ID != "" || !s.MakesIDs() {
		if err := origin.CheckNewID(p.ID); err != nil {
			return source.Change{}, err
		}
	}
	p = p.Clone()
	p.Complete()
	return s.change(ctx, p.ID, func(u userState) (edit, error) {
		if p.ID != "" {
			if err := s.sql.users.checkID(p.ID); err != nil {
				return edit{}, err
			}
		}
		if u.present != nil {
			return edit{}, fmt.Errorf("source: create %q: %w", p.ID, origin.ErrExists)
		}
		if err := s.sql.users.refuseNew(p); err != nil {
			return edit{}, err
		}
		return s.put(profile.Created, u, p)
	})
}

// MakesIDs reports whether the database gives an id to a user who is created without one, as a
// serial does.
func (s *Store) MakesIDs() bool { return s.check() == nil && s.sql.users.makesIDs }

// Update implements Store. Columns whose fields stay as they are are not written.
func (s *Store) Update(ctx context.Context, id string, up origin.Update) (source.Change, error) {
	return s.change(ctx, id, func(u userState) (edit, error) {
		if err := u.allows(id, up.IfMatch); err != nil {
			return edit{}, err
		}
		if err := s.sql.users.refuse(u.present, &up); err != nil {
			return edit{}, err
		}
		return s.put(profile.Updated, u, up.Apply(u.present))
	})
}

// Delete implements Store.
func (s *Store) Delete(ctx context.Context, id string, ifMatch []int64) (source.Change, error) {
	return s.change(ctx, id, func(u userState) (edit, error) {
		if err := u.allows(id, ifMatch); err != nil {
			return edit{}, err
		}
		version, err := source.NextVersion(u.now, u.floor())
		return edit{kind: profile.Deleted, before: u.present, version: version}, err
	})
}

// allows returns nil when the user is there with one of the versions.
func (u userState) allows(id string, ifMatch []int64) error {
	switch {
	case u.present == nil:
		return unknownUser(id)
	case !source.Matches(ifMatch, u.present.UpdatedAt):
		return fmt.Errorf("source: user %q has version %d: %w", id, u.present.UpdatedAt, origin.ErrVersion)
	}
	return nil
}

// floor is the highest version that the user ever had.
func (u userState) floor() int64 {
	if u.present == nil {
		return u.deleted
	}
	return max(u.present.UpdatedAt, u.deleted)
}

// edit is what a change makes of a user.
type edit struct {
	kind    profile.Kind
	before  *profile.Profile // nil when there was none
	after   *profile.Profile // nil when there is none any more
	version int64
	floor   int64 // the version that the row gets must be above it
}

// put is the edit that leaves the user as p.
func (s *Store) put(kind profile.Kind, u userState, p *profile.Profile) (e edit, err error) {
	if p.UpdatedAt, err = source.NextVersion(u.now, u.floor()); err != nil {
		return edit{}, err
	}
	e = edit{kind: kind, before: u.present, after: p, version: p.UpdatedAt, floor: u.floor()}
	if p.ID == "" {
		return e, checkWithoutID(*p)
	}
	return e, record.Check(p)
}

// checkWithoutID is record.Check for a user whose id the database will make.
func checkWithoutID(p profile.Profile) error {
	p.ID = "0"
	return record.Check(&p)
}

const (
	// staleTries bounds how often a change is made whose row got a version that is not above the
	// one before.
	staleTries = 8
	// staleMax bounds the pause between two tries.
	staleMax = 128 * time.Millisecond
)

// errStale is a row whose version is not above the one before: a trigger of the table set it, from
// the time at which the transaction began (while another held the user), or from a clock that is
// behind.
var errStale = fmt.Errorf("%w: a trigger of the table gives the user a version that is not above the one before; "+
	"is the database's clock behind?", profile.ErrUnavailable)

// change makes one change of one user. When a trigger of the table gave the row a version that does
// not grow, nothing was written, and a later transaction gets a later time.
func (s *Store) change(ctx context.Context, id string, decide func(userState) (edit, error)) (c source.Change, err error) {
	for try := 1; ; try++ {
		c, err = s.changeOnce(ctx, id, decide)
		if !errors.Is(err, errStale) || try == staleTries || !life.Wait(ctx, min(staleMax, time.Millisecond<<try)) {
			return c, err
		}
	}
}

// changeOnce makes the change in a transaction of two round trips: the first takes the user's lock
// and reads, the second writes what decide made of that and commits.
//
// The lock is one on the id and not only on the row, because a user who was deleted has none:
// without it, a creation that waits for a deletion could take a version below the deletion's. It is
// held until the commit, so that the user's outbox rows get their numbers in the order of the
// commits.
func (s *Store) changeOnce(ctx context.Context, id string, decide func(userState) (edit, error)) (source.Change, error) {
	if err := s.check(); err != nil {
		return source.Change{}, err
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return source.Change{}, brokenPG("reach the database", err)
	}
	defer conn.Release()
	state, err := s.lock(ctx, conn, id)
	if err != nil {
		return source.Change{}, errors.Join(brokenPG("read user", err), undoPG(ctx, conn))
	}
	e, err := decide(state)
	if err != nil {
		return source.Change{}, errors.Join(err, undoPG(ctx, conn))
	}
	c, err := s.commit(ctx, conn, e)
	if err != nil {
		return source.Change{}, errors.Join(s.refused(err), undoPG(ctx, conn))
	}
	s.bell.changed()
	return c, nil
}

// refused tells why the database did not take a change.
func (s *Store) refused(err error) error {
	e, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("source: write user: %w: the table changed no row and said nothing; "+
			"a trigger or a policy keeps it from that", origin.ErrInternal)
	case ok && e.Code == divisionByZero:
		return fmt.Errorf("source: write user: %w", errStale)
	case ok && e.Code == "23502" && e.ColumnName != "":
		field, detail := s.sql.users.fieldOf(e.ColumnName), "the table's column "+e.ColumnName+" needs a value"
		return origin.FieldErrors{{Field: field, Detail: detail}}
	}
	return brokenPG("write user", err)
}

// undoPG rolls back what a connection may have begun. When that does not work, releasing the
// connection closes it, which has the same effect; so its error is nobody's concern.
func undoPG(ctx context.Context, conn *pgxpool.Conn) error {
	if conn.Conn().PgConn().TxStatus() == 'I' || conn.Conn().IsClosed() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	_, _ = conn.Exec(ctx, "ROLLBACK")
	return nil
}

// lock begins the transaction and returns the user in it. An id that the table cannot have is a
// user who is not there.
func (s *Store) lock(ctx context.Context, conn *pgxpool.Conn, id string) (u userState, err error) {
	u.now = s.now()
	if id != "" && !s.sql.users.hasID(id) {
		return u, nil
	}
	b := new(pgx.Batch)
	b.Queue(beginPG)
	if id == "" {
		b.Queue("SELECT " + ownSetting)
	} else {
		b.Queue(s.sql.lock, id)
		b.Queue(s.sql.current, id).QueryRow(func(row pgx.Row) error {
			u.present, err = scanUser(row)
			return absentIsNil(err)
		})
		b.Queue(s.sql.tombstone, id).QueryRow(func(row pgx.Row) error { return absentIsNil(row.Scan(&u.deleted)) })
	}
	if s.sql.users.stamped { // versions by two clocks would not grow
		b.Queue(s.sql.clock).QueryRow(func(row pgx.Row) error { return row.Scan(&u.now) })
	}
	err = conn.SendBatch(ctx, b).Close()
	return u, err
}

func absentIsNil(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}

// commit writes the change and its outbox row, and returns it as the row has it once both are
// durable.
func (s *Store) commit(ctx context.Context, conn *pgxpool.Conn, e edit) (c source.Change, err error) {
	b := new(pgx.Batch)
	if err := s.queueRows(b, e, &c); err != nil {
		return source.Change{}, err
	}
	b.Queue("COMMIT").Exec(func(tag pgconn.CommandTag) error {
		if tag.String() != "COMMIT" { // the server's way to say that it rolled back instead
			return fmt.Errorf("the transaction ended with %s", tag)
		}
		return nil
	})
	return c, conn.SendBatch(ctx, b).Close()
}

// queueRows adds the statements that change the user, and has them fill c. A deletion writes its
// version before it removes the row: a bulk load, which holds up the first, then still sees the row
// and leaves the user alone.
func (s *Store) queueRows(b *pgx.Batch, e edit, c *source.Change) error {
	st := newStatement(e.kind, s.now())
	if e.kind == profile.Deleted {
		b.Queue(s.sql.bury, e.before.ID, e.version)
	}
	text, err := s.sql.users.editing(st, e)
	if err != nil {
		return err
	}
	b.Queue(text, st.args...).QueryRow(func(row pgx.Row) error {
		var packed []byte
		*c = source.Change{Kind: e.kind}
		if err := row.Scan(&c.Seq, &c.ID, &c.Version, &packed); err != nil || e.after == nil {
			return err
		}
		c.Profile, err = decodeRow(packed)
		return err
	})
	return nil
}

// Probe implements Store: it writes the schema's version as it is.
func (s *Store) Probe(ctx context.Context) error {
	if err := s.check(); err != nil {
		return err
	}
	_, err := s.pool.Exec(ctx, "UPDATE edgecache_schema SET version = version")
	return brokenPG("probe", err)
}

// Prune implements Outbox, a few thousand rows at a time.
func (s *Store) Prune(ctx context.Context, t time.Time) (total int64, err error) {
	if err := s.check(); err != nil {
		return 0, err
	}
	for {
		tag, err := s.pool.Exec(ctx, s.sql.prune, t.UnixMilli(), pruneRows)
		total += tag.RowsAffected()
		if err != nil || tag.RowsAffected() < pruneRows {
			return total, brokenPG("prune outbox", err)
		}
	}
}
