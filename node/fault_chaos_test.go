package node

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/chaos"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/tier"
)

// TestEverythingFailsAtRandom spoils the origin, the lookups' way to Redis and the tails' way to
// the stream, each at random and all at once, while users change and the oracle judges every
// answer.
func TestEverythingFailsAtRandom(t *testing.T) {
	var origin *chaos.Loader
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed of the faults %d", seed)
	r := newRig(t, redistest.Server(t).URL(), rigConfig{links: true, data: true, bare: true, origin: func(from tier.Loader) tier.Loader {
		origin = chaos.Spoil(from, seed)
		return origin
	}})
	r.lookAtAll()
	origin.Set(chaos.Faults{Fail: 0.05, Panic: 0.01, Hang: 0.01, Lose: 0.05, Delay: 20 * time.Millisecond})
	stop := r.blow(4, 6)
	defer stop()
	ctx, cancel := context.WithTimeout(t.Context(), pick(5*time.Second, time.Minute))
	defer cancel()
	var spoiling sync.WaitGroup
	for i := range r.nodes {
		spoiling.Go(func() { r.spoilTail(ctx, i, rand.New(rand.NewPCG(seed, uint64(i)))) })
		spoiling.Go(func() { r.spoilData(ctx, i, rand.New(rand.NewPCG(seed, uint64(100+i)))) })
	}
	spoiling.Go(func() { r.empty(ctx) })
	spoiling.Wait()
	origin.Set(chaos.Faults{})
	wait(t.Context(), time.Second)
	stop()
	r.lookAtAll()
	r.verdict()
	s := r.oracle.Stats()
	t.Logf("result: origin, lookups and stream spoilt at random | 0 violations | %v, %d calls to the origin spoilt", s, origin.Spoilt.Load())
	if origin.Spoilt.Load() == 0 || s.Reads < 1000 {
		t.Errorf("nothing was spoilt, or nobody read: %v", s)
	}
}

// empty makes Redis and the nodes forget users who were not changed, so that the origin is asked.
func (r *rig) empty(ctx context.Context) {
	for id := 0; ctx.Err() == nil; id++ {
		user := strconv.Itoa(1 + id%r.users)
		_ = r.source.announcer.L2.Invalidate(ctx, user)
		for _, n := range r.nodes {
			n.cache.Forget(user, 0)
		}
		wait(ctx, 5*time.Millisecond)
	}
}

// spoil does something at random to a link for up to most.
func spoil(ctx context.Context, link *redistest.Proxy, rnd *rand.Rand, most time.Duration) {
	switch rnd.IntN(4) {
	case 0:
		link.BlackHole(true)
	case 1:
		link.Delay(time.Duration(rnd.Int64N(int64(50 * time.Millisecond))))
	case 2:
		link.CutReply("", rnd.IntN(20))
	default:
		link.Reset()
	}
	wait(ctx, time.Duration(rnd.Int64N(int64(most))))
	link.BlackHole(false)
	link.Delay(0)
}

// spoilTail spoils a node's way to the stream. Until it has been alive again for a second the node
// counts as cut off.
func (r *rig) spoilTail(ctx context.Context, node int, rnd *rand.Rand) {
	for ctx.Err() == nil {
		r.bind(cutBound, node)
		spoil(ctx, r.links[node], rnd, 4*time.Second)
		healed := time.Now()
		eventually(r.T, "the node to be alive again", func() bool { return r.nodes[node].Stats().Stream.LastAlive.After(healed) })
		wait(r.Context(), time.Second)
		r.bind(bound, node)
		wait(ctx, time.Duration(rnd.Int64N(int64(time.Second))))
	}
}

// spoilData spoils a node's lookups in Redis. No bound moves for that: what Redis cannot say the
// origin says.
func (r *rig) spoilData(ctx context.Context, node int, rnd *rand.Rand) {
	for ctx.Err() == nil {
		spoil(ctx, r.data[node], rnd, time.Second)
		wait(ctx, time.Duration(rnd.Int64N(int64(time.Second))))
	}
}
