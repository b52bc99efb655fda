package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/internal/record"
)

// pruneRows bounds the rows that one transaction of Prune deletes, so that writers never wait long behind it.
const pruneRows = 2000

// undoTimeout bounds the end of a transaction that changes nothing.
const undoTimeout = 2 * time.Second

// userState is a user inside the transaction that holds the user's lock.
type userState struct {
	present *profile.Profile // nil: there is none
	deleted int64            // the version of the last deletion, 0: never
}

// Create implements Store.
func (s *Store) Create(ctx context.Context, p *profile.Profile) (source.Change, error) {
	if err := origin.CheckNewID(p.ID); err != nil {
		return source.Change{}, err
	}
	p = p.Clone()
	p.Complete()
	return s.change(ctx, p.ID, func(u userState) (source.Change, error) {
		if err := s.sql.users.checkID(p.ID); err != nil {
			return source.Change{}, err
		}
		if u.present != nil {
			return source.Change{}, fmt.Errorf("source: create %q: %w", p.ID, origin.ErrExists)
		}
		return s.put(profile.Created, p, u.deleted)
	})
}

// Update implements Store.
func (s *Store) Update(ctx context.Context, id string, u origin.Update) (source.Change, error) {
	return s.change(ctx, id, func(now userState) (source.Change, error) {
		if err := now.allows(id, u.IfMatch); err != nil {
			return source.Change{}, err
		}
		return s.put(profile.Updated, u.Apply(now.present), now.present.UpdatedAt)
	})
}

// Delete implements Store.
func (s *Store) Delete(ctx context.Context, id string, ifMatch []int64) (source.Change, error) {
	return s.change(ctx, id, func(now userState) (source.Change, error) {
		if err := now.allows(id, ifMatch); err != nil {
			return source.Change{}, err
		}
		version, err := source.NextVersion(s.now(), max(now.present.UpdatedAt, now.deleted))
		return source.Change{Kind: profile.Deleted, ID: now.present.ID, Version: version}, err
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

// put is the change that leaves the user as p.
func (s *Store) put(kind profile.Kind, p *profile.Profile, previous int64) (c source.Change, err error) {
	if p.UpdatedAt, err = source.NextVersion(s.now(), previous); err != nil {
		return source.Change{}, err
	}
	return source.Change{Kind: kind, ID: p.ID, Version: p.UpdatedAt, Profile: p}, record.Check(p)
}

// change makes one change of one user in a transaction of two round trips: the first takes the user's lock and reads, the
// second writes what decide made of that and commits.
//
// The lock is one on the id and not only on the row, because a user who was deleted has none: without it, a creation that
// waits for a deletion could take a version below the deletion's. It is held until the commit, so that the user's outbox
// rows get their numbers in the order of the commits.
func (s *Store) change(ctx context.Context, id string, decide func(userState) (source.Change, error)) (source.Change, error) {
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
	c, err := decide(state)
	if err != nil {
		return source.Change{}, errors.Join(err, undoPG(ctx, conn))
	}
	if c.Seq, err = s.commit(ctx, conn, &c); err != nil {
		return source.Change{}, errors.Join(brokenPG("write user", err), undoPG(ctx, conn))
	}
	s.bell.changed()
	return c, nil
}

// undoPG rolls back what a connection may have begun. When that does not work, releasing the connection closes it, which
// has the same effect; so its error is nobody's concern.
func undoPG(ctx context.Context, conn *pgxpool.Conn) error {
	if conn.Conn().PgConn().TxStatus() == 'I' || conn.Conn().IsClosed() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	_, _ = conn.Exec(ctx, "ROLLBACK")
	return nil
}

// lock begins the transaction and returns the user in it. An id that the table cannot have is a user who is not there.
func (s *Store) lock(ctx context.Context, conn *pgxpool.Conn, id string) (u userState, err error) {
	if !s.sql.users.hasID(id) {
		return userState{}, nil
	}
	b := new(pgx.Batch)
	b.Queue(beginPG)
	b.Queue(s.sql.lock, id)
	b.Queue(s.sql.current, id).QueryRow(func(row pgx.Row) error {
		u.present, err = scanUser(row)
		return absentIsNil(err)
	})
	b.Queue(s.sql.tombstone, id).QueryRow(func(row pgx.Row) error { return absentIsNil(row.Scan(&u.deleted)) })
	err = conn.SendBatch(ctx, b).Close()
	return u, err
}

func absentIsNil(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}

// commit writes the change and its outbox row, and returns that row's number once both are durable.
func (s *Store) commit(ctx context.Context, conn *pgxpool.Conn, c *source.Change) (seq int64, err error) {
	b := new(pgx.Batch)
	if err := s.queueRows(b, c); err != nil {
		return 0, err
	}
	b.Queue(s.sql.queue, int16(c.Kind), c.ID, c.Version, c.Packed(), s.now()).QueryRow(func(row pgx.Row) error {
		return row.Scan(&seq)
	})
	b.Queue("COMMIT").Exec(func(tag pgconn.CommandTag) error {
		if tag.String() != "COMMIT" { // the server's way to say that it rolled back instead
			return fmt.Errorf("the transaction ended with %s", tag)
		}
		return nil
	})
	return seq, conn.SendBatch(ctx, b).Close()
}

// queueRows adds the statements that change the user. A deletion writes its version before it removes the row: a bulk load,
// which holds up the first, then still sees the row and leaves the user alone.
func (s *Store) queueRows(b *pgx.Batch, c *source.Change) error {
	if c.Kind == profile.Deleted {
		b.Queue(s.sql.bury, c.ID, c.Version)
		b.Queue(s.sql.remove, c.ID)
		return nil
	}
	args, err := record.Args(c.Profile)
	if err != nil {
		return err
	}
	statement := s.sql.insert
	if c.Kind == profile.Updated {
		statement = s.sql.update
	}
	b.Queue(statement, args...)
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
