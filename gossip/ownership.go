package gossip

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Ownership says which member owns which range. It never changes, so it may be used by many at
// once. The zero value owns nothing.
type Ownership struct {
	names  []string // sorted
	owners [profile.Ranges]int32
}

// Owners gives each range to the member with the highest score for it (rendezvous hashing). It
// depends on the names and weights of the members that are Alive and on nothing else: not on their
// order, this process or the past. So nodes that see the same members say the same, and when one
// leaves only its ranges change hands.
//
// With weights the score is w / -ln(u), where u in (0,1) is the member's hash for the range: the
// weighted form of rendezvous hashing (Schindelhauer and Schomaker, Weighted Distributed Hash
// Tables, SPAA 2005, "logarithmic method"). A member wins a range with probability w / sum of all
// w.
//
// u is not the hash itself but its rank among the member's 1024 hashes, which spreads each member's
// u evenly: with ten equal members the standard deviation of a member's ranges falls from 9.6 to
// 6.6 around 102.4.
func Owners(members []Member) *Ownership {
	o := &Ownership{}
	var best [profile.Ranges]float64
	for i, m := range eligible(members) {
		o.names = append(o.names, m.Name)
		for r, u := range draws(m.Name) {
			// An equal score, which two names practically never have, stays with the first name.
			if s := float64(m.Weight) / -math.Log(u); s > best[r] {
				best[r], o.owners[r] = s, int32(i)
			}
		}
	}
	return o
}

// eligible returns the members that may own ranges, in one order, each name once.
func eligible(members []Member) []Member {
	list := make([]Member, 0, len(members))
	for _, m := range members {
		if m.State == Alive {
			m.Weight = min(max(m.Weight, 1), maxWeight)
			list = append(list, m)
		}
	}
	slices.SortFunc(list, func(a, b Member) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(b.Weight, a.Weight))
	})
	return slices.CompactFunc(list, func(a, b Member) bool { return a.Name == b.Name })
}

// draws returns a member's u for each range. Each of the intervals [k/1024, (k+1)/1024) has exactly
// one of them.
func draws(name string) *[profile.Ranges]float64 {
	type draw struct {
		hash uint64
		r    int
	}
	var all [profile.Ranges]draw
	seed := binary.BigEndian.AppendUint64(nil, xxhash.Sum64String(name))
	for r := range all {
		all[r] = draw{xxhash.Sum64(binary.BigEndian.AppendUint16(seed[:8:8], uint16(r))), r}
	}
	slices.SortFunc(all[:], func(a, b draw) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.r, b.r))
	})
	var u [profile.Ranges]float64
	for rank, d := range all {
		// The hash's low bits say where in its interval, never on its edge, so that u is neither 0
		// nor 1.
		within := (float64(d.hash&(1<<32-1)) + 0.5) / (1 << 32)
		u[d.r] = (float64(rank) + within) / profile.Ranges
	}
	return &u
}

// Owner returns the name of the member that owns a range, 0 to profile.Ranges-1, or "" when there
// is no member.
func (o *Ownership) Owner(r int) string {
	if len(o.names) == 0 {
		return ""
	}
	return o.names[o.owners[r]]
}

// OwnerOf returns the name of the member that owns an id's range, or "" when there is no member.
func (o *Ownership) OwnerOf(id string) string { return o.Owner(profile.RangeOf(id)) }

// Owned returns the ranges of a member in ascending order, in a slice of its own.
func (o *Ownership) Owned(name string) []int {
	i, ok := slices.BinarySearch(o.names, name)
	if !ok {
		return nil
	}
	var ranges []int
	for r, owner := range o.owners {
		if int(owner) == i {
			ranges = append(ranges, r)
		}
	}
	return ranges
}
