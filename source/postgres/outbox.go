package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// claimTimeout ends the transaction of a claim whose process neither works nor dies, so that
	// others get its users.
	claimTimeout = time.Minute
	// claimGrace bounds the end of a claim.
	claimGrace = 5 * time.Second
)

// pgClaim is a transaction that holds locks on the oldest undone rows of the users whose changes it
// has. A claim on a user's oldest row is one on the user: claims of other processes pass over users
// whose oldest row they cannot lock, and see a later row as the oldest only once the transaction
// that did the earlier ones is committed.
//
// Should the connection break while changes are being announced, the locks are gone and another
// process may announce the same changes at the same time. Announcing is idempotent by version for
// that.
type pgClaim struct {
	store   *Store
	conn    *pgxpool.Conn // nil when there is nothing, or once closed
	changes []source.Change
}

// Claim implements Outbox.
func (s *Store) Claim(ctx context.Context, w source.Want) (source.Claim, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, brokenPG("reach the database", err)
	}
	changes, err := s.claim(ctx, conn, w)
	if err != nil || len(changes) == 0 {
		_ = undoPG(ctx, conn)
		conn.Release()
		return &pgClaim{store: s}, brokenPG("read outbox", err)
	}
	return &pgClaim{store: s, conn: conn, changes: changes}, nil
}

// claim begins the transaction, locks users and returns their changes. The marks that it will make
// need not be on disk when it commits: one that a crash of the server undoes costs an announcement,
// no change.
func (s *Store) claim(ctx context.Context, conn *pgxpool.Conn, w source.Want) (changes []source.Change, err error) {
	heads, list := s.sql.heads, w.Except
	switch {
	case w.Users != nil:
		heads, list = s.sql.headsOf, w.Users
	case w.Newest:
		heads = s.sql.headsNewest
	}
	if list == nil {
		list = []string{}
	}
	var users []string
	b := new(pgx.Batch)
	b.Queue(beginPG)
	b.Queue("SET LOCAL synchronous_commit TO off")
	b.Queue(fmt.Sprintf("SET LOCAL idle_in_transaction_session_timeout TO %d", claimTimeout.Milliseconds()))
	b.Queue(heads, list, w.Limit).Query(func(rows pgx.Rows) (err error) {
		users, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err := conn.SendBatch(ctx, b).Close(); err != nil || len(users) == 0 {
		return nil, err
	}
	rows, err := conn.Query(ctx, s.sql.undone, users, w.Limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanChangePG)
}

func scanChangePG(row pgx.CollectableRow) (source.Change, error) {
	var c source.Change
	var kind int16
	var packed []byte
	if err := row.Scan(&c.Seq, &kind, &c.ID, &c.Version, &packed); err != nil {
		return source.Change{}, err
	}
	c.Kind = profile.Kind(kind)
	if len(packed) == 0 || packed[0] != '[' || c.Kind == profile.Imported {
		c.Unpack(packed)
		return c, nil
	}
	p, err := decodeRow(packed)
	if err == nil {
		err = p.Check()
	}
	if err != nil {
		c.Fault = fmt.Errorf("outbox row %d: %w", c.Seq, err)
		return c, nil
	}
	c.Profile = p
	return c, nil
}

// Changes implements Claim.
func (c *pgClaim) Changes() []source.Change { return c.changes }

// Done implements Claim. The marks are durable once Close returned nil.
func (c *pgClaim) Done(ctx context.Context, seqs []int64) error {
	if c.conn == nil {
		return fmt.Errorf("source: mark outbox rows: %w", origin.ErrClosed)
	}
	_, err := c.conn.Exec(ctx, c.store.sql.mark, c.store.now(), seqs)
	return brokenPG("mark outbox rows", err)
}

// Close implements Claim: it commits the marks and gives up the locks.
func (c *pgClaim) Close() error {
	if c.conn == nil {
		return nil
	}
	conn := c.conn
	c.conn = nil
	defer conn.Release()
	ctx, cancel := context.WithTimeout(context.Background(), claimGrace)
	defer cancel()
	tag, err := conn.Exec(ctx, "COMMIT")
	if err == nil && tag != pgconn.NewCommandTag("COMMIT") {
		err = fmt.Errorf("the transaction ended with %s", tag)
	}
	return brokenPG("end claim", err)
}

// Undone returns those of the rows that were not announced, by this process or another. A row that
// was pruned was.
func (s *Store) Undone(ctx context.Context, seqs []int64) ([]int64, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, s.sql.waits, seqs)
	if err != nil {
		return nil, brokenPG("read outbox", err)
	}
	undone, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	return undone, brokenPG("read outbox", err)
}

// Backlog implements Outbox.
func (s *Store) Backlog(ctx context.Context) (source.Backlog, error) {
	if err := s.check(); err != nil {
		return source.Backlog{}, err
	}
	var b source.Backlog
	var oldest int64
	if err := s.pool.QueryRow(ctx, s.sql.backlog).Scan(&b.Rows, &oldest); err != nil {
		return source.Backlog{}, brokenPG("read outbox", err)
	}
	if b.Rows > 0 {
		b.Oldest = profile.Millis(max(0, s.cfg.Now().Sub(time.UnixMilli(oldest))))
	}
	return b, nil
}
