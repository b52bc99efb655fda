package tier

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// entry is what L1 holds for one id. All but refreshing is immutable from the moment it is shared.
//
// What a hit reads stands first, in one or two cache lines; the bytes of the id, which lie
// elsewhere, are not read: key and check are 128 bits of its seeded hash.
type entry struct {
	// pair was captured before the load began.
	pair pair
	// check is the id's second hash; the first is the engine's key.
	check uint64
	// refreshAt is when, on the node's clock, the entry is due for a refresh; until then a hit is
	// nothing but an answer. Always past for an absent user.
	refreshAt int64
	// loaded is when the load began; the entry is at least as new as that moment.
	loaded int64
	// packed is the profile in msgpack, once; empty until the entry is offered to the engine.
	packed string
	// views are what edge functions made of the profile, the newest first.
	views atomic.Pointer[view]
	// refreshing is set by the first reader who finds the entry due for a refresh.
	refreshing atomic.Bool
	// absent says that the user does not exist.
	absent bool
	// origin says that the load asked the origin, so that a dead stream cannot have hidden a change
	// before it.
	origin bool
	// profile's strings point into packed, if there is any. For a user known not to exist only the
	// id is set.
	profile profile.Profile
}

// entryOverhead is what an entry takes beside its packed bytes: the entry itself, and what
// ristretto's store, policy and counters keep for a key. The share beyond the entry was fitted to
// the heap's growth over 300,000 entries, see TestCostMatchesTheHeap.
const entryOverhead = int64(unsafe.Sizeof(entry{})) + 160

// attrOverhead is what a map entry takes beside the bytes of its key and value, which are in
// packed.
const attrOverhead = 64

// newEntry packs a copy of p, which must have passed profile.Check.
func newEntry(p *profile.Profile) *entry {
	e := &entry{profile: *p}
	e.pack()
	return e
}

// pack makes packed, and the profile, which must have passed profile.Check, point into it. The
// entry then shares nothing with where the profile came from.
func (e *entry) pack() {
	b := profile.Pack(&e.profile)
	e.packed = unsafe.String(unsafe.SliceData(b), len(b))
}

// bytes returns the profile in msgpack.
func (e *entry) bytes() []byte {
	if e.packed != "" {
		return unsafe.Slice(unsafe.StringData(e.packed), len(e.packed))
	}
	return profile.AppendMsgpack(nil, &e.profile)
}

// entries are what is read for several ids, each at its id's place; nil where there is none.
type entries []*entry

// room makes the i-th, and returns where its profile goes.
func (e entries) room(i int) *profile.Profile {
	e[i] = new(entry)
	return &e[i].profile
}

func (e *entry) result(from look.Tier, age time.Duration) Result {
	return Result{Profile: &e.profile, Tier: from, Age: age, from: e}
}

// keepFor sets the times of an entry whose load began at loaded: it is fresh for ttl less up to 10
// %, so that entries filled together do not expire together, and due for a refresh a tenth of ttl
// before its end.
func (e *entry) keepFor(loaded int64, ttl time.Duration) {
	e.loaded = loaded
	e.refreshAt = loaded + int64(ttl) - int64(ttl)/10 - rand.Int64N(int64(ttl)/10+1)
}

// expires returns when the entry stops to be fresh.
func (c *Cache) expires(e *entry) int64 {
	if e.absent {
		return e.loaded + int64(c.conf.Negative)
	}
	return e.refreshAt + int64(c.conf.L1TTL)/10
}

func (e *entry) cost() int64 {
	return entryOverhead + int64(len(e.packed)+15)&^15 + int64(len(e.profile.Attrs))*attrOverhead
}
