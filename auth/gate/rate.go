package gate

import (
	"hash/maphash"
	"math"
	"net/netip"
	"sync"
	"time"
)

const (
	rateShards = 64
	// shardClients is how many clients a shard counts one by one; those beyond share one count.
	shardClients = 2048
	// sweepEvery is how often a full shard is looked through for clients that may be forgotten.
	sweepEvery = time.Second
)

// client is who asks: the bearer of a token, or an address.
type client struct {
	bearer string
	addr   netip.Addr
}

// rate limits the requests a second of each client. It is the generic cell rate algorithm: all it
// knows of a client is until when its requests have used up what it may send. All methods may be
// called concurrently.
type rate struct {
	interval int64 // ns that one request takes up
	credit   int64 // ns that may be used up ahead
	began    time.Time
	seed     maphash.Seed
	shards   [rateShards]struct {
		sync.Mutex
		until map[client]int64 // ns since began
		swept int64            // when it was looked through last, ns since began
	}
}

// newRate returns nil for no limit. burst 0 is what a second allows.
func newRate(perSecond float64, burst int) *rate {
	if perSecond <= 0 {
		return nil
	}
	if burst == 0 {
		burst = max(1, int(math.Ceil(perSecond)))
	}
	r := &rate{interval: max(1, int64(float64(time.Second)/perSecond)), began: time.Now(), seed: maphash.MakeSeed()}
	r.credit = r.interval * int64(burst)
	for i := range r.shards {
		r.shards[i].until = make(map[client]int64)
	}
	return r
}

// take counts a request. It returns 0, or how long the client should wait for its next one.
func (r *rate) take(c client) time.Duration {
	s := &r.shards[maphash.Comparable(r.seed, c)%rateShards]
	now := int64(time.Since(r.began))
	s.Lock()
	defer s.Unlock()
	until, known := s.until[c]
	if !known && len(s.until) >= shardClients && now-s.swept >= int64(sweepEvery) {
		s.swept = now
		forget(s.until, now)
	}
	if !known && len(s.until) >= shardClients {
		c = client{} // nobody has it
		until = s.until[c]
	}
	until = max(until, now) + r.interval
	if wait := until - now - r.credit; wait > 0 {
		return time.Duration(wait)
	}
	s.until[c] = until
	return 0
}

// forget drops the clients who have all their credit again.
func forget(until map[client]int64, now int64) {
	for c, t := range until {
		if t <= now {
			delete(until, c)
		}
	}
}

// inFlight bounds what each client has under way. Its zero value bounds nothing.
type inFlight struct {
	most int // 0: any number
	mu   sync.Mutex
	n    map[client]int // guarded by mu
}

// enter reports whether the client may begin one more; leave ends it.
func (f *inFlight) enter(c client) bool {
	if f.most == 0 {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n == nil {
		f.n = make(map[client]int)
	}
	if f.n[c] >= f.most {
		return false
	}
	f.n[c]++
	return true
}

func (f *inFlight) leave(c client) {
	if f.most == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n[c]--; f.n[c] <= 0 {
		delete(f.n, c)
	}
}
