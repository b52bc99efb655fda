package tier

import (
	"context"
	"strconv"
	"testing"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// BenchmarkHit compares a hit, all checks included, with ristretto's own Get of the same keys. The
// committed figures come from the benchmarks module; these are for profiling.
func BenchmarkHit(b *testing.B) {
	const users = 10_000
	ctx := context.Background()
	c := newCache(b, redistest.Server(b).URL(), newTruth(users), nil)
	bare, err := ristretto.NewCache(&ristretto.Config[string, *entry]{NumCounters: 2 << 20, MaxCost: 256 << 20, BufferItems: 64, IgnoreInternalCost: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(bare.Close)
	ids := make([]string, users)
	for i := range ids {
		ids[i] = strconv.Itoa(i + 1)
		if _, err := c.Get(ctx, ids[i]); err != nil {
			b.Fatal(err)
		}
	}
	c.l1.engine.Wait()
	for _, id := range ids { // the same entries, so that both meet the same memory
		bare.Set(id, c.l1.peek(c.l1.hash(id)), 500)
	}
	bare.Wait()
	run := func(name string, get func(id string) bool) {
		b.Run(name+"/one", func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if !get(ids[i%users]) {
					b.Fatal("not a hit")
				}
			}
		})
		b.Run(name+"/all", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if !get(ids[i%users]) {
						b.Error("not a hit")
					}
				}
			})
		})
	}
	run("edgecache", func(id string) bool {
		r, err := c.Get(ctx, id)
		return err == nil && r.Tier == look.FromL1 && r.Profile.FullName != ""
	})
	run("ristretto", func(id string) bool {
		e, ok := bare.Get(id)
		return ok && e.profile.FullName != ""
	})
}

// BenchmarkL2Hit reads from Redis past L1, one user and a hundred at a time. Its allocations are
// what to watch: the time is Redis's.
func BenchmarkL2Hit(b *testing.B) {
	const users = 100
	c := newCache(b, redistest.Server(b).URL(), newTruth(users), nil)
	ids := make([]string, users)
	for i := range ids {
		ids[i] = strconv.Itoa(i + 1)
	}
	if _, err := c.BatchGet(b.Context(), ids, Want{}); err != nil {
		b.Fatal(err)
	}
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			r, err := c.GetWith(context.Background(), ids[i%users], Want{MaxAge: 1})
			if err != nil || r.Tier != look.FromL2 {
				b.Fatal(r.Tier, err)
			}
		}
	})
	b.Run("hundred", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			got, err := c.BatchGet(context.Background(), ids, Want{MaxAge: 1})
			if err != nil || got.Found["1"].Tier != look.FromL2 {
				b.Fatal(got.Found["1"].Tier, err)
			}
		}
	})
}
