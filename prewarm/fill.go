package prewarm

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// fillBatch is how many users one read of Redis brings into memory.
const fillBatch = 500

// fill brings the users of the whole plan into this node's memory, newest first, until as much of
// it is used as Config.Fill says. The origin is not asked: a user who is not in Redis is passed
// over. It returns the state of the run then.
func (p *part) fill(ctx context.Context) State {
	if p.r.conf.Fill < 0 {
		return Done
	}
	p.mu.Lock()
	p.state = Filling
	p.mu.Unlock()
	users, err := p.whole(ctx)
	if err != nil {
		p.r.conf.Logger.WarnContext(ctx, "prewarm: fill the memory", "link", "prewarm", "run", p.rec.id, "error", err)
		return Done
	}
	var beatAt time.Time
	for chunk := range slices.Chunk(users, fillBatch) {
		if now := time.Now(); now.Sub(beatAt) >= beatEvery {
			beatAt = now
			if state, _, err := p.beat(ctx); err == nil && state != Done {
				return state // another run has begun
			}
		}
		if s := p.r.conf.Cache.Stats(); float64(s.L1Bytes) >= p.r.conf.Fill*float64(s.L1Capacity) {
			return Done
		}
		n, err := p.r.conf.Cache.Warm(ctx, ids(chunk))
		p.mu.Lock()
		p.filled += int64(n)
		p.mu.Unlock()
		if err != nil {
			p.r.conf.Logger.WarnContext(ctx, "prewarm: fill the memory", "link", "prewarm", "run", p.rec.id, "error", err)
			return Done
		}
	}
	return Done
}

// whole returns the users of the plan, newest first.
func (p *part) whole(ctx context.Context) (users []ranked, err error) {
	numbers := make([]int, profile.Ranges)
	for n := range numbers {
		numbers[n] = n
	}
	plan, err := p.r.store.readPlan(ctx, p.rec.id, numbers)
	if err != nil {
		return nil, err
	}
	for _, part := range plan {
		users = append(users, part...)
	}
	slices.SortFunc(users, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	return users, nil
}

func ids(users []ranked) []string {
	out := make([]string, len(users))
	for i, u := range users {
		out[i] = u.id
	}
	return out
}
