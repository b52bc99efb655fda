package node

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// TestOutsideWritesCostOneCall has another service write, again and again, while all users are read
// on three nodes: the origin is asked once for each write by the whole cluster, and once more where
// its answer contradicts what was written.
func TestOutsideWritesCostOneCall(t *testing.T) {
	for name, write := range map[string]func(b *beside, id string, version int64){
		"an event of a change in the database": func(b *beside, id string, version int64) {
			p := person(id, version)
			b.truth.set(p)
			b.event(id, `,"fullName":"`+p.FullName+`"`, time.Now())
		},
		"a whole hash that contradicts the database": func(b *beside, id string, version int64) {
			b.hset(id, whole("Of Others", time.Now().UnixMilli())...)
		},
		"a deleted hash": func(b *beside, id string, _ int64) {
			check(b.T, b.redis.Del(b.Context(), profile.Key(id)).Err())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, writes := newBeside(t), pick(20, 400)
			calls := b.readWhile(func() {
				for i := range writes {
					write(b, strconv.Itoa(1+i%20), int64(10+i))
					wait(t.Context(), 50*time.Millisecond)
				}
				wait(t.Context(), 5*time.Second) // what is asked once more is asked after 3 s
			})
			each := float64(calls) / float64(writes)
			t.Logf("result: %s, %d times, while three nodes read | one or two calls for each | %.2f", name, writes, each)
			if each < 0.5 || each > 2 {
				t.Errorf("%d calls of the origin for %d writes; want one or two for each", calls, writes)
			}
		})
	}
}

// readWhile reads all users on all nodes, and again, while does runs, and returns how often the
// origin was asked meanwhile.
func (b *beside) readWhile(does func()) int64 {
	read := func(ctx context.Context) {
		for _, n := range b.nodes {
			for id := range 20 {
				_, _ = n.Get(ctx, strconv.Itoa(id+1))
			}
		}
	}
	read(b.Context())
	before := b.asked.Load()
	ctx, stop := context.WithCancel(b.Context())
	var reading sync.WaitGroup
	reading.Go(func() {
		for ctx.Err() == nil {
			read(ctx)
			wait(ctx, 5*time.Millisecond)
		}
	})
	does()
	stop()
	reading.Wait()
	return b.asked.Load() - before
}
