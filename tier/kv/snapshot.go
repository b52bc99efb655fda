package kv

import (
	"sync"
	"unsafe"

	"go.etcd.io/bbolt"
)

// snapshot is a transaction for all who read the file between two of the store's own. To open one
// for each read would take as long as the read itself. While a transaction is written there is
// none: pages that it frees could not be used again, and the file could not grow, which waits for
// all readers. Readers open their own meanwhile.
type snapshot struct {
	mu sync.RWMutex
	tx *bbolt.Tx // guarded by mu; nil for none
	// cursors are those of tx, each for one reader at a time; their stacks are used again.
	cursors sync.Pool
}

// open begins the transaction.
func (s *snapshot) open(db *bbolt.DB) error {
	tx, err := db.Begin(false)
	if err != nil {
		return err
	}
	users := tx.Bucket(usersBucket)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tx = tx
	s.cursors = sync.Pool{New: func() any { return users.Cursor() }}
	return nil
}

// close ends the transaction once nobody reads in it.
func (s *snapshot) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tx != nil {
		_ = s.tx.Rollback() // of a reader: it has nothing to fail with
		s.tx = nil
	}
}

// read calls f with the value of id, nil for none, which is valid until f returns. It reports false
// when there is no transaction to read in. It may panic as bbolt does.
func (s *snapshot) read(id string, f func(value []byte)) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.tx == nil {
		return false
	}
	c := s.cursors.Get().(*bbolt.Cursor)
	k, v := c.Seek(unsafe.Slice(unsafe.StringData(id), len(id))) // is read only
	if string(k) != id {
		v = nil
	}
	f(v)
	s.cursors.Put(c) // not after a panic
	return true
}
