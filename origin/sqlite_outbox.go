package origin

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// sqliteClaim is the one claim that may be open on a SQLite store: with a single process there is nobody to share with.
type sqliteClaim struct {
	store   *SQLite
	changes []Change
	held    bool
}

// Claim implements Outbox. While a claim is open another one comes back empty.
func (s *SQLite) Claim(ctx context.Context, limit int, except []string) (Claim, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if !s.claimed.CompareAndSwap(false, true) {
		return &sqliteClaim{store: s}, nil
	}
	changes, err := s.undone(ctx, limit, except)
	if err != nil {
		s.claimed.Store(false)
		return nil, broken("read outbox", err)
	}
	return &sqliteClaim{store: s, changes: changes, held: true}, nil
}

func (s *SQLite) undone(ctx context.Context, limit int, except []string) ([]Change, error) {
	announced := s.marks.snapshot() // before the query, see there
	if except == nil {
		except = []string{}
	}
	list, err := json.Marshal(except)
	if err != nil {
		return nil, err
	}
	rows, err := s.reads.undone.QueryContext(ctx, string(list), limit+len(announced))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var changes []Change
	for rows.Next() && len(changes) < limit {
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

func scanChange(rows *sql.Rows) (Change, error) {
	var c Change
	var packed []byte
	if err := rows.Scan(&c.Seq, &c.Kind, &c.ID, &c.Version, &packed); err != nil {
		return Change{}, err
	}
	if packed == nil {
		return c, nil
	}
	p, err := profile.DecodeMsgpack(packed)
	if err != nil {
		c.fault = fmt.Errorf("outbox row %d: %w", c.Seq, err)
	}
	c.Profile = p
	return c, nil
}

// Changes implements Claim.
func (c *sqliteClaim) Changes() []Change { return c.changes }

// Done implements Claim. The marks are committed with the next change, or by themselves within markDelay.
func (c *sqliteClaim) Done(_ context.Context, seqs []int64) error {
	c.store.marks.add(seqs)
	return nil
}

// Close implements Claim.
func (c *sqliteClaim) Close() error {
	if c.held {
		c.held = false
		c.store.claimed.Store(false)
	}
	return nil
}

// Backlog implements Outbox.
func (s *SQLite) Backlog(ctx context.Context) (Backlog, error) {
	if err := s.check(); err != nil {
		return Backlog{}, err
	}
	unmade := int64(len(s.marks.snapshot()))
	var b Backlog
	var oldest int64
	if err := s.reads.backlog.QueryRowContext(ctx).Scan(&b.Rows, &oldest); err != nil {
		return Backlog{}, broken("read outbox", err)
	}
	if b.Rows = max(0, b.Rows-unmade); b.Rows > 0 {
		b.Oldest = max(0, s.cfg.Now().Sub(time.UnixMilli(oldest)))
	}
	return b, nil
}
