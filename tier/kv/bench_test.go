package kv

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// benchUsers is how many users a store has here, of 160 bytes each.
const benchUsers = 300_000

func filledFor(b *testing.B) *Store {
	b.Helper()
	s := mustOpen(b, quiet(b.TempDir()))
	b.Cleanup(func() { check1(b, s.Close()) })
	text := strings.Repeat("x", 130)
	for i := range benchUsers {
		put(s, fmt.Sprint("user-", i), 1, text)
		if i%50_000 == 0 {
			s.commit()
		}
	}
	s.commit()
	return s
}

// BenchmarkRead compares a read of the store with bbolt's own, by one goroutine and in turns.
func BenchmarkRead(b *testing.B) {
	s := filledFor(b)
	ids := make([]string, 1<<16)
	for i := range ids {
		ids[i] = fmt.Sprint("user-", rand.IntN(benchUsers))
	}
	b.Run("bbolt", func(b *testing.B) {
		for i := range b.N {
			_ = s.db.View(func(tx *bbolt.Tx) error {
				_ = tx.Bucket(usersBucket).Get([]byte(ids[i%len(ids)]))
				return nil
			})
		}
	})
	b.Run("store", func(b *testing.B) {
		for i := range b.N {
			if _, ok := s.Get(ids[i%len(ids)]); !ok {
				b.Fatal("nothing there")
			}
		}
	})
}

// BenchmarkChanges measures how much of a core 1,000 changes a second take: b.N seconds of them.
func BenchmarkChanges(b *testing.B) {
	s := filledFor(b)
	text := strings.Repeat("y", 130)
	var before, after syscall.Rusage
	check1(b, syscall.Getrusage(syscall.RUSAGE_SELF, &before))
	b.ResetTimer()
	for range b.N * 10 {
		for range 100 {
			put(s, fmt.Sprint("user-", rand.IntN(benchUsers)), 2, text)
		}
		s.Checkpoint([]byte(fmt.Sprint(time.Now().UnixNano())))
		s.commit()
	}
	b.StopTimer()
	check1(b, syscall.Getrusage(syscall.RUSAGE_SELF, &after))
	used := time.Duration(after.Utime.Nano() + after.Stime.Nano() -
		before.Utime.Nano() - before.Stime.Nano())
	b.ReportMetric(100*used.Seconds()/float64(b.N), "%core")
}

// BenchmarkOpen measures the opening of a store, its check included.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	s := mustOpen(b, quiet(dir))
	text := strings.Repeat("x", 130)
	for i := range benchUsers {
		put(s, fmt.Sprint("user-", i), 1, text)
		if i%50_000 == 0 {
			s.commit()
		}
	}
	check1(b, s.Close())
	b.ResetTimer()
	for range b.N {
		s, err := Open(quiet(dir))
		check1(b, err)
		b.StopTimer()
		check1(b, s.Close())
		b.StartTimer()
	}
}
