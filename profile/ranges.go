package profile

import "github.com/cespare/xxhash/v2"

// Ranges is the number of parts into which ids fall, so that a cluster can share out its users.
const Ranges = 1 << rangeBits

const rangeBits = 10

// RangeOf returns the range of an id, 0 to Ranges-1: the highest bits of its 64-bit xxHash, the
// same in every process.
func RangeOf(id string) int { return int(xxhash.Sum64String(id) >> (64 - rangeBits)) }
