package kv

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestReadersNeverGoBack has readers of a few users while these change and transactions are
// written: from the file or from what is pending, a read that begins after a change sees it.
func TestReadersNeverGoBack(t *testing.T) {
	const users, changes = 8, 3000
	s := mustOpen(t, quiet(t.TempDir()))
	defer func() { check1(t, s.Close()) }()
	var said [users]atomic.Int64
	var done atomic.Bool
	var reading sync.WaitGroup
	for reader := range 3 {
		reading.Go(func() {
			for i := reader; !done.Load(); i++ {
				user := i % users
				least := said[user].Load()
				if r, ok := s.Get(strconv.Itoa(user)); least > 0 && (!ok || r.Version < least) {
					t.Errorf("user %d: %d, %v; want %d or more", user, r.Version, ok, least)
					return
				}
			}
		})
	}
	for i := range int64(changes) {
		user := int(i) % users
		put(s, strconv.Itoa(user), i+1, "x")
		said[user].Store(i + 1)
		if i%5 == 0 {
			s.commit()
		}
	}
	done.Store(true)
	reading.Wait()
}

// TestReadersDoNotKeepPages changes users again and again while somebody reads: the file must not
// keep what a transaction has freed.
func TestReadersDoNotKeepPages(t *testing.T) {
	s := mustOpen(t, quiet(t.TempDir()))
	defer func() { check1(t, s.Close()) }()
	size := int64(0)
	for round := range 300 {
		for id := range 100 {
			put(s, strconv.Itoa(id), int64(round+1), "some text that takes a little room")
		}
		s.commit()
		if r, ok := s.Get("7"); !ok || r.Version != int64(round+1) {
			t.Fatalf("round %d: %+v, %v", round, r, ok)
		}
		if round == 100 {
			size = s.Stats().FileBytes
		}
	}
	if now := s.Stats().FileBytes; size == 0 || now > size {
		t.Errorf("the file has grown from %d to %d bytes", size, now)
	}
	if n := s.db.Stats().OpenTxN; n != 1 {
		t.Errorf("%d transactions are open; want the one of the readers", n)
	}
}

// TestSharedReaderAfterAPanic reads with a function that panics, as a damaged page does.
func TestSharedReaderAfterAPanic(t *testing.T) {
	s := mustOpen(t, quiet(t.TempDir()))
	defer func() { check1(t, s.Close()) }()
	put(s, "1", 1, "x")
	s.commit()
	err := guard(func() error {
		s.snapshot.read("1", func([]byte) { panic("torn") })
		return nil
	})
	if err == nil {
		t.Fatal("no error of a read that panics")
	}
	closed := make(chan struct{})
	go func() { s.snapshot.close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		t.Fatal("the reader that panicked is still in the transaction")
	}
	if r, ok := s.Get("1"); !ok || r.Version != 1 {
		t.Errorf("without the shared transaction: %+v, %v", r, ok)
	}
}
