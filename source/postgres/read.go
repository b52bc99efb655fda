package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// Get implements Store.
func (s *Store) Get(ctx context.Context, id string) (*profile.Profile, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if !s.sql.users.hasID(id) {
		return nil, unknownUser(id)
	}
	p, err := scanUser(s.pool.QueryRow(ctx, s.sql.one, id))
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, unknownUser(id)
	case err != nil:
		return nil, brokenPG("read user", err)
	}
	return p, nil
}

func unknownUser(id string) error { return fmt.Errorf("source: user %q: %w", id, profile.ErrNotFound) }

// GetBatch implements Store.
func (s *Store) GetBatch(ctx context.Context, ids []string) (map[string]*profile.Profile, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	possible := make([]string, 0, len(ids))
	for _, id := range ids {
		if s.sql.users.hasID(id) {
			possible = append(possible, id)
		}
	}
	found := make(map[string]*profile.Profile, len(possible))
	err := s.eachUser(ctx, func(p *profile.Profile) { found[p.ID] = p }, s.sql.batch, possible)
	return found, brokenPG("read batch", err)
}

// Page implements Store.
func (s *Store) Page(ctx context.Context, after string, limit int) ([]*profile.Profile, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	page := make([]*profile.Profile, 0, min(limit, origin.MaxBatch))
	err := s.eachUser(ctx, func(p *profile.Profile) { page = append(page, p) }, s.sql.page, after, limit)
	return page, brokenPG("read page", err)
}

// Deleted implements Store.
func (s *Store) Deleted(ctx context.Context, ids []string) (map[string]bool, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, "SELECT id FROM edgecache_deleted WHERE id = ANY($1::text[])", ids)
	if err != nil {
		return nil, brokenPG("read deleted users", err)
	}
	deleted := map[string]bool{}
	var id string
	_, err = pgx.ForEachRow(rows, []any{&id}, func() error {
		deleted[id] = true
		return nil
	})
	return deleted, brokenPG("read deleted users", err)
}

// Count implements Store.
func (s *Store) Count(ctx context.Context) (n int64, err error) {
	if err := s.check(); err != nil {
		return 0, err
	}
	err = s.pool.QueryRow(ctx, s.sql.count).Scan(&n)
	return n, brokenPG("count users", err)
}

func (s *Store) eachUser(ctx context.Context, visit func(*profile.Profile), query string, args ...any) error {
	rows, err := s.pool.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		p, err := scanUser(rows)
		if err != nil {
			return err
		}
		visit(p)
	}
	return rows.Err()
}

// userRow is a row of the table as it is read.
type userRow struct {
	profile.Profile
	fullName, attrs *string
}

// places are where the columns of a row go, in their order.
func (r *userRow) places() []any {
	return []any{&r.ID, &r.Nom, &r.Prenom, &r.fullName, &r.Avatar, &r.Matricule, &r.Ministere, &r.Sexe, &r.attrs, &r.UpdatedAt}
}

// user is the row as a profile. In a table that others write to, attributes may be numbers or true
// and false; those become texts.
func (r *userRow) user() *profile.Profile {
	p := &r.Profile
	if r.fullName != nil {
		p.FullName = *r.fullName
	}
	p.Complete()
	if r.attrs != nil && json.Unmarshal([]byte(*r.attrs), &p.Attrs) != nil {
		p.Attrs = profile.LooseAttrs([]byte(*r.attrs))
	}
	if len(p.Attrs) == 0 {
		p.Attrs = nil
	}
	return p
}

// scanUser reads one row.
func scanUser(row pgx.Row) (*profile.Profile, error) {
	r := new(userRow)
	if err := row.Scan(r.places()...); err != nil {
		return nil, err
	}
	return r.user(), nil
}

// decodeRow reads a row that the database wrote as a JSON array.
func decodeRow(packed []byte) (*profile.Profile, error) {
	r := new(userRow)
	places := r.places()
	if err := json.Unmarshal(packed, &places); err != nil {
		return nil, err
	}
	if len(places) != len(fieldNames) {
		return nil, fmt.Errorf("a row of %d columns; want %d", len(places), len(fieldNames))
	}
	return r.user(), nil
}
