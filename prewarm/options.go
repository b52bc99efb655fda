package prewarm

import (
	"cmp"
	"fmt"
	"math"
	"time"
)

const (
	// MostUsers is the highest Options.MaxUsers: a plan of so many takes a few hundred megabytes of
	// Redis.
	MostUsers = 10_000_000
	// mostBatch is the most users of one batch; the origin takes no more at once.
	mostBatch = 500
	mostDays  = 3650
	mostRate  = 10_000_000
)

// Options say what one run loads, and how fast. The zero value is the contract's: 10,000 users of
// the last 7 days, 500 each 1,500 ms.
type Options struct {
	// MaxUsers is how many users the whole cluster loads, the newest. Default 10,000, at most
	// MostUsers.
	MaxUsers int `json:"maxUsers"`
	// DaysBack is for how many days back a user counts as active. Default 7, at most 3,650.
	DaysBack int `json:"daysBack"`
	// BatchSize and Delay are the contract's way to say Rate: so many users each so long. BatchSize
	// also bounds one batch. Defaults 500, which is also the most, and 1,500 ms; without Delay
	// (below 0) the origin is asked as fast as it answers.
	BatchSize int           `json:"batchSize"`
	Delay     time.Duration `json:"-"`
	// Rate is how many users a second the whole cluster asks of the origin at most. Default
	// BatchSize/Delay; below 0: as fast as it answers. A node's share of less than one user a
	// second is more than its part of the bound allows while other nodes act in the same second.
	Rate float64 `json:"rate"`
	// Unlimited asks the origin as fast as it answers.
	Unlimited bool `json:"unlimited"`
	// Sources say who is active, for this run, in the place of Config.Sources.
	Sources []Source `json:"-"`
}

func (o Options) withDefaults() Options {
	o.MaxUsers, o.DaysBack, o.BatchSize = cmp.Or(o.MaxUsers, 10_000), cmp.Or(o.DaysBack, 7), cmp.Or(o.BatchSize, mostBatch)
	o.Delay = cmp.Or(o.Delay, 1500*time.Millisecond)
	if o.Unlimited || o.Rate < 0 || o.Rate == 0 && o.Delay < 0 {
		o.Unlimited, o.Rate = true, 0
	}
	if o.Rate == 0 && !o.Unlimited {
		o.Rate = float64(o.BatchSize) / o.Delay.Seconds()
	}
	return o
}

func (o Options) validate() error {
	switch {
	case o.MaxUsers < 1 || o.MaxUsers > MostUsers:
		return fmt.Errorf("%w: MaxUsers is %d; want 1 to %d", ErrConfig, o.MaxUsers, MostUsers)
	case o.DaysBack < 1 || o.DaysBack > mostDays:
		return fmt.Errorf("%w: DaysBack is %d; want 1 to %d", ErrConfig, o.DaysBack, mostDays)
	case o.BatchSize < 1 || o.BatchSize > mostBatch:
		return fmt.Errorf("%w: BatchSize is %d; want 1 to %d", ErrConfig, o.BatchSize, mostBatch)
	case !o.Unlimited && (math.IsNaN(o.Rate) || o.Rate < minRate || o.Rate > mostRate):
		return fmt.Errorf("%w: Rate is %g users/s; want %g to %d, or below 0 for no limit", ErrConfig, o.Rate, minRate, mostRate)
	}
	return checkSources(o.Sources)
}

// minRate is the slowest: one user in ten seconds.
const minRate = 0.1
