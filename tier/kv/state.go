package kv

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// layout is the version of everything in the file.
const layout = 1

// errBoot reports a file that was in use when the machine went down.
var errBoot = errors.New("kv: the machine went down while the store was in use")

var (
	usersBucket = []byte("users")
	stateBucket = []byte("state")
	stateKey    = []byte("state")
)

// state is what the file says of itself. It is written in the transaction of the entries that it
// vouches for.
type state struct {
	Layout     int    `json:"layout"`
	Boot       string `json:"boot"`
	Clean      bool   `json:"clean"`
	Session    uint32 `json:"session"`
	Generation uint32 `json:"generation"`
	// Checkpoint is the caller's.
	Checkpoint []byte    `json:"checkpoint,omitempty"`
	At         time.Time `json:"at"`
}

// believed returns why the file cannot be believed on a machine that was booted as boot.
func (st *state) believed(boot string) error {
	switch {
	case st.Layout != layout:
		return fmt.Errorf("%w: %d; want %d", ErrLayout, st.Layout, layout)
	case !st.Clean && (boot == "" || st.Boot != boot):
		return errBoot
	}
	return nil
}

// state returns what is to be written of the session now.
func (s *Store) state(clean bool) state {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.stateLocked(clean)
}

func (s *Store) stateLocked(clean bool) state {
	return state{
		Layout: layout, Boot: s.boot, Clean: clean, Session: s.session,
		Generation: s.generation.Load(), Checkpoint: s.checkpoint, At: time.Now(),
	}
}

// begin makes the buckets of a new file and returns the state of the file.
func (s *Store) begin() (st state, err error) {
	err = guard(func() error {
		err := s.db.View(func(tx *bbolt.Tx) (err error) {
			st, err = readState(tx)
			return err
		})
		if !errors.Is(err, errNew) {
			return err
		}
		st = state{Layout: layout, Clean: true}
		return s.db.Update(func(tx *bbolt.Tx) error { return putState(tx, st) })
	})
	return st, err
}

// errNew reports a file that nothing was written into.
var errNew = errors.New("kv: new")

func readState(tx *bbolt.Tx) (st state, err error) {
	b := tx.Bucket(stateBucket)
	if b == nil || tx.Bucket(usersBucket) == nil {
		return st, errNew
	}
	if err := json.Unmarshal(b.Get(stateKey), &st); err != nil {
		return st, fmt.Errorf("%w: its state: %w", ErrDamaged, err)
	}
	return st, nil
}

func putState(tx *bbolt.Tx, st state) error {
	if _, err := tx.CreateBucketIfNotExists(usersBucket); err != nil {
		return err
	}
	b, err := tx.CreateBucketIfNotExists(stateBucket)
	if err != nil {
		return err
	}
	text, err := json.Marshal(st)
	if err != nil {
		return err
	}
	return b.Put(stateKey, text)
}

// pageSize is that of every store, whatever the machine.
const pageSize = 4096

// openDB opens the file of a store, which the caller has locked and checked.
func openDB(path string) (db *bbolt.DB, err error) {
	err = guard(func() (err error) {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout: 50 * time.Millisecond, FreelistType: bbolt.FreelistMapType, PageSize: pageSize,
			NoSync: true, NoGrowSync: true, InitialMmapSize: 256 << 20,
		})
		return err
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%w: %s", ErrInUse, filepath.Dir(path))
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum),
		errors.Is(err, bolterrors.ErrVersionMismatch):
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	case err != nil:
		return nil, fmt.Errorf("kv: open the store: %w", err)
	}
	return db, nil
}

func closeDB(db *bbolt.DB) error {
	if db == nil {
		return nil
	}
	if err := guard(db.Close); err != nil {
		return fmt.Errorf("kv: close the store: %w", err)
	}
	return nil
}

// guard runs f, which uses the file. bbolt panics when pages do not fit together, and what it maps
// faults when the file has become shorter; both are errors here, which wrap ErrDamaged.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return f()
}

// bootFile has an id that each boot of a Linux machine changes.
const bootFile = "/proc/sys/kernel/random/boot_id"

// bootID returns the id of this boot; "" where there is none, so that only a file that was closed
// in order is believed.
func bootID() string {
	b, err := os.ReadFile(bootFile)
	if err != nil {
		return ""
	}
	return string(b)
}
