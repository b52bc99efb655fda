package edge

import (
	"errors"
	"math/bits"
	"sync/atomic"
)

// buckets of fuel: one for each power of two.
const buckets = 40

// counters counts the calls of one function. Fuel is counted by the power of two above it.
type counters struct {
	calls, refused, failed atomic.Uint64
	byKind                 [4]atomic.Uint64 // traps, out of fuel, too deep, output
	fuel                   [buckets]atomic.Uint64
}

func (c *counters) count(used int64, err error) {
	c.calls.Add(1)
	c.fuel[min(bits.Len64(uint64(max(used, 0))), buckets-1)].Add(1)
	if err == nil {
		return
	}
	if errors.Is(err, ErrRefused) {
		c.refused.Add(1)
		return
	}
	c.failed.Add(1)
	switch {
	case errors.Is(err, ErrTrap):
		c.byKind[0].Add(1)
	case errors.Is(err, ErrFuel):
		c.byKind[1].Add(1)
	case errors.Is(err, ErrDepth):
		c.byKind[2].Add(1)
	default:
		c.byKind[3].Add(1)
	}
}

// CallStats is what became of the calls of a function.
type CallStats struct {
	// Calls counts the calls that ran; answers that were kept are none.
	Calls uint64 `json:"calls"`
	// Refused counts those that refused, and Failed those that brought neither a profile nor a
	// refusal: Traps, OutOfFuel, TooDeep and BadOutput together.
	Refused   uint64 `json:"refused"`
	Failed    uint64 `json:"failed"`
	Traps     uint64 `json:"traps"`
	OutOfFuel uint64 `json:"outOfFuel"`
	TooDeep   uint64 `json:"tooDeep"`
	BadOutput uint64 `json:"badOutput"`
	// FuelP50 and FuelP99 are what half and 99 % of the calls needed at most, rounded up to a power
	// of two less 1.
	FuelP50 int64 `json:"fuelP50"`
	FuelP99 int64 `json:"fuelP99"`
	// Instances is how many there are, and Bytes what their memories and the one they are made from
	// take.
	Instances int   `json:"instances"`
	Bytes     int64 `json:"bytes"`
}

// Stats returns a snapshot.
func (f *Function) Stats() CallStats {
	c := &f.counters
	s := CallStats{Calls: c.calls.Load(), Refused: c.refused.Load(), Failed: c.failed.Load(), Traps: c.byKind[0].Load(),
		OutOfFuel: c.byKind[1].Load(), TooDeep: c.byKind[2].Load(), BadOutput: c.byKind[3].Load()}
	s.FuelP50, s.FuelP99 = c.quantile(50), c.quantile(99)
	f.mu.Lock()
	s.Instances = f.live
	f.mu.Unlock()
	s.Bytes = int64(1+s.Instances) * int64(len(f.memory))
	return s
}

// quantile returns the fuel that percent of the calls did not exceed.
func (c *counters) quantile(percent uint64) int64 {
	var counts [buckets]uint64
	var all uint64
	for i := range c.fuel {
		counts[i] = c.fuel[i].Load()
		all += counts[i]
	}
	var below uint64
	for i, n := range counts {
		if below += n; n > 0 && below*100 >= all*percent {
			return 1<<i - 1
		}
	}
	return 0
}
