package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/internal/record"
)

// pruneStep bounds the rows that one transaction of Prune deletes, so that writers never wait long
// behind it.
const pruneStep = 2000

// write has the writer run fn.
func (s *Store) write(ctx context.Context, fn func(*sqliteWriter) error) error {
	if err := s.check(); err != nil {
		return err
	}
	return s.writer.do(ctx, s.writer.writes, func() error { return fn(s.writer) })
}

// Create implements Store.
func (s *Store) Create(ctx context.Context, p *profile.Profile) (c source.Change, err error) {
	if err := origin.CheckNewID(p.ID); err != nil {
		return source.Change{}, err
	}
	p = p.Clone()
	p.Complete()
	err = s.write(ctx, func(w *sqliteWriter) error {
		c, err = w.create(p.Clone())
		return err
	})
	return c, err
}

// Update implements Store.
func (s *Store) Update(ctx context.Context, id string, u origin.Update) (c source.Change, err error) {
	err = s.write(ctx, func(w *sqliteWriter) error {
		c, err = w.update(id, &u)
		return err
	})
	return c, err
}

// Delete implements Store.
func (s *Store) Delete(ctx context.Context, id string, ifMatch []int64) (c source.Change, err error) {
	err = s.write(ctx, func(w *sqliteWriter) error {
		c, err = w.delete(id, ifMatch)
		return err
	})
	return c, err
}

func (w *sqliteWriter) create(p *profile.Profile) (source.Change, error) {
	var present, deleted sql.NullInt64
	err := w.stmts.versions.QueryRowContext(context.Background(), p.ID).Scan(&present, &deleted)
	if err != nil {
		return source.Change{}, broken("read versions", err)
	}
	if present.Valid {
		return source.Change{}, fmt.Errorf("source: create %q: %w", p.ID, origin.ErrExists)
	}
	if p.UpdatedAt, err = source.NextVersion(w.now(), deleted.Int64); err != nil {
		return source.Change{}, err
	}
	return w.put(w.stmts.insert, profile.Created, p)
}

func (w *sqliteWriter) update(id string, u *origin.Update) (source.Change, error) {
	old, err := w.current(id, u.IfMatch)
	if err != nil {
		return source.Change{}, err
	}
	p := u.Apply(old)
	if p.UpdatedAt, err = source.NextVersion(w.now(), old.UpdatedAt); err != nil {
		return source.Change{}, err
	}
	return w.put(w.stmts.update, profile.Updated, p)
}

// put executes stmt with p's row and queues the change.
func (w *sqliteWriter) put(stmt *sql.Stmt, kind profile.Kind, p *profile.Profile) (source.Change, error) {
	if err := record.Check(p); err != nil {
		return source.Change{}, err
	}
	row, err := record.Args(p)
	if err != nil {
		return source.Change{}, err
	}
	if err := w.exec(stmt, row...); err != nil {
		return source.Change{}, broken("write user", err)
	}
	return w.queue(source.Change{Kind: kind, ID: p.ID, Version: p.UpdatedAt, Profile: p})
}

func (w *sqliteWriter) delete(id string, ifMatch []int64) (source.Change, error) {
	old, err := w.current(id, ifMatch)
	if err != nil {
		return source.Change{}, err
	}
	version, err := source.NextVersion(w.now(), old.UpdatedAt)
	if err != nil {
		return source.Change{}, err
	}
	if err := w.exec(w.stmts.remove, id); err != nil {
		return source.Change{}, broken("delete user", err)
	}
	if err := w.exec(w.stmts.tombstone, old.ID, version); err != nil {
		return source.Change{}, broken("keep version of deleted user", err)
	}
	return w.queue(source.Change{Kind: profile.Deleted, ID: old.ID, Version: version})
}

// current returns the user as it is inside the transaction, if its version is one of ifMatch.
func (w *sqliteWriter) current(id string, ifMatch []int64) (*profile.Profile, error) {
	p, err := record.Scan(w.stmts.one.QueryRowContext(context.Background(), id))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, fmt.Errorf("source: user %q: %w", id, profile.ErrNotFound)
	case err != nil:
		return nil, broken("read user", err)
	case !source.Matches(ifMatch, p.UpdatedAt):
		return nil, fmt.Errorf("source: user %q has version %d: %w", id, p.UpdatedAt, origin.ErrVersion)
	}
	return p, nil
}

// queue writes the outbox row of c and returns c with its Seq.
func (w *sqliteWriter) queue(c source.Change) (source.Change, error) {
	res, err := w.stmts.queue.ExecContext(context.Background(), int64(c.Kind), c.ID, c.Version, c.Packed(), w.now())
	if err != nil {
		return source.Change{}, broken("write outbox", err)
	}
	if c.Seq, err = res.LastInsertId(); err != nil {
		return source.Change{}, broken("write outbox", err)
	}
	return c, nil
}

// BulkLoad implements Store. Other writers wait until it is through.
func (s *Store) BulkLoad(ctx context.Context, users iter.Seq[*profile.Profile]) (n int64, err error) {
	if err := s.check(); err != nil {
		return 0, err
	}
	// users may be an iterator that runs only once
	err = s.writer.do(ctx, s.writer.alone, func() error {
		n, err = s.writer.bulkLoad(ctx, users)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// bulkLoad makes every error one that undoes the transaction, since rows were written before it.
func (w *sqliteWriter) bulkLoad(ctx context.Context, users iter.Seq[*profile.Profile]) (n int64, err error) {
	now := w.now()
	var added []string
	for p := range users {
		if n%1024 == 0 && ctx.Err() != nil {
			return 0, undoFor{context.Cause(ctx)}
		}
		isNew, err := w.addRow(p, now)
		if err != nil {
			return 0, undoFor{err}
		}
		if !isNew {
			continue
		}
		n++
		if added = append(added, p.ID); len(added) < source.ImportedIDs {
			continue
		}
		if _, err := w.queue(source.ImportedRow(added, now)); err != nil {
			return 0, err
		}
		added = added[:0]
	}
	if len(added) > 0 {
		_, err = w.queue(source.ImportedRow(added, now))
	}
	return n, err
}

// undoFor makes the writer undo the transaction and hands err to the caller.
type undoFor struct{ err error }

func (u undoFor) Error() string        { return u.err.Error() }
func (u undoFor) Unwrap() error        { return u.err }
func (u undoFor) Is(target error) bool { return target == origin.ErrInternal }

// addRow inserts p unless the user exists, and reports whether it did.
func (w *sqliteWriter) addRow(p *profile.Profile, now int64) (bool, error) {
	row := *p
	if row.UpdatedAt == 0 {
		row.UpdatedAt = now
	}
	row.Complete()
	if err := errors.Join(origin.CheckNewID(row.ID), record.Check(&row)); err != nil {
		return false, err
	}
	args, err := record.Args(&row)
	if err != nil {
		return false, err
	}
	res, err := w.stmts.bulk.ExecContext(context.Background(), args...)
	if err != nil {
		return false, broken("load user", err)
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// Probe implements Store: it writes the schema's version as it is.
func (s *Store) Probe(ctx context.Context) error {
	return s.write(ctx, func(w *sqliteWriter) error { return broken("probe", w.exec(w.stmts.probe)) })
}

// Prune implements Outbox, a few thousand rows at a time.
func (s *Store) Prune(ctx context.Context, t time.Time) (total int64, err error) {
	for {
		var n int64
		err := s.write(ctx, func(w *sqliteWriter) error {
			res, err := w.stmts.prune.ExecContext(context.Background(), t.UnixMilli(), pruneStep)
			if err == nil {
				n, err = res.RowsAffected()
			}
			return broken("prune outbox", err)
		})
		total += n
		if err != nil || n < pruneStep {
			return total, err
		}
	}
}
