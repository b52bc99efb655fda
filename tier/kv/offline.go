package kv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// Report is what Stat and Verify find in a store that no process has open.
type Report struct {
	// Entries is how many users are held, Doubtful of them from before a gap, Damaged not as they
	// were written.
	Entries  int `json:"entries"`
	Doubtful int `json:"doubtful"`
	Damaged  int `json:"damaged"`
	// Bytes is what the pages in use take, FileBytes the file.
	Bytes     int64 `json:"bytes"`
	FileBytes int64 `json:"fileBytes"`
	// Oldest and Newest are when the loads of entries began; zero without any.
	Oldest time.Time `json:"oldest,omitzero"`
	Newest time.Time `json:"newest,omitzero"`
	// Sessions is how often the store was opened, Clean whether it was closed in order, At when its
	// state was last written.
	Sessions uint32    `json:"sessions"`
	Clean    bool      `json:"clean"`
	At       time.Time `json:"at,omitzero"`
	// Checkpoint is the place in the stream up to which it is true; "" for none.
	Checkpoint string `json:"checkpoint,omitempty"`
	// Refused is why a node would throw the store away, "" for a good one.
	Refused string `json:"refused,omitempty"`
}

// Stat reads every page of the store in dir, and changes nothing. Errors wrap ErrNone, ErrInUse or
// ErrDamaged, or are those of the file system.
func Stat(dir string) (r Report, err error) {
	err = offline(dir, func(path string) (err error) {
		r, err = report(path)
		return err
	})
	return r, err
}

// Verify is Stat, with an error that wraps ErrDamaged when a value is not as it was written.
func Verify(dir string) (Report, error) {
	r, err := Stat(dir)
	if err == nil && r.Damaged > 0 {
		err = fmt.Errorf("%w: %d of %d values", ErrDamaged, r.Damaged, r.Entries)
	}
	return r, err
}

// Compact writes the store in dir anew, without the pages that are free in it, and returns the size
// of the file before and after. Errors are those of Stat.
func Compact(dir string) (before, after int64, err error) {
	err = offline(dir, func(path string) error {
		if _, err := checkPath(path, nil); err != nil {
			return err
		}
		fresh := path + ".compact"
		if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("kv: remove what a compaction has left: %w", err)
		}
		if err := compact(path, fresh); err != nil {
			return errors.Join(err, os.Remove(fresh))
		}
		if before, err = size(path); err == nil {
			after, err = size(fresh)
		}
		if err != nil {
			return err
		}
		return os.Rename(fresh, path)
	})
	return before, after, err
}

// offline runs f on the file of a store that nobody else has open.
func offline(dir string, f func(path string) error) error {
	path := filepath.Join(dir, fileName)
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%w: %s", ErrNone, dir)
		}
		return fmt.Errorf("kv: look at the store: %w", err)
	}
	held, err := lockDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(f(path), held.release())
}

func size(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, fmt.Errorf("kv: look at the store: %w", err)
	}
	return info.Size(), nil
}

func report(path string) (r Report, err error) {
	generations := map[uint32]int{}
	found, err := checkPath(path, func(id string, value []byte) error {
		rec, err := decode(id, value)
		if err != nil {
			r.Damaged++
			return nil
		}
		generations[rec.generation]++
		if r.Oldest.IsZero() || rec.Loaded.Before(r.Oldest) {
			r.Oldest = rec.Loaded
		}
		if rec.Loaded.After(r.Newest) {
			r.Newest = rec.Loaded
		}
		return nil
	})
	if err != nil {
		return r, err
	}
	r.Entries, r.Bytes = found.entries, found.used
	if r.FileBytes, err = size(path); err != nil {
		return r, err
	}
	st, err := stateOf(path)
	if err != nil {
		return r, err
	}
	r.Sessions, r.Clean, r.At, r.Checkpoint = st.Session, st.Clean, st.At, string(st.Checkpoint)
	r.Doubtful = r.Entries - r.Damaged - generations[st.Generation]
	if why := st.believed(bootID()); why != nil {
		r.Refused = why.Error()
	}
	return r, nil
}

// stateOf reads the state of a file that has been checked.
func stateOf(path string) (st state, err error) {
	db, err := openDB(path)
	if err != nil {
		return st, err
	}
	err = guard(func() error {
		return db.View(func(tx *bbolt.Tx) (err error) {
			st, err = readState(tx)
			return err
		})
	})
	return st, errors.Join(err, closeDB(db))
}

// compactTx is how many bytes go into one transaction of a compaction.
const compactTx = 1 << 20

func compact(path, fresh string) error {
	from, err := openDB(path)
	if err != nil {
		return err
	}
	to, err := openDB(fresh)
	if err != nil {
		return errors.Join(err, closeDB(from))
	}
	err = guard(func() error {
		return errors.Join(bbolt.Compact(to, from, compactTx), to.Sync())
	})
	if err != nil {
		err = fmt.Errorf("kv: compact the store: %w", err)
	}
	return errors.Join(err, closeDB(to), closeDB(from))
}
