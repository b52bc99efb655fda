package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/internal/record"
)

const (
	// bulkPart and bulkPartBytes bound the users that are held in memory at once.
	bulkPart      = 20_000
	bulkPartBytes = 8 << 20
)

// BulkLoad implements Store: by COPY straight into the users' table while all of them are new, else
// into a temporary table and from there. Deletions wait until it is through, other changes do not.
func (s *Store) BulkLoad(ctx context.Context, users iter.Seq[*profile.Profile]) (n int64, err error) {
	if err := s.check(); err != nil {
		return 0, err
	}
	tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite})
	if err != nil {
		return 0, brokenPG("begin bulk load", err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	b := &bulkLoad{store: s, tx: tx, now: s.now()}
	if err := b.begin(ctx); err != nil {
		return 0, err
	}
	if n, err = b.all(ctx, users); err != nil {
		return 0, err
	}
	if err := tx.Commit(ctx); err != nil {
		return 0, brokenPG("commit bulk load", err)
	}
	s.bell.changed()
	return n, nil
}

// bulkLoad is one load, in its transaction.
type bulkLoad struct {
	store *Store
	tx    pgx.Tx
	now   int64
	// direct says that users may go straight into their table: its columns have the types of what
	// is copied, and no deleted user's version must be looked up.
	direct bool
}

// begin keeps deletions out from before their versions are read until the users are there.
func (b *bulkLoad) begin(ctx context.Context) error {
	if _, err := b.tx.Exec(ctx, "SELECT "+ownSetting+"; LOCK TABLE edgecache_deleted IN SHARE MODE"); err != nil {
		return brokenPG("begin bulk load", err)
	}
	if !b.store.sql.users.plain() {
		return nil
	}
	err := b.tx.QueryRow(ctx, "SELECT NOT EXISTS (SELECT FROM edgecache_deleted)").Scan(&b.direct)
	return brokenPG("begin bulk load", err)
}

func (b *bulkLoad) all(ctx context.Context, users iter.Seq[*profile.Profile]) (n int64, err error) {
	next, stop := iter.Pull(users)
	defer stop()
	for more := true; more; {
		var part [][]any
		if part, more, err = b.collect(next); err != nil {
			return 0, err
		}
		if len(part) == 0 {
			continue
		}
		added, err := b.load(ctx, part)
		if err == nil {
			err = b.queue(ctx, added)
		}
		if err != nil {
			return 0, err
		}
		n += int64(len(added))
	}
	return n, nil
}

// collect takes the next users as rows. A panic of the sequence is an error: the transaction must
// end.
func (b *bulkLoad) collect(next func() (*profile.Profile, bool)) (part [][]any, more bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("source: load users: %w: panic: %v", origin.ErrInternal, p)
		}
	}()
	for size := 0; len(part) < bulkPart && size < bulkPartBytes; {
		p, ok := next()
		if !ok {
			return part, false, nil
		}
		row, err := b.rowOf(p)
		if err != nil {
			return nil, false, err
		}
		part = append(part, row)
		size += rowSize(row)
	}
	return part, true, nil
}

// rowSize is about what the texts of a row take in memory.
func rowSize(row []any) (n int) {
	for _, v := range row {
		if text, ok := v.(string); ok {
			n += len(text)
		}
	}
	return n
}

func (b *bulkLoad) rowOf(p *profile.Profile) ([]any, error) {
	row := *p
	if row.UpdatedAt == 0 {
		row.UpdatedAt = b.now
	}
	row.Complete()
	if err := errors.Join(origin.CheckNewID(row.ID), b.store.sql.users.checkID(row.ID), record.Check(&row),
		b.store.sql.users.refuseNew(&row)); err != nil {
		return nil, err
	}
	return record.Args(&row)
}

// queue writes the outbox rows that announce users.
func (b *bulkLoad) queue(ctx context.Context, added []string) error {
	rows := new(pgx.Batch)
	for ids := range slices.Chunk(added, source.ImportedIDs) {
		c := source.ImportedRow(ids, b.now)
		rows.Queue(b.store.sql.queue, int16(c.Kind), c.ID, c.Version, c.Packed(), b.now)
	}
	return brokenPG("write outbox", b.tx.SendBatch(ctx, rows).Close())
}

// load adds those of a part who are not there, and returns their ids. Once one of them was, the
// rest of the load takes the slower way.
func (b *bulkLoad) load(ctx context.Context, part [][]any) (added []string, err error) {
	if b.direct {
		err := b.copyDirect(ctx, part)
		if err == nil {
			for _, row := range part {
				added = append(added, row[atID].(string))
			}
			return added, nil
		}
		if !isUniqueViolation(err) {
			return nil, brokenPG("load users", err)
		}
		b.direct = false
	}
	if _, err := b.tx.Exec(ctx, b.store.sql.stage); err != nil {
		return nil, brokenPG("begin bulk load", err)
	}
	if _, err := b.tx.CopyFrom(ctx, pgx.Identifier{"edgecache_load"}, strings.Split(record.Columns, ", "), pgx.CopyFromRows(part)); err != nil {
		return nil, brokenPG("copy users", err)
	}
	rows, err := b.tx.Query(ctx, b.store.sql.load)
	if err != nil {
		return nil, brokenPG("load users", err)
	}
	added, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return added, brokenPG("load users", err)
}

// copyDirect copies a part into the users' table. When that fails the transaction is as before.
func (b *bulkLoad) copyDirect(ctx context.Context, part [][]any) error {
	inner, err := b.tx.Begin(ctx)
	if err != nil {
		return err
	}
	defer inner.Rollback(context.WithoutCancel(ctx)) // nothing after Commit
	table, err := b.store.cfg.Users.identifier()
	if err != nil {
		return err
	}
	if _, err := inner.CopyFrom(ctx, table, b.store.cfg.Users.columns(), pgx.CopyFromRows(part)); err != nil {
		return err
	}
	return inner.Commit(ctx)
}

func isUniqueViolation(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == "23505"
}
