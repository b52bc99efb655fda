package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chatapp-ngomna/edgecache/internal/life"
	"github.com/chatapp-ngomna/edgecache/profile"
)

const (
	// minSweep is the shortest time between two looks through the table.
	minSweep = time.Second
	// sweepOverlap is how far a look goes back beyond the one before, for transactions that took
	// long and clocks that are behind. It is shorter than the time for which the outbox keeps what
	// was announced, which tells what is known.
	sweepOverlap = 5 * time.Minute
)

// sweepLoop is the goroutine that looks through the table for what other programs wrote.
func (s *Store) sweepLoop() {
	for life.Wait(s.bell.ctx, s.cfg.Sweep) {
		n, err := s.sweep(s.bell.ctx)
		if err != nil && s.bell.ctx.Err() == nil {
			s.cfg.Logger.Warn("source: PostgreSQL: look for changes of other programs", "error", err)
		}
		if n > 0 {
			s.cfg.Logger.Debug("source: PostgreSQL: changes of other programs", "users", n)
			s.bell.changed()
		}
	}
}

// sweep writes outbox rows for the users whose version is newer than the last look and not known to
// the outbox. The first look goes back from the first start with sweeps; one process of several
// looks at a time.
func (s *Store) sweep(ctx context.Context) (n int64, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var since, now int64
		err := tx.QueryRow(ctx, "SELECT since, "+nowMS+" FROM edgecache_sweep FOR UPDATE SKIP LOCKED").Scan(&since, &now)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, s.sql.sweep, since-sweepOverlap.Milliseconds(), now)
		if err != nil {
			return err
		}
		n = tag.RowsAffected()
		_, err = tx.Exec(ctx, "UPDATE edgecache_sweep SET since = $1", now)
		return err
	})
	return n, brokenPG("sweep", err)
}

// beginSweep notes the time from which on the first look counts, unless there was one.
func beginSweep(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "INSERT INTO edgecache_sweep (since) VALUES ("+nowMS+") ON CONFLICT DO NOTHING")
	return err
}

// sweeping is the statement of a look: from version $1 on, at the time $2.
func (u *usersTable) sweeping() string {
	reads, packed := u.named()
	c := &u.columns[atUpdated]
	return "WITH w AS (SELECT " + reads + " FROM " + u.name + " WHERE " + c.source + " > " + u.write(c, "$1::bigint") + ") " +
		outboxInsert + fmt.Sprintf("SELECT %d, c0, c9, %s, $2::bigint FROM w WHERE %s "+
		"AND NOT EXISTS (SELECT FROM edgecache_outbox o WHERE o.user_id = w.c0 AND o.version = w.c9)",
		profile.Updated, packed, goodID("c0"))
}
