// Package kv is a node's store on disk (L1.5): what the node holds of profiles, in one file of
// bbolt, with the place in the stream of changes up to which it is true. After a restart a node
// that follows the stream from that place knows everything that it knew before.
//
// # What is promised
//
// Nothing is synced to the disk but the beginning and the end of a session. A process that is
// killed loses what it wrote in the last Config.Every, and never a part of it: entries, deletions
// and the checkpoint that vouches for them are one transaction. A machine that goes down may lose
// and mix up anything, so a file that was not closed in order is thrown away after another boot. So
// is one whose pages do not fit together, or whose layout is not known. Each value has a checksum
// of its own, over its id as well.
//
// A store that cannot be written any more is given up: it logs one line, answers nothing, and its
// node serves on without it.
package kv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/chatapp-ngomna/edgecache/internal/life"
)

const (
	// fileName is the store in Config.Dir, damagedName where one goes whose pages do not fit
	// together, for people who want to know why. The next one takes its place.
	fileName    = "profiles.bbolt"
	damagedName = "profiles.bbolt.damaged"
	// maxPending bounds the changes that wait for a transaction. Past it nothing new is kept.
	maxPending = 1 << 17
	// maxDeletes bounds the deletions among them, which cannot be dropped. Past it the disk is too
	// slow for the node, and the store is given up.
	maxDeletes = 1 << 20
)

var (
	// ErrInUse reports a store that another process has open.
	ErrInUse = errors.New("kv: the store is in use by another process")
	// ErrNone reports a folder without a store.
	ErrNone = errors.New("kv: no store there")
	// ErrDamaged reports a file whose pages do not fit together, or a value that is not as it was
	// written.
	ErrDamaged = errors.New("kv: damaged")
	// ErrLayout reports a file of a layout that this version does not know.
	ErrLayout = errors.New("kv: unknown layout")
	// errFellBehind reports a disk that does not take changes as fast as they come.
	errFellBehind = errors.New("kv: the disk does not keep up with the changes")
)

// Config configures a Store. Dir is required.
type Config struct {
	// Dir is the folder of the store, on a local disk; it is made when it is not there. One process
	// at a time has it.
	Dir string
	// MaxBytes is about how much room live entries may take; the file may be larger by what is free
	// in it. Default 1 GiB, at least 1 MiB. Past it older entries make room, in the order of their
	// ids.
	MaxBytes int64
	// Every is the pause between two transactions, and about what a killed process loses. Default
	// 100 ms.
	Every time.Duration
	// Logger gets one line when a store is thrown away or given up. Default: none.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.MaxBytes = cmp.Or(c.MaxBytes, 1<<30)
	c.Every = cmp.Or(c.Every, 100*time.Millisecond)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

// Check returns what is wrong with c, nil for nothing.
func (c Config) Check() error { return c.withDefaults().validate() }

func (c Config) validate() error {
	switch {
	case c.Dir == "":
		return errors.New("kv: Config.Dir is empty; want a folder")
	case c.MaxBytes < 1<<20:
		return fmt.Errorf("kv: Config.MaxBytes is %d; want at least 1 MiB", c.MaxBytes)
	case c.Every < 0:
		return fmt.Errorf("kv: Config.Every is %v; want a positive duration", c.Every)
	}
	return nil
}

// Store is an open store. Its methods may be called concurrently, and on nil, which holds nothing.
type Store struct {
	conf Config
	life life.Life
	held *lock
	db   *bbolt.DB
	// session numbers the times that the file was opened, so that an entry shows whether it was
	// written by this process.
	session uint32
	// found is the checkpoint at Open; nil for none.
	found []byte
	boot  string

	// off is why the store was given up; nil while it works.
	off atomic.Pointer[string]
	// generation is raised by Flush: entries of an earlier one count no longer.
	generation atomic.Uint32
	counters   counters

	// snapshot is what readers of the file share.
	snapshot snapshot

	mu sync.RWMutex
	// pending has the changes since the last transaction, committing those of the one under way; a
	// nil is a deletion. All three are guarded by mu, as deletes is, the deletions in pending.
	pending, committing map[string]*Record
	deletes             int
	checkpoint          []byte // guarded by mu
	dirty               bool   // guarded by mu: checkpoint or generation changed

	// hand is the id up to which evictions have come. It belongs to who commits.
	hand []byte
	// marked says that the file knows that it is in use.
	marked bool
}

// Open opens the store in conf.Dir, or makes one. One that cannot be believed is thrown away, with
// one line in the log. Errors wrap ErrInUse, or are those of the file system.
func Open(conf Config) (*Store, error) {
	conf = conf.withDefaults()
	if err := conf.validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(conf.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("kv: make the folder of the store: %w", err)
	}
	held, err := lockDir(conf.Dir)
	if err != nil {
		return nil, err
	}
	s := &Store{conf: conf, held: held, boot: bootID(), pending: map[string]*Record{}}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, held.release())
	}
	err = s.life.Start(context.Background(), func(context.Context) error {
		s.life.Go(s.commitForEver)
		return nil
	})
	return s, err
}

// path returns where the file of the store is.
func (s *Store) path() string { return filepath.Join(s.conf.Dir, fileName) }

// open opens the file, or a new one in the place of one that cannot be believed.
func (s *Store) open() error {
	why := s.openFile()
	switch {
	case why == nil:
		return nil
	case !errors.Is(why, ErrDamaged) && !errors.Is(why, ErrLayout) && !errors.Is(why, errBoot):
		return why
	}
	s.conf.Logger.Warn("kv: the store is thrown away, and begun anew",
		"dir", s.conf.Dir, "reason", why)
	if err := s.discard(why); err != nil {
		return err
	}
	return s.openFile()
}

// discard takes the file away. A damaged one is kept under another name.
func (s *Store) discard(why error) error {
	err := os.Remove(s.path())
	if errors.Is(why, ErrDamaged) {
		err = os.Rename(s.path(), filepath.Join(s.conf.Dir, damagedName))
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("kv: throw the store away: %w", err)
	}
	return nil
}

// openFile opens the file and takes its state, or returns why it cannot be believed.
func (s *Store) openFile() error {
	found, err := checkPath(s.path(), nil)
	if err != nil {
		return err
	}
	if s.db, err = openDB(s.path()); err != nil {
		return err
	}
	st, err := s.begin()
	if err == nil {
		err = st.believed(s.boot)
	}
	if err != nil {
		return errors.Join(err, closeDB(s.db))
	}
	s.session, s.found, s.checkpoint = st.Session+1, st.Checkpoint, st.Checkpoint
	s.generation.Store(st.Generation)
	if len(s.found) == 0 && found.entries > 0 {
		s.generation.Add(1) // nothing vouches for the entries
	}
	s.counters.entries.Store(int64(found.entries))
	s.counters.used.Store(found.used)
	return nil
}

// Resume returns the last checkpoint that a session before this one committed, nil for none. It is
// shared: read it only.
func (s *Store) Resume() []byte {
	if s == nil {
		return nil
	}
	return s.found
}

// On reports whether the store holds anything, now or later.
func (s *Store) On() bool { return s != nil && s.off.Load() == nil }

// giveUp ends the use of the store: from now on it holds nothing. What the file has stays true of
// the checkpoint in it, so that the next session can use it.
func (s *Store) giveUp(why error) {
	text := why.Error()
	if !s.off.CompareAndSwap(nil, &text) {
		return
	}
	s.mu.Lock()
	s.pending, s.committing, s.deletes = map[string]*Record{}, nil, 0
	s.mu.Unlock()
	s.conf.Logger.Error("kv: the store is given up; the node serves on without it",
		"dir", s.conf.Dir, "reason", why)
}

// Close commits what is pending, syncs the file, and says in it that it was closed in order. It may
// be called twice.
func (s *Store) Close() error {
	if s == nil {
		return nil
	}
	return s.life.Close(func() error {
		err := s.finish()
		s.snapshot.close() // closeDB waits for readers
		return errors.Join(err, closeDB(s.db), s.held.release())
	})
}

// finish writes the last transactions. The mark goes after all else is on the disk.
func (s *Store) finish() error {
	if !s.On() {
		return nil
	}
	s.commit()
	if !s.On() {
		return nil
	}
	err := guard(func() error {
		return errors.Join(s.db.Sync(), s.db.Update(func(tx *bbolt.Tx) error {
			return putState(tx, s.state(true))
		}), s.db.Sync())
	})
	if err != nil {
		return fmt.Errorf("kv: close the store: %w", err)
	}
	return nil
}
