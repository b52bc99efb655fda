package tier

import (
	"math/bits"
	"sync/atomic"
)

// admission decides which answers of Redis are worth an offer to the engine once that is full.
// There an offer costs more than it brings: the engine samples what it might evict, evicts, and
// most of what was read once is not read again. So an entry is offered when its id was read from
// Redis lately, which a table of fingerprints remembers (the ghost list of 2Q, Johnson and Shasha
// 1994, without its order: a newer id takes the slot of an older one). What the origin answered is
// always offered, because a miss costs more there.
type admission struct {
	// full says that the last thing that changed the engine's room was an eviction.
	full   atomic.Bool
	ghosts []atomic.Uint32
}

// ghostsPerEntry is how many ids the table remembers for each entry that L1 has room for.
const ghostsPerEntry = 2

func newAdmission(entries int64) *admission {
	return &admission{ghosts: make([]atomic.Uint32, 1<<bits.Len64(uint64(ghostsPerEntry*entries)))}
}

// admit reports whether to offer an entry, and remembers its id.
func (a *admission) admit(h hash) bool {
	if !a.full.Load() {
		return true
	}
	ghost := &a.ghosts[h.check&uint64(len(a.ghosts)-1)]
	print := uint32(h.key >> 32)
	if ghost.Load() == print {
		return true
	}
	ghost.Store(print)
	return false
}

// note notes that the engine had to make room, or that it has some again.
func (a *admission) note(full bool) {
	if a.full.Load() != full {
		a.full.Store(full)
	}
}
