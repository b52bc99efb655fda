package kv

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"go.etcd.io/bbolt"
)

// evictLeast is how many entries make room at once, at least, when there is none.
const evictLeast = 64

// counters are what Stats tells.
type counters struct {
	entries, used, file, committed     atomic.Int64
	commits, evicted, dropped, damaged atomic.Uint64
}

// commitForEver writes what is pending, every conf.Every.
func (s *Store) commitForEver(ctx context.Context) {
	tick := time.NewTicker(s.conf.Every)
	defer tick.Stop()
	s.commit()
	for {
		select {
		case <-tick.C:
			s.commit()
		case <-ctx.Done():
			return
		}
	}
}

// commit writes what is pending in one transaction, with the checkpoint that vouches for it.
func (s *Store) commit() {
	if !s.On() {
		return
	}
	s.mu.Lock()
	if len(s.pending) == 0 && !s.dirty && s.marked {
		s.mu.Unlock()
		return
	}
	s.committing, s.pending = s.pending, map[string]*Record{}
	s.deletes, s.dirty = 0, false
	batch, st := s.committing, s.stateLocked(false)
	s.mu.Unlock()
	s.snapshot.close()
	if err := s.write(batch, st); err != nil {
		s.giveUp(err) // before readers could meet the file without these changes
		return
	}
	if err := guard(func() error { return s.snapshot.open(s.db) }); err != nil {
		s.giveUp(err)
		return
	}
	s.mu.Lock()
	s.committing = nil
	s.counters.commits.Add(1) // with mu held, for Renew
	s.mu.Unlock()
	s.counters.committed.Store(st.At.UnixNano())
}

// write is one transaction. The first of a session is synced, so that the disk knows that the file
// is in use before anything of it is written over.
func (s *Store) write(batch map[string]*Record, st state) error {
	return guard(func() error {
		entries := s.counters.entries.Load()
		err := s.db.Update(func(tx *bbolt.Tx) error {
			users := tx.Bucket(usersBucket)
			added, err := apply(users, batch)
			if err != nil {
				return err
			}
			evicted, err := s.evict(tx, users, len(batch))
			if err != nil {
				return err
			}
			entries += int64(added - evicted)
			s.counters.evicted.Add(uint64(evicted))
			return putState(tx, st)
		})
		if err == nil && !s.marked {
			err = s.db.Sync()
			s.marked = err == nil
		}
		if err == nil {
			s.counters.entries.Store(entries)
			s.measure()
		}
		return err
	})
}

// apply writes a batch, in the order of ids, in which neighbours share pages, and returns how many
// entries there are more.
func apply(users *bbolt.Bucket, batch map[string]*Record) (added int, err error) {
	changes, room := inOrder(batch)
	values := make([]byte, 0, room) // all in one: they must stay until the transaction ends
	for _, c := range changes {
		key := unsafe.Slice(unsafe.StringData(c.id), len(c.id)) // bbolt copies keys
		there := users.Get(key) != nil
		switch {
		case c.record != nil:
			from := len(values)
			values = c.record.appendTo(values, c.id)
			err = users.Put(key, values[from:len(values):len(values)])
			if !there {
				added++
			}
		case there:
			err = users.Delete(key)
			added--
		}
		if err != nil {
			return added, err
		}
	}
	return added, nil
}

// change is one of a batch; a nil record is a deletion.
type change struct {
	id     string
	record *Record
}

// inOrder returns a batch in the order of ids, and how many bytes its values have.
func inOrder(batch map[string]*Record) (changes []change, room int) {
	changes = make([]change, 0, len(batch))
	for id, r := range batch {
		if changes = append(changes, change{id, r}); r != nil {
			room += headSize + len(r.Packed)
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return strings.Compare(a.id, b.id) })
	return changes, room
}

// evict makes room when the entries take more than they may: a few at each transaction, in the
// order of their ids, since each transaction writes the list of free pages whole.
func (s *Store) evict(tx *bbolt.Tx, users *bbolt.Bucket, batch int) (evicted int, err error) {
	if s.counters.used.Load() <= s.conf.MaxBytes {
		return 0, nil
	}
	c := users.Cursor()
	k, _ := c.Seek(s.hand)
	var victims [][]byte
	for range evictLeast + 2*batch {
		if k == nil {
			if k, _ = c.First(); k == nil {
				break
			}
		}
		victims = append(victims, slices.Clone(k))
		k, _ = c.Next()
	}
	for _, v := range victims {
		if users.Get(v) == nil {
			continue // the hand has come round
		}
		if err := users.Delete(v); err != nil {
			return evicted, err
		}
		evicted++
		s.hand = v
	}
	return evicted, nil
}

// measure notes how much room the live pages and the file take.
func (s *Store) measure() {
	st := s.db.Stats()
	free := int64(st.FreePageN+st.PendingPageN) * pageSize
	_ = s.db.View(func(tx *bbolt.Tx) error {
		s.counters.file.Store(tx.Size())
		s.counters.used.Store(tx.Size() - free)
		return nil
	})
}

// Stats says how a Store does.
type Stats struct {
	// Off is why the store was given up, or could not be opened; "" while it works.
	Off string `json:"off,omitempty"`
	// Entries is how many users are held, those from before a gap included that do not count yet.
	Entries int64 `json:"entries"`
	// Bytes is what the entries take, FileBytes the file.
	Bytes     int64 `json:"bytes"`
	FileBytes int64 `json:"fileBytes"`
	// Commits counts transactions, CommittedAt is when the last one was, zero before.
	Commits     uint64    `json:"commits"`
	CommittedAt time.Time `json:"committedAt,omitzero"`
	// Pending is how many changes wait for the next one.
	Pending int `json:"pending"`
	// Evicted counts entries that made room, Dropped those that were not kept because the disk was
	// slow, Damaged those whose value was not as it was written.
	Evicted uint64 `json:"evicted"`
	Dropped uint64 `json:"dropped"`
	Damaged uint64 `json:"damaged"`
}

// Stats returns a snapshot.
func (s *Store) Stats() Stats {
	n := &s.counters
	st := Stats{
		Entries: n.entries.Load(), Bytes: n.used.Load(), FileBytes: n.file.Load(),
		Commits: n.commits.Load(), Evicted: n.evicted.Load(), Dropped: n.dropped.Load(),
		Damaged: n.damaged.Load(),
	}
	if why := s.off.Load(); why != nil {
		st.Off = *why
	}
	if at := n.committed.Load(); at != 0 {
		st.CommittedAt = time.Unix(0, at)
	}
	s.mu.RLock()
	st.Pending = len(s.pending) + len(s.committing)
	s.mu.RUnlock()
	return st
}
