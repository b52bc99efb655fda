package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
)

// sqliteClaim has its users to itself; with a single process there is nobody else to share with.
type sqliteClaim struct {
	store   *Store
	changes []source.Change
	users   []string
}

// claimedUsers are the users of the open claims.
type claimedUsers struct {
	mu  sync.Mutex // held while a claim is made, so that claims see each other's users
	ids map[string]struct{}
}

// Claim implements Outbox.
func (s *Store) Claim(ctx context.Context, w source.Want) (source.Claim, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	s.claimed.mu.Lock()
	defer s.claimed.mu.Unlock()
	for id := range s.claimed.ids {
		w.Except = append(slices.Clip(w.Except), id)
		w.Users = slices.DeleteFunc(slices.Clone(w.Users), func(user string) bool { return user == id })
	}
	changes, err := s.undone(ctx, w)
	if err != nil {
		return nil, broken("read outbox", err)
	}
	c := &sqliteClaim{store: s, changes: changes}
	for _, change := range changes {
		if _, ok := s.claimed.ids[change.ID]; !ok {
			s.claimed.ids[change.ID] = struct{}{}
			c.users = append(c.users, change.ID)
		}
	}
	return c, nil
}

// undone reads the rows. Those that were announced and are not yet marked so are left out.
func (s *Store) undone(ctx context.Context, w source.Want) ([]source.Change, error) {
	announced := s.marks.snapshot() // before the query, see there
	read, list := s.reads.undone, w.Except
	switch {
	case w.Users != nil:
		read, list = s.reads.undoneOf, w.Users
	case w.Newest:
		read = s.reads.undoneNewest
	}
	if list == nil {
		list = []string{}
	}
	text, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	rows, err := read.QueryContext(ctx, string(text), w.Limit+len(announced))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var changes []source.Change
	for rows.Next() && len(changes) < w.Limit {
		c, err := scanChange(rows)
		if err != nil {
			return nil, err
		}
		if _, ok := announced[c.Seq]; !ok {
			changes = append(changes, c)
		}
	}
	return changes, rows.Err()
}

func scanChange(rows *sql.Rows) (source.Change, error) {
	var c source.Change
	var packed []byte
	if err := rows.Scan(&c.Seq, &c.Kind, &c.ID, &c.Version, &packed); err != nil {
		return source.Change{}, err
	}
	c.Unpack(packed)
	return c, nil
}

// Changes implements Claim.
func (c *sqliteClaim) Changes() []source.Change { return c.changes }

// Done implements Claim. The marks are committed with the next change, or by themselves within
// markDelay.
func (c *sqliteClaim) Done(_ context.Context, seqs []int64) error {
	c.store.marks.add(seqs)
	return nil
}

// Close implements Claim.
func (c *sqliteClaim) Close() error {
	c.store.claimed.mu.Lock()
	defer c.store.claimed.mu.Unlock()
	for _, id := range c.users {
		delete(c.store.claimed.ids, id)
	}
	c.users = nil
	return nil
}

// Backlog implements Outbox.
func (s *Store) Backlog(ctx context.Context) (source.Backlog, error) {
	if err := s.check(); err != nil {
		return source.Backlog{}, err
	}
	unmade := int64(len(s.marks.snapshot()))
	var b source.Backlog
	var oldest int64
	if err := s.reads.backlog.QueryRowContext(ctx).Scan(&b.Rows, &oldest); err != nil {
		return source.Backlog{}, broken("read outbox", err)
	}
	if b.Rows = max(0, b.Rows-unmade); b.Rows > 0 {
		b.Oldest = profile.Millis(max(0, s.cfg.Now().Sub(time.UnixMilli(oldest))))
	}
	return b, nil
}
