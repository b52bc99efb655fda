// Package sqlite keeps the source of truth in one SQLite file: one writer that commits for many,
// several readers.
package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/source"
	"modernc.org/sqlite" // the driver "sqlite"
	sqlitelib "modernc.org/sqlite/lib"
)

// Config configures a SQLite store.
type Config struct {
	// Path is the database file; it is created when absent, its folder is not. Required. SQLite
	// keeps two more files beside it (-wal and -shm). One process at a time should relay from a
	// file.
	Path string
	// Readers is the number of reading connections. Default: 4, at least the number of CPUs.
	Readers int
	// BusyTimeout is how long a statement waits for another process's lock. Default 5 s.
	BusyTimeout time.Duration
	// NoSync leaves it to the operating system when commits reach the disk: the death of the
	// process still loses nothing, a power cut may lose the last seconds. For samples and tests; a
	// commit costs a third.
	NoSync bool
	// Now is the clock that versions come from. Default time.Now.
	Now func() time.Time
	// Logger gets what goes wrong in the background. Default: none.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.Readers = cmp.Or(c.Readers, max(4, runtime.NumCPU()))
	c.BusyTimeout = cmp.Or(c.BusyTimeout, 5*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

func (c Config) validate() error {
	if c.Path == "" {
		return errors.New("source: SQLite needs a path to its database file")
	}
	if c.Path == ":memory:" {
		return errors.New("source: SQLite in memory is private to one connection; use a file in a temporary folder")
	}
	if c.Readers < 0 || c.BusyTimeout < 0 {
		return fmt.Errorf("source: SQLite: Readers %d, BusyTimeout %v; want more than 0", c.Readers, c.BusyTimeout)
	}
	return nil
}

// Store is a Store in one SQLite file, in WAL mode: one connection writes, several read meanwhile.
// Commits are synced to disk before they are acknowledged; changes that arrive together share one
// commit.
type Store struct {
	cfg  Config
	wake chan struct{}

	mu      sync.Mutex // guards the life cycle; never held during a query
	started bool
	closed  bool

	readers *sql.DB
	reads   *readStatements
	writer  *sqliteWriter
	marks   *marks
	claimed claimedUsers
}

var _ source.Store = (*Store)(nil)

// New returns a store that Start opens.
func New(cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Store{cfg: cfg, wake: make(chan struct{}, 1), marks: newMarks(),
		claimed: claimedUsers{ids: make(map[string]struct{})}}, nil
}

// Start opens the file, creates or migrates its tables and starts the writer. It may be called
// once.
func (s *Store) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started || s.closed {
		return fmt.Errorf("source: start SQLite store: already started or closed: %w", origin.ErrClosed)
	}
	if err := s.open(ctx); err != nil {
		return fmt.Errorf("source: open SQLite database %s: %w", s.cfg.Path, err)
	}
	s.started = true
	return nil
}

// open makes the writer first: it turns WAL on and creates the tables that the readers' statements
// name.
func (s *Store) open(ctx context.Context) error {
	path, err := filepath.Abs(s.cfg.Path)
	if err != nil {
		return err
	}
	writer, err := openSQLiteWriter(ctx, s.dsn(path, "journal_mode(WAL)", "cache_size(-16384)", "journal_size_limit(67108864)"), s)
	if err != nil {
		return err
	}
	readers, err := sql.Open("sqlite", s.dsn(path, "query_only(1)"))
	if err != nil {
		return errors.Join(err, writer.close())
	}
	readers.SetMaxOpenConns(s.cfg.Readers)
	readers.SetMaxIdleConns(s.cfg.Readers)
	reads, err := prepareReads(ctx, readers)
	if err != nil {
		return errors.Join(err, readers.Close(), writer.close())
	}
	s.writer, s.readers, s.reads = writer, readers, reads
	return nil
}

// dsn is the driver's address of the file with the pragmas that each connection sets.
func (s *Store) dsn(path string, pragmas ...string) string {
	q := url.Values{"_pragma": {fmt.Sprintf("busy_timeout(%d)", s.cfg.BusyTimeout.Milliseconds())}}
	q["_pragma"] = append(q["_pragma"], pragmas...)
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

// Close ends the writer after the commit in progress and closes all connections.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	open := s.started && !s.closed
	if s.closed = true; !open {
		return nil
	}
	return errors.Join(s.writer.close(), s.readers.Close())
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

// Wake implements Outbox.
func (s *Store) Wake() <-chan struct{} { return s.wake }

// wakeRelay leaves a note for the relay unless one is there.
func (s *Store) wakeRelay() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// unwritable returns why SQLite cannot write, nil when that is not what err says.
func unwritable(err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return nil
	}
	switch e.Code() & 0xff { // the rest tells kinds of these
	case sqlitelib.SQLITE_FULL:
		return source.ErrFull
	case sqlitelib.SQLITE_READONLY:
		return source.ErrReadOnly
	case sqlitelib.SQLITE_IOERR, sqlitelib.SQLITE_CANTOPEN:
		return source.ErrDisk
	}
	return nil
}

// broken wraps an error of the database.
func broken(op string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("source: %s: %w", op, err)
	}
	if reason := unwritable(err); reason != nil {
		return fmt.Errorf("source: %s: %w: %w: %w", op, origin.ErrInternal, reason, err)
	}
	return fmt.Errorf("source: %s: %w: %w", op, origin.ErrInternal, err)
}
