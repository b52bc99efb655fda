package source_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/sample"
	"github.com/chatapp-ngomna/edgecache/source/sqlite"
)

// openStore starts a store in a new file.
func openStore(tb testing.TB) *sqlite.Store {
	tb.Helper()
	s, err := sqlite.New(sqlite.Config{Path: filepath.Join(tb.TempDir(), "origin.db")})
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

func TestBulkLoadOfSampleUsers(t *testing.T) {
	const n = 10_000
	s := openStore(t)
	for _, want := range []int64{n, 0} { // the second time all are there
		if added, err := s.BulkLoad(t.Context(), sample.Users(1, n)); err != nil || added != want {
			t.Fatalf("added %d, %v; want %d", added, err, want)
		}
	}
	if count, err := s.Count(t.Context()); err != nil || count != n {
		t.Error(count, err)
	}
	for i := 1; i <= n; i += 777 {
		want := sample.User(1, i)
		if got, err := s.Get(t.Context(), want.ID); err != nil || got.FullName != want.FullName || got.UpdatedAt != want.UpdatedAt {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

// BenchmarkBulkLoad loads 300,000 sample users an operation.
func BenchmarkBulkLoad(b *testing.B) {
	const n = 300_000
	for b.Loop() {
		if added, err := openStore(b).BulkLoad(b.Context(), sample.Users(1, n)); err != nil || added != n {
			b.Fatal(added, err)
		}
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "users/s")
}

// BenchmarkPut measures writes over HTTP that wait for their own relay.
func BenchmarkPut(b *testing.B) {
	s := openStore(b)
	if _, err := s.BulkLoad(b.Context(), sample.Users(1, 1000)); err != nil {
		b.Fatal(err)
	}
	relay, err := source.NewRelay(source.RelayConfig{Outbox: s, Announcer: source.AnnouncerFunc(func(context.Context, source.Change) error { return nil })})
	if err != nil {
		b.Fatal(err)
	}
	service, err := source.NewService(source.ServiceConfig{Listen: "127.0.0.1:0", Store: s, Relay: relay})
	if err := errors.Join(err, relay.Start(b.Context()), service.Start(b.Context())); err != nil {
		b.Fatal(err)
	}
	defer relay.Close()
	defer service.Close()
	client, err := origin.NewClient(origin.ClientConfig{URL: "http://" + service.Addr()})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	var n atomic.Int64
	put := func() {
		i := n.Add(1)
		avatar := fmt.Sprintf("/avatars/%d.jpg", i)
		w, err := client.Put(b.Context(), fmt.Sprint(1+i%1000), origin.Update{Avatar: &avatar})
		if err != nil || !w.Relayed {
			b.Error(w, err)
		}
	}
	b.Run("one after another", func(b *testing.B) {
		for b.Loop() {
			put()
		}
	})
	b.Run("32 at once", func(b *testing.B) {
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				put()
			}
		})
	})
}
