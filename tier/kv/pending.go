package kv

import (
	"bytes"
	"slices"
	"unsafe"

	"go.etcd.io/bbolt"
)

// A change counts from the moment at which its call returns, although it is in the file only with
// the next transaction: a reader looks at what is pending first.

// Get returns what is held of id. Its Packed is the caller's.
func (s *Store) Get(id string) (out Record, ok bool) {
	if !s.On() {
		return Record{}, false
	}
	if r, there := s.changed(id); r != nil {
		out = *r
	} else if there {
		return Record{}, false
	} else if out, ok = s.look(id); !ok {
		return Record{}, false
	}
	if out.generation != s.generation.Load() {
		return Record{}, false
	}
	out.Inherited = out.session != s.session
	return out, true
}

// changed returns the change of id that is not in the file yet; a nil record is a deletion.
func (s *Store) changed(id string) (*Record, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.changedLocked(id)
}

func (s *Store) changedLocked(id string) (*Record, bool) {
	if r, there := s.pending[id]; there {
		return r, true
	}
	r, there := s.committing[id]
	return r, there
}

// read is look for those who want a pointer, nil for nothing.
func (s *Store) read(id string) *Record {
	if r, ok := s.look(id); ok {
		return &r
	}
	return nil
}

// look returns what the file has of id. A value that is not as it was written is deleted.
func (s *Store) look(id string) (r Record, ok bool) {
	var damage error
	take := func(value []byte) {
		if value == nil {
			return
		}
		if r, damage = decode(id, value); damage == nil {
			r.Packed, ok = bytes.Clone(r.Packed), true
		}
	}
	err := guard(func() error {
		if s.snapshot.read(id, take) {
			return nil
		}
		return s.db.View(func(tx *bbolt.Tx) error {
			key := unsafe.Slice(unsafe.StringData(id), len(id)) // is read only
			take(tx.Bucket(usersBucket).Get(key))
			return nil
		})
	})
	if err != nil {
		if !s.life.Closed() {
			s.giveUp(err)
		}
		return Record{}, false
	}
	if damage != nil {
		s.counters.damaged.Add(1)
		s.Delete(id)
	}
	return r, ok
}

// Put holds r as what is known of id, if valid says so. valid is called at a moment at which no
// Delete, Flush or Checkpoint is under way: what one of them that has returned said comes before.
func (s *Store) Put(id string, r Record, valid func() bool) bool {
	if !s.On() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.On() || !valid() {
		return false
	}
	if len(s.pending) >= maxPending {
		s.counters.dropped.Add(1)
		s.deleteLocked(id) // what the file has may be older
		return false
	}
	r.session, r.generation = s.session, s.generation.Load()
	s.putLocked(id, &r)
	return true
}

func (s *Store) putLocked(id string, r *Record) {
	if old, there := s.pending[id]; there && old == nil {
		s.deletes--
	}
	s.pending[id] = r
}

// Delete ends what is held of id.
func (s *Store) Delete(id string) { s.DeleteAs(id, func() {}) }

// DeleteAs is Delete at the moment at which end, which it calls once, ends the rest of what is held
// of id: no Get that begins after end finds what was there before, and no Put whose valid was asked
// before stays.
func (s *Store) DeleteAs(id string, end func()) {
	if !s.On() {
		end()
		return
	}
	s.mu.Lock()
	end()
	s.deleteLocked(id)
	behind := s.deletes > maxDeletes
	s.mu.Unlock()
	if behind {
		s.giveUp(errFellBehind)
	}
}

func (s *Store) deleteLocked(id string) {
	if old, there := s.pending[id]; !there || old != nil {
		s.deletes++
	}
	s.pending[id] = nil
}

// Flush ends what is held of everyone, until Vouch says that it still counts.
func (s *Store) Flush() { s.FlushAs(func() {}) }

// FlushAs is Flush at the moment at which end, which it calls once, ends the rest of what is held;
// see DeleteAs.
func (s *Store) FlushAs(end func()) {
	if !s.On() {
		end()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	end()
	s.generation.Add(1)
	s.dirty = true
}

// Checkpoint says that everything that was told up to this place, in the caller's words, has been
// said to the store. It is kept in the transaction of what was said before. at is copied.
func (s *Store) Checkpoint(at []byte) {
	if !s.On() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !bytes.Equal(at, s.checkpoint) {
		s.checkpoint, s.dirty = slices.Clone(at), true
	}
}

// Renew is Put in the place of what is held of id: it reports false, and does nothing, when that is
// nothing, or newer.
func (s *Store) Renew(id string, r Record, valid func() bool) bool {
	return s.exchange(id, func(held *Record) *Record {
		if held == nil || held.generation != s.generation.Load() || held.Version > r.Version {
			return nil
		}
		r.session = s.session
		return &r
	}, valid)
}

// exchangeTries is how often exchange looks again because something came between.
const exchangeTries = 3

// exchange puts what take makes of what is held of id in its place, if valid, which is called as
// that of Put is, says so. take gets nil for nothing, and may return nil to leave it.
func (s *Store) exchange(id string, take func(held *Record) *Record, valid func() bool) bool {
	for range exchangeTries {
		commits := s.counters.commits.Load()
		held, waits := s.changed(id)
		if !waits {
			held = s.read(id)
		}
		r := take(held)
		if r == nil {
			return false
		}
		if done, again := s.exchangeNow(id, held, waits, commits, r, valid); !again {
			return done
		}
	}
	return false
}

// exchangeNow reports again when what was held has changed since it was looked at: it was one of
// the changes that wait, or it was in the file after so many transactions.
func (s *Store) exchangeNow(
	id string, held *Record, waits bool, commits uint64, r *Record, valid func() bool,
) (done, again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, still := s.changedLocked(id)
	if waits != still || waits && now != held || !waits && s.counters.commits.Load() != commits {
		return false, true
	}
	if !s.On() || len(s.pending) >= maxPending || !valid() {
		return false, false
	}
	r.generation = s.generation.Load()
	s.putLocked(id, r)
	return true, false
}

// Has reports whether there is something of id, whether it counts or not.
func (s *Store) Has(id string) bool {
	if !s.On() {
		return false
	}
	r, there := s.changed(id)
	if !there {
		r = s.read(id)
	}
	return r != nil
}

// Doubt is an entry from before a Flush.
type Doubt struct {
	ID      string
	Version int64
}

// doubtScan bounds what one call of Doubtful looks at.
const doubtScan = 4096

// Doubtful returns up to n entries from before the last Flush whose ids follow after, and the id to
// go on from; "" at the end.
func (s *Store) Doubtful(after string, n int) (doubts []Doubt, next string) {
	if !s.On() {
		return nil, ""
	}
	now, scanned := s.generation.Load(), 0
	err := guard(func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			c := tx.Bucket(usersBucket).Cursor()
			for k, v := c.Seek([]byte(after)); k != nil; k, v = c.Next() {
				if string(k) == after {
					continue
				}
				r, err := decode(string(k), v)
				if err == nil && r.generation != now {
					doubts = append(doubts, Doubt{string(k), r.Version})
				}
				if scanned++; scanned == doubtScan || len(doubts) == n {
					next = string(k)
					return nil
				}
			}
			return nil
		})
	})
	if err != nil {
		s.giveUp(err)
		return nil, ""
	}
	return doubts, next
}

// Discard deletes an entry from before the last Flush, unless it has been changed since it was
// doubted.
func (s *Store) Discard(d Doubt) {
	if !s.On() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, pending := s.pending[d.ID]
	_, committing := s.committing[d.ID]
	if !pending && !committing {
		s.deleteLocked(d.ID)
	}
}

// Vouch says that an entry from before the last Flush still counts if it has this version, and
// valid, which is called as that of Put is, says so. It counts as one of an earlier session.
func (s *Store) Vouch(d Doubt, valid func() bool) bool {
	if !s.On() {
		return false
	}
	return s.exchange(d.ID, func(held *Record) *Record {
		if held == nil || held.generation == s.generation.Load() || held.Version != d.Version {
			return nil
		}
		r := *held
		r.session = 0 // no session is 0
		return &r
	}, valid)
}
