package gossip

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
)

// form is what a long form and a short form of a test differ in.
func form[T any](full, short T) T {
	if *long {
		return full
	}
	return short
}

// inWeather runs nodes in a weather of their own.
func inWeather(t *testing.T, seed uint64, n int) (*weather, []*Cluster) {
	t.Helper()
	w := newWeather(seed)
	nodes := several(t, n, func(_ int, cfg *Config) {
		cfg.timing = form(timing{}.withDefaults(), quick())
		cfg.wrap = w.wrap(cfg.Name)
		cfg.Logger = slog.New(slog.DiscardHandler) // tens of thousands of lines about lost packets
	})
	for _, c := range nodes {
		w.place(c)
	}
	return w, nodes
}

// absences notes for each pair of nodes how long one did not have the other among its members.
type absences struct {
	since map[string]time.Time
	count int
	// longest began at from.
	longest time.Duration
	from    time.Time
}

func (a *absences) look(nodes []*Cluster, now time.Time) {
	for _, c := range nodes {
		present := names(c.Members())
		for _, other := range nodes {
			pair := c.cfg.Name + other.cfg.Name
			since, away := a.since[pair]
			switch is := slices.Contains(present, other.cfg.Name); {
			case !is && !away:
				a.since[pair] = now
				a.count++
			case !is && now.Sub(since) > a.longest:
				a.longest, a.from = now.Sub(since), since
			case is && away:
				delete(a.since, pair)
			}
		}
	}
}

// TestLossDeclaresNobodyDeadForLong: 40 % of all packets are lost, in each direction. TCP works, as
// it does on such a network.
func TestLossDeclaresNobodyDeadForLong(t *testing.T) {
	t.Parallel()
	canary.Judge(t, lossDeclaresNobodyDead)
}

func lossDeclaresNobodyDead(t *testing.T, bird *canary.Canary) {
	const seed, loss = 6, 0.4
	lasts, bound := form(time.Minute, 8*time.Second), form(30*time.Second, 6*time.Second)
	w, nodes := inWeather(t, seed, 5)
	w.sent.Store(0)
	w.lost.Store(0)
	w.lose(loss)
	a := absences{since: map[string]time.Time{}}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(lasts); time.Now().Before(end); {
		a.look(nodes, <-tick.C)
	}
	w.lose(0)
	took := await(t, "all see one another after the loss", func() bool { return agree(nodes, len(nodes)) })
	a.look(nodes, time.Now())
	share := float64(w.lost.Load()) / float64(w.sent.Load())
	if w.sent.Load() < 100 || share < loss-0.1 || share > loss+0.1 {
		t.Fatalf("seed %d: of %d packets %.0f %% were lost: this tested nothing", seed, w.sent.Load(), 100*share)
	}
	if !bird.Excuses("a living node is dead to another", a.from, a.from.Add(a.longest), bound) {
		t.Errorf("seed %d: with %.0f %% loss a living node was dead to another for %v; want at most %v", seed, 100*share, a.longest, bound)
	}
	t.Logf("%d packets, %.1f %% lost; declared dead %d times, longest %v; all together %v after", w.sent.Load(), 100*share, a.count, a.longest, took)
	results.add(fmt.Sprintf("five nodes, %.1f %% of %d packets lost over %v: longest time that a living node was dead to another", 100*share, w.sent.Load(), lasts),
		fmt.Sprintf("%v (declared dead %d times)", a.longest.Round(time.Millisecond), a.count), "at most "+bound.String())
}

// deadAfter is how many intervals of probing a silent node may still be listed, in a cluster of up
// to ten: some until one of the others, who ask each other in random order, comes to it; one for
// the answer that does not come; five for it to object; one for all to hear of it.
const deadAfter = 12

// TestAKilledNodeIsDeadToAll has a node of a calm cluster fall silent.
func TestAKilledNodeIsDeadToAll(t *testing.T) {
	for _, n := range []int{3, 10} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			var all []time.Duration
			for i := range form(5, 1) {
				canary.Judge(t, func(t *testing.T, bird *canary.Canary) {
					all = append(all, untilDead(t, bird, uint64(100*n+i), n))
				})
			}
			if t.Failed() {
				return
			}
			results.add(fmt.Sprintf("a node of %d that falls silent is dead to all others, %d times", n, len(all)),
				fmt.Sprintf("after %v to %v", slices.Min(all).Round(time.Millisecond), slices.Max(all).Round(time.Millisecond)),
				"at most "+deadWithin().String())
		})
	}
}

// deadWithin is what docs/guarantees.md promises, in the times of this form.
func deadWithin() time.Duration { return deadAfter * form(timing{}.withDefaults(), quick()).probeEvery }

// untilDead starts a cluster, silences one node and returns how long another one still lists it.
func untilDead(t *testing.T, bird *canary.Canary, seed uint64, n int) time.Duration {
	t.Helper()
	w, nodes := inWeather(t, seed, n)
	silent := int(seed) % n
	rest := slices.Delete(slices.Clone(nodes), silent, silent+1)
	w.split(nodes[silent])
	began := time.Now()
	took := await(t, "it is dead to the others", func() bool { return agree(rest, n-1) })
	bird.Within(t, "a silent node is dead to the others", began, deadWithin())
	expectOwned(t, rest)
	t.Logf("node %d of %d, silent, is dead to all others after %v", silent+1, n, took)
	return took
}

// TestSplitsHeal: the network splits two nodes from three for twice the time after which the dead
// are forgotten, so that nobody calls on the other side but for its seeds.
func TestSplitsHeal(t *testing.T) {
	const clusters = 4
	rounds := form(5, 1)
	if !*long {
		t.Parallel()
	}
	var mu sync.Mutex
	var heals []time.Duration
	t.Run("clusters", func(t *testing.T) {
		for i := range form(clusters, 2) {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				canary.Judge(t, func(t *testing.T, bird *canary.Canary) {
					w, nodes := inWeather(t, uint64(10+i), 5)
					for round := range rounds {
						took := splitAndHeal(t, bird, w, nodes, round+i)
						mu.Lock()
						heals = append(heals, took)
						mu.Unlock()
					}
				})
			})
		}
	})
	if t.Failed() || len(heals) == 0 {
		return
	}
	results.add(fmt.Sprintf("split for %v, twice the time after which the dead are forgotten, then healed, %d times: one cluster again, all agreeing and every range owned, at the latest after",
		splitFor(), len(heals)), slices.Max(heals).Round(time.Millisecond).String(), "at most 30s")
}

func splitFor() time.Duration { return 2 * form(timing{}.withDefaults(), quick()).forgetAfter }

func splitAndHeal(t *testing.T, bird *canary.Canary, w *weather, nodes []*Cluster, round int) time.Duration {
	t.Helper()
	turned := slices.Concat(nodes[round%5:], nodes[:round%5])
	few, many := turned[:2], turned[2:]
	w.split(few...)
	await(t, "each side declares the other dead", func() bool { return agree(few, 2) && agree(many, 3) })
	expectOwned(t, few)
	expectOwned(t, many)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(splitFor()); time.Now().Before(end); <-tick.C {
		if !agree(few, 2) || !agree(many, 3) {
			t.Fatal("the split has holes")
		}
	}
	w.split()
	healed := time.Now()
	took := await(t, "one cluster again", func() bool { return agree(nodes, 5) })
	bird.Within(t, "one cluster again", healed, 30*time.Second)
	expectOwned(t, nodes)
	t.Logf("round %d: %s and %s together again after %v", round, side(few), side(many), took)
	return took
}

func side(nodes []*Cluster) string {
	var b strings.Builder
	for _, c := range nodes {
		b.WriteString(c.cfg.Name)
	}
	return b.String()
}

// expectOwned checks that these nodes agree on the owner of every range, and that it is one of
// them.
func expectOwned(t *testing.T, nodes []*Cluster) {
	t.Helper()
	first := owners(Owners(nodes[0].Members()))
	for r, owner := range first {
		if !strings.Contains(side(nodes), owner) || owner == "" {
			t.Fatalf("range %d belongs to %q, not to one of %s", r, owner, side(nodes))
		}
	}
	for _, c := range nodes[1:] {
		if !slices.Equal(first, owners(Owners(c.Members()))) {
			t.Fatalf("%s and %s do not agree on who owns what", nodes[0].cfg.Name, c.cfg.Name)
		}
	}
}
