package node

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// prewarmLookups is the cache as a prewarm sees it, with lookups of its own: they are no readers'.
type prewarmLookups struct {
	*tier.Cache
	hits, misses atomic.Uint64
}

// BatchGet implements prewarm.Cache.
func (p *prewarmLookups) BatchGet(ctx context.Context, ids []string, w tier.Want) (tier.Batch, error) {
	b, err := p.Cache.BatchGet(ctx, ids, w)
	if err != nil {
		return b, err
	}
	hits := uint64(0)
	for _, r := range b.Found {
		if r.Tier == look.FromL1 {
			hits++
		}
	}
	p.hits.Add(hits)
	p.misses.Add(uint64(len(b.Found)+len(b.Missing)+len(b.Errors)) - hits)
	return b, nil
}

// counts returns the lookups so far; none of a node that takes no part in prewarms.
func (p *prewarmLookups) counts() (hits, misses uint64) {
	if p == nil {
		return 0, 0
	}
	return p.hits.Load(), p.misses.Load()
}

const (
	// fullAt is the share of its capacity from which on a memory is full: a prewarm fills filledTo.
	fullAt, filledTo = 0.75, 0.8
	// mostOf is the share of the planned users that is as good as all: some do not exist.
	mostOf = 0.9
)

// memoryWarmth returns how much of what a run has planned is in memory, and says so when it is full
// without all of it.
func memoryWarmth(run *prewarm.Status, c *tier.Stats) (share float64, short string) {
	planned := run.Whole
	if planned == 0 {
		return 0, ""
	}
	share = min(1, float64(c.L1Entries)/float64(planned))
	full := float64(c.L1Bytes) >= fullAt*float64(c.L1Capacity)
	if run.State != prewarm.Done || !full || share >= mostOf || c.L1Entries == 0 {
		return share, ""
	}
	need := float64(c.L1Bytes) / float64(c.L1Entries) * float64(planned) / filledTo
	return share, fmt.Sprintf("memory holds %d of %d users; %.0f MiB would hold all", c.L1Entries, planned, need/(1<<20)+1)
}
