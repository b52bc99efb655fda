package origin

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// BulkLoad implements Store: COPY into a temporary table, and from there into the users'. Deletions wait until it is
// through, other changes do not.
func (s *Postgres) BulkLoad(ctx context.Context, users iter.Seq[*profile.Profile]) (n int64, err error) {
	if err := s.check(); err != nil {
		return 0, err
	}
	tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite})
	if err != nil {
		return 0, brokenPG("begin bulk load", err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	if n, err = s.bulkLoad(ctx, tx, users); err != nil {
		return 0, err
	}
	if err := tx.Commit(ctx); err != nil {
		return 0, brokenPG("commit bulk load", err)
	}
	return n, nil
}

// bulkLoad keeps deletions out from before it reads their versions until the users are there.
func (s *Postgres) bulkLoad(ctx context.Context, tx pgx.Tx, users iter.Seq[*profile.Profile]) (int64, error) {
	if _, err := tx.Exec(ctx, "LOCK TABLE edgecache_deleted IN SHARE MODE; "+s.sql.stage); err != nil {
		return 0, brokenPG("begin bulk load", err)
	}
	rows := newBulkRows(users, s.now(), s.sql.users)
	defer rows.stop()
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"edgecache_load"}, strings.Split(columns, ", "), rows)
	if rows.err != nil { // err is what the server makes of it
		return 0, rows.err
	}
	if err != nil {
		return 0, brokenPG("copy users", err)
	}
	tag, err := tx.Exec(ctx, s.sql.load)
	if err != nil {
		return 0, brokenPG("load users", err)
	}
	return tag.RowsAffected(), nil
}

// bulkRows is a sequence of users as rows to copy.
type bulkRows struct {
	next func() (*profile.Profile, bool)
	stop func()
	now  int64
	ids  *usersTable
	row  []any
	err  error
}

func newBulkRows(users iter.Seq[*profile.Profile], now int64, ids *usersTable) *bulkRows {
	r := &bulkRows{now: now, ids: ids}
	r.next, r.stop = iter.Pull(users)
	return r
}

// Next implements pgx.CopyFromSource. It is called from a goroutine of the driver's, where a panic of the sequence would
// end the process.
func (r *bulkRows) Next() (more bool) {
	defer func() {
		if p := recover(); p != nil {
			r.err, more = broken("load users", fmt.Errorf("panic: %v", p)), false
		}
	}()
	p, ok := r.next()
	if !ok || r.err != nil {
		return false
	}
	r.row, r.err = r.rowOf(p)
	return r.err == nil
}

func (r *bulkRows) rowOf(p *profile.Profile) ([]any, error) {
	row := *p
	if row.UpdatedAt == 0 {
		row.UpdatedAt = r.now
	}
	row.Complete()
	if err := errors.Join(CheckNewID(row.ID), r.ids.checkID(row.ID), checkStorable(&row)); err != nil {
		return nil, err
	}
	return rowArgs(&row)
}

// Values implements pgx.CopyFromSource.
func (r *bulkRows) Values() ([]any, error) { return r.row, r.err }

// Err implements pgx.CopyFromSource.
func (r *bulkRows) Err() error { return r.err }
