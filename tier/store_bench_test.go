package tier

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/kv"
)

// BenchmarkStoreHit looks up users that the store has and L1 has not.
func BenchmarkStoreHit(b *testing.B) {
	const users = 100_000
	s, err := kv.Open(kv.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for id := range users {
		p := user(strconv.Itoa(id), 1)
		s.Put(p.ID, kv.Record{Version: 1, Loaded: time.Now(), Packed: profile.AppendMsgpack(nil, p)}, func() bool { return true })
	}
	for s.Stats().Pending > 0 {
		time.Sleep(time.Millisecond)
	}
	c := newCache(b, redistest.Server(b).URL(), newTruth(1), func(conf *Config) { conf.Store, conf.L1Bytes = s, 1<<20 })
	c.Alive(0)
	b.ResetTimer()
	for i := range b.N {
		if _, err := c.Get(context.Background(), strconv.Itoa(i*7919%users)); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	if st := c.Stats(); st.StoreHits < st.L1Misses*9/10 {
		b.Errorf("%d of %d misses were answered by the store", st.StoreHits, st.L1Misses)
	}
}
