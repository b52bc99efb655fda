package outage

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

const (
	residents = 1000 // the users "1" to "1000" are in the memory of the first two nodes
	// the next ones are in that of the third, whose copies soon are no longer fresh
	agers = 100
)

// outage is three nodes, each with a front of its own before the origin.
type outage struct {
	nodes   []*node.Node
	clients []*origin.Client
	fronts  []*front
	logs    []*breakerLog
}

func startOutage(t *testing.T, redisURL string, users int, ageing tier.Config) *outage {
	o, addr := new(outage), startOrigin(t, redisURL, users)
	for i := range 3 {
		conf := node.Config{}
		if i == 2 {
			conf.Tier, conf.NoWatch = ageing, true
		}
		f, log := startFront(t, addr), new(breakerLog)
		n, c := startNode(t, redisURL, f.addr, conf, log)
		o.nodes, o.clients, o.fronts, o.logs = append(o.nodes, n), append(o.clients, c), append(o.fronts, f), append(o.logs, log)
	}
	return o
}

func (o *outage) set(m mode) {
	for _, f := range o.fronts {
		f.mode.Store(int32(m))
	}
}

// homes are the nodes that have a user in memory.
func (o *outage) homes(id int) []*node.Node {
	if id <= residents {
		return o.nodes[:2]
	}
	return o.nodes[2:]
}

func (o *outage) closed() bool {
	for _, c := range o.clients {
		if c.Stats().Breaker != "closed" {
			return false
		}
	}
	return true
}

func (o *outage) allOpen() bool {
	for _, c := range o.clients {
		if c.Stats().Breaker != "open" {
			return false
		}
	}
	return true
}

// TestOriginOutage takes the origin away, then has it fail half of its calls, then lets it be well,
// under load: residents of two nodes, users that nobody has asked for before on all three, and on
// the third users whose copies age.
func TestOriginOutage(t *testing.T) { canary.Judge(t, originOutage) }

// askCold has each node look up, rate times a second until ctx ends, users that nobody has asked
// for.
func (o *outage) askCold(ctx context.Context, loading *sync.WaitGroup, rate int) {
	var cold atomic.Int64
	for _, n := range o.nodes {
		load := &openLoad{rate: rate, workers: 64, ask: func(int, int) error {
			_, err := n.Get(ctx, strconv.Itoa(residents+agers+1+int(cold.Add(1))))
			return err
		}}
		loading.Go(func() { load.run(ctx) })
	}
}

// warm has each resident, and each who is to age, in the memory of their nodes.
func (o *outage) warm(t *testing.T) {
	t.Helper()
	for id := 1; id <= residents+agers; id++ {
		for _, n := range o.homes(id) {
			_, err := n.Get(t.Context(), strconv.Itoa(id))
			check(t, err)
		}
	}
}

func originOutage(t *testing.T, bird *canary.Canary) {
	// above what a call may take until the breaker opens
	phase, maxStale := pick(2500*time.Millisecond, time.Minute), pick(8*time.Second, 30*time.Second)
	// of cold lookups on each node; L1TTL of the third
	const rate, fresh = 100, time.Second
	users := residents + agers + int(5*phase.Seconds())*rate*3 + 1000
	server := redistest.Server(t)
	o := startOutage(t, server.URL(), users, tier.Config{L1TTL: fresh, MaxStale: maxStale})
	o.warm(t)
	ctx, stop := context.WithCancel(t.Context())
	var loading sync.WaitGroup
	o.askCold(ctx, &loading, rate)
	home := &homeLoad{nodes: o.nodes[:2]}
	loading.Go(func() { home.run(ctx, t) })
	old := &ageLoad{node: o.nodes[2], fresh: fresh, maxStale: maxStale, bird: bird}
	loading.Go(func() { old.run(ctx, t) })

	wait(ctx, time.Second)
	began := time.Now()
	wait(ctx, phase)
	for id := residents + 1; id <= residents+agers; id++ { // as if their time in Redis had ended
		check(t, server.Client().Del(ctx, profile.Key(strconv.Itoa(id))).Err())
	}
	fell := time.Now()
	o.set(down)
	wait(ctx, phase/2)
	forgotten := strconv.Itoa(residents + agers)
	check(t, o.nodes[2].Invalidate(ctx, forgotten))
	if r, err := o.nodes[2].Get(ctx, forgotten); !errors.Is(err, profile.ErrUnavailable) {
		t.Errorf("invalidated, and the origin is down: %v from %v, %v", r.Profile, r.Tier, err)
	}
	wait(ctx, phase/2)
	o.set(half)
	wait(ctx, phase)
	o.set(down) // for a moment, so that it is from an open breaker that each node recovers
	within(t, bird, 10*time.Second, "every breaker is open", o.allOpen)
	healed := time.Now()
	o.set(well)
	within(t, bird, 5*time.Second, "every breaker is closed", o.closed)
	recovery := time.Since(healed)
	wait(ctx, phase/3)
	stop()
	loading.Wait()

	probes, most := o.judgeProbes(t, bird)
	healthy, ill := home.p99(began, fell), home.p99(fell, healed)
	ratio := float64(ill) / float64(healthy)
	if bound := pick(10, 1.5); ratio > bound {
		t.Errorf("residents' p99 is %v while the origin is ill, %v before; want at most %v x", ill, healthy, bound)
	}
	if old.stale == 0 {
		t.Error("nobody got a stale answer")
	}
	result(t, fmt.Sprintf("origin down %v, then half of its calls fail %v: at most 1 probe a second and node while the breaker is open", phase, phase),
		"%d probes of three nodes, at most %.2f a second", probes, most)
	result(t, "closed within 5 s of recovery", "%v", recovery.Round(time.Millisecond))
	result(t, fmt.Sprintf("all stale answers marked and younger than MaxStale (here %v); never what was invalidated", maxStale),
		"%d stale, all marked, the oldest %v; the oldest of %d unmarked %v", old.stale, old.oldest.Round(time.Millisecond), old.unmarked, old.oldestUnmarked.Round(time.Millisecond))
	result(t, "lookups of resident users: p99 at most 1.5 x that of the healthy phase", "%.2f x (%v, %v; medians of the p99 of each second)", ratio, ill, healthy)
}

// judgeProbes wants at most one call a second of each node while its breaker was not closed.
func (o *outage) judgeProbes(t *testing.T, bird *canary.Canary) (probes int, most float64) {
	// calls let through before the breaker opened may still arrive; a probe comes after 1 s
	const underWay = 900 * time.Millisecond
	for i, log := range o.logs {
		spans := log.open()
		if len(spans) == 0 {
			t.Errorf("the breaker of node %d never opened", i+1)
		}
		for _, s := range spans {
			lasted := s.to.Sub(s.from)
			n := o.fronts[i].between(s.from.Add(underWay), s.to)
			probes += n
			needs := time.Duration(n-1) * time.Second
			if !bird.Excuses("the probes", s.to.Add(-needs), s.to, lasted) {
				t.Errorf("node %d: %d probes in %v", i+1, n, lasted)
			}
			if n > 1 {
				most = max(most, float64(n)/lasted.Seconds())
			}
		}
	}
	return probes, most
}

// homeLoad times lookups of residents.
type homeLoad struct {
	nodes   []*node.Node
	samples []sampled // read after run
}

func (h *homeLoad) run(ctx context.Context, t *testing.T) {
	for i := 0; ctx.Err() == nil; i++ {
		for k := range 20 {
			id := strconv.Itoa(1 + (i*20+k)%residents)
			at := time.Now()
			r, err := h.nodes[i%len(h.nodes)].Get(context.Background(), id)
			h.samples = append(h.samples, sampled{at, time.Since(at), err})
			// A node that got no processor for a tenth of a second takes that for a pause, and asks
			// Redis until the next proof.
			if err != nil || r.Tier != look.FromL1 && r.Tier != look.FromL2 {
				t.Errorf("resident %s: from %v, %v", id, r.Tier, err)
				return
			}
		}
		wait(ctx, 5*time.Millisecond)
	}
}

// p99 is the median of the p99s of each second from a to b, so that a second in which the machine
// did something else does not decide.
func (h *homeLoad) p99(a, b time.Time) time.Duration {
	var seconds []time.Duration
	l := openLoad{samples: h.samples}
	for at := a; at.Before(b); at = at.Add(time.Second) {
		seconds = append(seconds, l.between(at, at.Add(time.Second)).p99)
	}
	return quantile(seconds, 0.5)
}

// ageLoad judges answers about users whose copies age.
type ageLoad struct {
	node            *node.Node
	fresh, maxStale time.Duration
	bird            *canary.Canary

	stale, unmarked, refused int // read after run, as what follows
	oldest, oldestUnmarked   time.Duration
}

func (a *ageLoad) run(ctx context.Context, t *testing.T) {
	const slack = 50 * time.Millisecond // the age is told at the end of the lookup
	for i := 0; ctx.Err() == nil; i++ {
		id := strconv.Itoa(residents + 1 + i%(agers-1)) // the last one is invalidated
		r, err := a.node.Get(context.Background(), id)
		switch {
		case errors.Is(err, profile.ErrUnavailable):
			a.refused++
		case err != nil:
			t.Errorf("user %s: %v", id, err)
			return
		case r.Tier == look.FromStale:
			a.stale++
			a.oldest = max(a.oldest, r.Age)
			if !a.excuses(r.Age, a.maxStale+slack) {
				t.Errorf("a stale answer of %v ago; want at most %v", r.Age, a.maxStale)
			}
		default:
			a.unmarked++
			a.oldestUnmarked = max(a.oldestUnmarked, r.Age)
			if !a.excuses(r.Age, a.fresh+slack) {
				t.Errorf("an unmarked answer from %v of %v ago; want at most %v", r.Tier, r.Age, a.fresh)
			}
		}
		wait(ctx, 2*time.Millisecond)
	}
}

// excuses judges the age of an answer that has just come.
func (a *ageLoad) excuses(age, bound time.Duration) bool {
	now := time.Now()
	return a.bird.Excuses("the age of an answer", now.Add(-age), now, bound)
}
