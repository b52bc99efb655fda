package auth

import (
	"crypto/sha256"
	"hash/maphash"
	"sync"
)

const (
	// memoryShards spread the tokens that are remembered over locks.
	memoryShards = 16
	// shardTokens is how many of them a shard remembers; with the longest tokens all of it takes 64
	// MiB or less, and such tokens only come from who may issue them.
	shardTokens = 512
)

// memory remembers tokens that were found good, so that their next request costs no signature. The
// zero value is ready.
type memory struct {
	once   sync.Once
	seed   maphash.Seed
	shards [memoryShards]struct {
		sync.RWMutex
		tokens map[string]remembered
	}
}

type remembered struct {
	id   *Identity
	keys *keySet // with which it was verified
}

func (m *memory) shard(header string) int {
	m.once.Do(func() { m.seed = maphash.MakeSeed() })
	return int(maphash.String(m.seed, header) % memoryShards)
}

// find returns whose header it is, nil when that is not known, is over, or was found out with other
// keys. now is in unix seconds.
func (m *memory) find(header string, keys *keySet, now int64) *Identity {
	s := &m.shards[m.shard(header)]
	s.RLock()
	got, ok := s.tokens[header]
	s.RUnlock()
	if !ok || got.keys != keys || now >= got.id.ends {
		return nil
	}
	return got.id
}

// keep remembers a header. A full shard forgets any other one.
func (m *memory) keep(header string, id *Identity, keys *keySet) {
	s := &m.shards[m.shard(header)]
	s.Lock()
	defer s.Unlock()
	if s.tokens == nil {
		s.tokens = make(map[string]remembered)
	}
	for other := range s.tokens {
		if len(s.tokens) < shardTokens {
			break
		}
		delete(s.tokens, other)
	}
	s.tokens[header] = remembered{id, keys}
}

// fingerprint tells tokens apart without holding them.
func fingerprint(token string) string {
	sum := sha256.Sum256([]byte(token))
	return "token:" + string(sum[:16])
}
