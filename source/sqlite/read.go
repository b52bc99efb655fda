package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source/internal/record"
)

// readStatements are prepared once; database/sql prepares them again on each reading connection.
type readStatements struct {
	one, batch, page, count                 *sql.Stmt
	deleted                                 *sql.Stmt
	undone, undoneOf, undoneNewest, backlog *sql.Stmt
}

func prepareReads(ctx context.Context, db *sql.DB) (*readStatements, error) {
	r := new(readStatements)
	for _, q := range []struct {
		to   **sql.Stmt
		text string
	}{
		{&r.one, "SELECT " + record.Columns + " FROM personnel WHERE id = ?"},
		{&r.batch, "SELECT " + record.Columns + " FROM personnel WHERE id IN (SELECT value FROM json_each(?))"},
		{&r.page, "SELECT " + record.Columns + " FROM personnel WHERE id > ? ORDER BY id LIMIT ?"},
		{&r.count, "SELECT count(*) FROM personnel"},
		{&r.deleted, "SELECT id FROM personnel_deleted WHERE id IN (SELECT value FROM json_each(?))"},
		{&r.undone, `SELECT seq, kind, user_id, version, profile FROM outbox WHERE done_at IS NULL
			AND user_id NOT IN (SELECT value FROM json_each(?)) ORDER BY seq LIMIT ?`},
		{&r.undoneOf, `SELECT seq, kind, user_id, version, profile FROM outbox WHERE done_at IS NULL
			AND user_id IN (SELECT value FROM json_each(?)) ORDER BY seq LIMIT ?`},
		{&r.undoneNewest, `SELECT seq, kind, user_id, version, profile FROM outbox WHERE done_at IS NULL AND user_id IN
			(SELECT user_id FROM outbox WHERE done_at IS NULL AND user_id NOT IN (SELECT value FROM json_each(?1))
				ORDER BY seq DESC LIMIT ?2) ORDER BY seq LIMIT ?2`},
		{&r.backlog, "SELECT count(*), coalesce(min(committed_at), 0) FROM outbox WHERE done_at IS NULL"},
	} {
		stmt, err := db.PrepareContext(ctx, q.text)
		if err != nil {
			return nil, fmt.Errorf("prepare %q: %w", q.text, err)
		}
		*q.to = stmt
	}
	return r, nil
}

// Get implements Store.
func (s *Store) Get(ctx context.Context, id string) (*profile.Profile, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	p, err := record.Scan(s.reads.one.QueryRowContext(ctx, id))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, fmt.Errorf("source: user %q: %w", id, profile.ErrNotFound)
	case err != nil:
		return nil, broken("read user", err)
	}
	return p, nil
}

// GetBatch implements Store.
func (s *Store) GetBatch(ctx context.Context, ids []string) (map[string]*profile.Profile, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	rows, err := s.reads.batch.QueryContext(ctx, string(list))
	if err != nil {
		return nil, broken("read batch", err)
	}
	found := make(map[string]*profile.Profile, len(ids))
	err = record.Each(rows, func(p *profile.Profile) { found[p.ID] = p })
	return found, broken("read batch", err)
}

// Page implements Store.
func (s *Store) Page(ctx context.Context, after string, limit int) ([]*profile.Profile, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	rows, err := s.reads.page.QueryContext(ctx, after, limit)
	if err != nil {
		return nil, broken("read page", err)
	}
	page := make([]*profile.Profile, 0, min(limit, origin.MaxBatch))
	err = record.Each(rows, func(p *profile.Profile) { page = append(page, p) })
	return page, broken("read page", err)
}

// Count implements Store.
func (s *Store) Count(ctx context.Context) (int64, error) {
	if err := s.check(); err != nil {
		return 0, err
	}
	var n int64
	err := s.reads.count.QueryRowContext(ctx).Scan(&n)
	return n, broken("count users", err)
}

// Deleted implements Store.
func (s *Store) Deleted(ctx context.Context, ids []string) (map[string]bool, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	rows, err := s.reads.deleted.QueryContext(ctx, string(list))
	if err != nil {
		return nil, broken("read deleted users", err)
	}
	defer rows.Close()
	deleted := map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, broken("read deleted users", err)
		}
		deleted[id] = true
	}
	return deleted, broken("read deleted users", rows.Err())
}
