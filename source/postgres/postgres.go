// Package postgres keeps the source of truth in PostgreSQL, in its own table or in one that exists
// already. Several processes may work on one database.
package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/puddle/v2"

	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
)

// Config configures a PostgreSQL store.
type Config struct {
	// URL is the database: postgres://USER:PASSWORD@HOST:PORT/NAME?sslmode=…, or libpq's keywords
	// and values. What it leaves out comes from the PG… environment variables. Required. The tables
	// are in the first schema of search_path that exists.
	URL string
	// Users is the table of the users. The zero value is a table "personnel", which Start creates
	// when there is none.
	Users Table
	// Capture makes or removes triggers by which the outbox learns of what other programs write
	// into the users' table. Default CaptureAsIs.
	Capture Capture
	// Sweep is how often the users' table is looked through for versions that are newer than the
	// last look, at least 1 s; deletions, and changes that leave the version alone, are not found
	// so. Default 0: never.
	Sweep time.Duration
	// MaxConns is the number of connections for statements; one more listens for changes that
	// others make. Default 16.
	MaxConns int
	// Now is the clock that versions come from. Default time.Now.
	Now func() time.Time
	// Logger gets what goes wrong in the background. Default: none.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.MaxConns = cmp.Or(c.MaxConns, 16)
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

func (c Config) validate() error {
	if _, err := c.Users.identifier(); err != nil {
		return err
	}
	if err := c.Capture.check(); err != nil {
		return err
	}
	if c.MaxConns < 0 {
		return fmt.Errorf("source: PostgreSQL: MaxConns is %d; want a number above 0", c.MaxConns)
	}
	if c.Sweep != 0 && c.Sweep < minSweep {
		return fmt.Errorf("source: PostgreSQL: a sweep every %v; want at least %v, or 0 for none", c.Sweep, minSweep)
	}
	return nil
}

// dialTimeoutPG bounds the making of a connection when the URL does not.
const dialTimeoutPG = 5 * time.Second

// pool returns the configuration of the pool, which checks the URL.
func (c Config) pool() (*pgxpool.Config, error) {
	if c.URL == "" {
		return nil, errors.New("source: PostgreSQL needs a URL, such as postgres://user:password@127.0.0.1:5432/users")
	}
	cfg, err := pgxpool.ParseConfig(c.URL)
	if err != nil { // its text may show a part of the password
		return nil, errors.New("source: the URL of PostgreSQL cannot be parsed; want postgres://USER:PASSWORD@HOST:PORT/NAME")
	}
	if !strings.Contains(c.URL, "pool_max_conns") {
		cfg.MaxConns = int32(min(c.MaxConns, 1<<15))
	}
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = dialTimeoutPG
	}
	if cfg.ConnConfig.RuntimeParams["application_name"] == "" {
		cfg.ConnConfig.RuntimeParams["application_name"] = "edgecache origin"
	}
	return cfg, nil
}

// Store is a Store in a PostgreSQL database (15 or newer is what it is tested with). Several
// processes may work on one database: each user's changes are serialized by the database, and each
// relay gets users of its own to announce.
//
// Its tables beside the users' are edgecache_deleted, edgecache_outbox, edgecache_sweep and
// edgecache_schema. A program that writes into the users' table by itself is not kept from doing
// so, but what it writes is announced only with Config.Capture or Config.Sweep.
//
// Beside the errors of Store, its methods return profile.ErrUnavailable while the database cannot
// be reached or refuses work: a change that failed so may have been committed or not.
type Store struct {
	cfg    Config
	where  string // the database, for messages
	pooled *pgxpool.Config
	wake   chan struct{}
	bell   *bell

	mu      sync.Mutex // guards the life cycle; never held during a query
	started bool
	closed  bool

	pool *pgxpool.Pool
	sql  *postgresSQL
}

var _ source.Store = (*Store)(nil)

// New returns a store that Start opens.
func New(cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	pooled, err := cfg.pool()
	if err != nil {
		return nil, err
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	conn := pooled.ConnConfig
	s := &Store{cfg: cfg, pooled: pooled, wake: make(chan struct{}, 1),
		where: fmt.Sprintf("%s:%d/%s", conn.Host, conn.Port, conn.Database)}
	s.bell = newBell(s)
	return s, nil
}

// Start connects, creates or migrates the tables, checks the users' table, and begins to listen for
// the changes of other processes. It may be called once.
func (s *Store) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started || s.closed {
		return fmt.Errorf("source: start PostgreSQL store: already started or closed: %w", origin.ErrClosed)
	}
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), s.pooled)
	if err != nil {
		return fmt.Errorf("source: open PostgreSQL database %s: %w", s.where, err)
	}
	if s.sql, err = s.prepare(ctx, pool); err != nil {
		pool.Close()
		return fmt.Errorf("source: open PostgreSQL database %s: %w", s.where, err)
	}
	s.pool, s.started = pool, true
	s.bell.start()
	if s.cfg.Sweep > 0 {
		s.bell.wg.Go(s.sweepLoop)
	}
	return nil
}

// prepare brings the tables up to date and returns the statements for them.
func (s *Store) prepare(ctx context.Context, pool *pgxpool.Pool) (*postgresSQL, error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	var level string
	if err := conn.QueryRow(ctx, "SHOW synchronous_commit").Scan(&level); err != nil {
		return nil, err
	}
	if level == "off" {
		return nil, errors.New(commitsMayBeLost)
	}
	users, err := s.cfg.Users.open(ctx, conn.Conn())
	if err != nil {
		return nil, err
	}
	if users.slowOrder() {
		s.cfg.Logger.Info("source: PostgreSQL: lists of users sort the whole table; an index would help",
			"statement", fmt.Sprintf("CREATE INDEX ON %s (%s)", users.name, users.order))
	}
	if err := s.watchOthers(ctx, conn.Conn(), users); err != nil {
		return nil, err
	}
	return users.statements(), nil
}

// watchOthers prepares for changes that other programs make.
func (s *Store) watchOthers(ctx context.Context, conn *pgx.Conn, users *usersTable) error {
	if err := users.capture(ctx, conn, s.cfg.Capture); err != nil {
		return err
	}
	if s.cfg.Sweep == 0 {
		return nil
	}
	if users.sweepsAll {
		s.cfg.Logger.Info("source: PostgreSQL: each sweep reads the whole table; an index would help",
			"statement", fmt.Sprintf("CREATE INDEX ON %s (%s)", users.name, users.columns[atUpdated].source))
	}
	return beginSweep(ctx, conn)
}

// Close ends the listening and closes all connections, after the calls in progress; open claims
// must be closed before.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || !s.started {
		s.closed = true
		return nil
	}
	s.closed = true
	s.bell.stop()
	s.pool.Close()
	return nil
}

// check returns ErrClosed outside of Start and Close.
func (s *Store) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.started || s.closed {
		return origin.ErrClosed
	}
	return nil
}

// Wake implements Outbox. Changes of this process wake at once, those of others by a notification
// of the database.
func (s *Store) Wake() <-chan struct{} { return s.wake }

// wakeRelay leaves a note for the relay unless one is there.
func (s *Store) wakeRelay() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Store) now() int64 { return s.cfg.Now().UnixMilli() }

// brokenPG wraps an error of the database or of the way to it.
func brokenPG(op string, err error) error {
	var refused *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("source: %s: %w", op, err)
	case errors.Is(err, puddle.ErrClosedPool):
		return fmt.Errorf("source: %s: %w", op, origin.ErrClosed)
	case errors.As(err, &refused):
		return fmt.Errorf("source: %s: %w: %w", op, sentinelPG(refused), err)
	case errors.Is(err, pgx.ErrTxClosed), errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("source: %s: %w: %w", op, origin.ErrInternal, err)
	default: // of the network
		return fmt.Errorf("source: %s: %w: %w", op, profile.ErrUnavailable, err)
	}
}

// sentinelPG tells what an SQLSTATE means to a caller.
func sentinelPG(e *pgconn.PgError) error {
	switch e.Code {
	case "53100":
		return fmt.Errorf("%w: %w", profile.ErrUnavailable, source.ErrFull)
	case "25006": // of the transaction, the database, or a server that is a replica
		return fmt.Errorf("%w: %w", profile.ErrUnavailable, source.ErrReadOnly)
	case "58030": // an error of input or output
		return fmt.Errorf("%w: %w", profile.ErrUnavailable, source.ErrDisk)
	// a privilege is missing: the role's to its tables, or the server's to its files, as on a
	// read-only disk
	case "42501":
		return fmt.Errorf("%w: %w", profile.ErrUnavailable, origin.ErrUnwritable)
	case "23505": // unique
		return origin.ErrExists
	}
	switch e.Code[:min(2, len(e.Code))] {
	// connection, transaction cut off, rollback, resources, locks, an operator, the system
	case "08", "25", "40", "53", "55", "57", "58":
		return profile.ErrUnavailable
	case "22", "23": // a value that the table's own types and constraints refuse
		return profile.ErrMalformed
	}
	return origin.ErrInternal
}
