package node

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

const (
	// swapUsers are those who are looked up while functions are swapped.
	swapUsers = 50
	// swapRate is how many lookups a second all three nodes get.
	swapRate = 2000
	// swapReaders share the lookups of a node, so that one that waits does not hold up the others.
	swapReaders = 4
)

// glance is a lookup through a function.
type glance struct {
	began time.Time
	tag   uint64 // of the version that answered
	hides bool
	stale bool
}

// acked is a push, and when it was acknowledged.
type acked struct {
	edge.Pushed
	hides bool
	at    time.Time
}

// tag is that of the version's answers, as every node makes it.
func (a acked) tag() uint64 {
	sum := sha256.Sum256(edge.Signed("f", a.Version))
	// msgpack: claims that nobody has, no arguments, no locale
	tail := []byte{0x90 | byte(len(a.About.Claims))}
	for range a.About.Claims {
		tail = append(tail, 0xc0)
	}
	return mix(0, binary.LittleEndian.Uint64(sum[:]), append(tail, 0x90, 0xc0))
}

// swaps is three nodes whose function is swapped, the last of them behind a link that can be cut.
type swaps struct {
	*testing.T
	nodes  []*Node
	link   *redistest.Proxy
	pushes []acked
	began  time.Time
	wrong  int // glances that were too old

	mu     sync.Mutex
	seen   [][]glance // by node; guarded by mu
	failed []string   // guarded by mu
}

func newSwaps(t *testing.T) *swaps {
	redis := redistest.Server(t)
	s := &swaps{T: t, link: redistest.ProxyTo(t, strings.TrimPrefix(redis.URL(), "redis://")), seen: make([][]glance, 3)}
	from := registered(swapUsers)
	for _, url := range []string{redis.URL(), redis.URL(), "redis://" + s.link.Addr} {
		n, err := New(Config{RedisURL: url, Origin: from, Functions: &edge.FunctionsConfig{PushWait: time.Second},
			Tier: tier.Config{FenceAfter: MinFenceAfter, LoadDeadline: 500 * time.Millisecond}})
		check(t, err)
		t.Cleanup(func() { check(t, n.Close()) })
		check(t, n.Start(t.Context()))
		s.nodes = append(s.nodes, n)
	}
	for _, module := range []string{"display-name", "hide-matricule"} {
		s.push(0, module)
	}
	for _, n := range s.nodes {
		testkit.Eventually(t, 20*time.Second, "the function", func() bool {
			v, err := n.View(t.Context(), "1", Through{Functions: []string{"f"}}, tier.Want{})
			return err == nil && v.Profile.Matricule == ""
		})
	}
	s.began = time.Now()
	return s
}

// push has a node take a version, and notes when that was acknowledged. Each has a budget of its
// own, so that it is another version for every node, which compiles it.
func (s *swaps) push(node int, module string) edge.Pushed {
	s.Helper()
	p, err := s.nodes[node].Functions().Push(s.Context(), "f", example(s.T, module), edge.PushOptions{Fuel: edge.DefaultFuel + int64(len(s.pushes))})
	if err != nil {
		s.Fatal(err)
	}
	s.pushes = append(s.pushes, acked{p, module == "hide-matricule", time.Now()})
	return p
}

// look asks the nodes at the rate of swapRate until the function that it returns is called.
func (s *swaps) look() (stop func()) {
	done := make(chan struct{})
	var group sync.WaitGroup
	for i := range s.nodes {
		for r := range swapReaders {
			group.Go(func() { s.reader(i, r, done) })
		}
	}
	return sync.OnceFunc(func() {
		close(done)
		group.Wait()
	})
}

func (s *swaps) reader(node, number int, done chan struct{}) {
	var seen []glance
	tick := time.NewTicker(time.Second * 3 * swapReaders / swapRate)
	defer tick.Stop()
	for i := number; ; i++ {
		select {
		case <-tick.C:
		case <-done:
			s.mu.Lock()
			s.seen[node] = append(s.seen[node], seen...)
			s.mu.Unlock()
			return
		}
		began := time.Now()
		v, err := s.nodes[node].View(s.Context(), strconv.Itoa(i%swapUsers+1), Through{Functions: []string{"f"}}, tier.Want{})
		if err != nil {
			s.mu.Lock()
			s.failed = append(s.failed, fmt.Sprintf("node %d: %v", node+1, err))
			s.mu.Unlock()
			continue
		}
		seen = append(seen, glance{began, v.Tag, v.Profile.Matricule == "", v.Tier == look.FromStale})
	}
}

// cut has the last node hear nothing while a version is pushed, which the push must say, and for a
// time after its bound.
func (s *swaps) cut(module string) {
	s.link.BlackHole(true)
	if p := s.push(0, module); len(p.Unready) != 1 {
		s.Errorf("a push while a node is cut off: %+v", p)
	}
	s.wait(MinFenceAfter + bound + 300*time.Millisecond)
	s.link.BlackHole(false)
	testkit.Eventually(s.T, 20*time.Second, "a proof", func() bool { return s.nodes[2].cache.Fresh() })
}

// wait lets the lookups go on for a time.
func (s *swaps) wait(d time.Duration) {
	until := time.NewTimer(d)
	defer until.Stop()
	<-until.C
}

// judge looks at every answer. It must be of a version that was pushed, and as that version
// answers; not older than the newest one that was acknowledged a bound before the lookup began,
// unless it is marked stale.
func (s *swaps) judge(c *canary.Canary) {
	s.Helper()
	if len(s.failed) > 0 {
		s.Errorf("%d lookups failed, the first: %s", len(s.failed), s.failed[0])
	}
	order := make(map[uint64]int) // of pushes, by the tag of an answer
	for i, p := range s.pushes {
		order[p.tag()] = i
	}
	for node, seen := range s.seen {
		most := bound
		if node == 2 {
			most += MinFenceAfter
		}
		for _, g := range seen {
			i, known := order[g.tag]
			switch {
			case !known || s.pushes[i].hides != g.hides:
				s.Errorf("node %d: an answer of no version: %+v", node+1, g)
			case !g.stale && i+1 < len(s.pushes) && !c.Excuses("swap", s.pushes[i+1].at, g.began, most):
				s.wrong++
				s.Errorf("node %d: version %d answered %v after version %d was acknowledged; want at most %v", node+1,
					s.pushes[i].Version.Number, g.began.Sub(s.pushes[i+1].at), s.pushes[i+1].Version.Number, most)
			}
			if s.wrong > 5 {
				s.Fatal("and so on")
			}
		}
	}
}

// TestSwapsUnderLoad pushes two versions in turn while 2,000 lookups a second run on three nodes;
// once the last of them is cut off from Redis. No lookup fails, none is answered by a mixture, and
// none that begins 250 ms after a push was acknowledged by a version before; the node that is cut
// off has FenceAfter more, and marks its answers stale from then on. With -long there are 100
// swaps, with time enough between them for each to be judged.
func TestSwapsUnderLoad(t *testing.T) {
	canary.Judge(t, func(t *testing.T, c *canary.Canary) {
		count, pause := 20, 50*time.Millisecond
		if *long {
			count, pause = 100, 350*time.Millisecond
		}
		s := newSwaps(t)
		stop := s.look()
		defer stop()
		for i := range count {
			module := []string{"display-name", "hide-matricule"}[i%2]
			if i == count/2 {
				s.cut(module)
			} else {
				s.push(i%2, module)
			}
			s.wait(pause)
		}
		s.wait(bound + MinFenceAfter)
		stop()
		s.judge(c)
		took, all := time.Since(s.began), slices.Concat(s.seen...)
		var stale int
		for _, g := range all {
			if g.stale {
				stale++
			}
		}
		rate := float64(len(all)) / took.Seconds()
		t.Logf("result: %d swaps of a function on three nodes, one of them cut off for one | no lookup fails, no version before after %v (cut off: unmarked after %v) | "+
			"0 of %d, %.0f/s, %d marked stale", count, bound, bound+MinFenceAfter, len(all), rate, stale)
		if stale == 0 || len(all) < 1000 {
			t.Errorf("%d lookups, %d of them stale: too few to judge", len(all), stale)
		}
	})
}
