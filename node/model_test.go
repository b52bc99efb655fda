package node

import (
	"flag"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// step is one thing that happens, to which node or user, and how long it is until the next.
type step struct {
	what  string
	node  int
	user  string
	n     int           // how many
	lasts time.Duration // of a fault
	pause time.Duration
}

func (s step) String() string {
	return fmt.Sprintf("%s{node %d, user %s, n %d, lasts %v, pause %v}", s.what, s.node+1, s.user, s.n, s.lasts, s.pause)
}

// steps is what may happen; those that are to happen more often than others are there more than
// once.
var steps = []struct {
	often int
	what  string
	do    func(*model, step)
}{
	{4, "nothing", func(*model, step) {}},
	{10, "read", func(m *model, s step) { m.look(m.nodes[s.node], s.user) }},
	{6, "read on all", func(m *model, s step) { m.lookAtAll() }},
	{10, "update", func(m *model, s step) { m.update(s.user) }},
	{3, "delete", func(m *model, s step) { m.delete(s.user) }},
	{4, "invalidate", func(m *model, s step) { m.invalidate(s.user) }},
	{3, "put through a node", func(m *model, s step) { m.through(m.nodes[s.node], s.user, false) }},
	{3, "invalidate through a node", func(m *model, s step) { m.through(m.nodes[s.node], s.user, true) }},
	{2, "news above the truth", func(m *model, s step) { m.news(s.user) }},
	{5, "another service changes", func(m *model, s step) { m.byOthers(s.user, s.n, false) }},
	{2, "another service deletes", func(m *model, s step) { m.byOthers(s.user, s.n, true) }},
	{3, "another service writes over", func(m *model, s step) { m.writeOver(s.user, s.n) }},
	{3, "tell again", func(m *model, s step) { m.tellAgain(s.n) }},
	{3, "tail falls silent", func(m *model, s step) { m.tailFault(s, func(w *wire) { w.hush(true) }) }},
	{3, "tail is refused", func(m *model, s step) { m.tailFault(s, func(w *wire) { w.refuse(true) }) }},
	{2, "tail is cut", func(m *model, s step) { s.lasts = 0; m.tailFault(s, (*wire).cut) }},
	{2, "tail loses replies", func(m *model, s step) { s.lasts = 0; m.tailFault(s, func(w *wire) { w.loseReplies(1 + s.n) }) }},
	{2, "lookups fall silent", func(m *model, s step) { m.dataFault(s, func(w *wire) { w.hush(true) }) }},
	{2, "lookups are refused", func(m *model, s step) { m.dataFault(s, func(w *wire) { w.refuse(true) }) }},
	{2, "lookups are slow", func(m *model, s step) {
		m.dataFault(s, func(w *wire) { w.delay(time.Duration(s.n*20) * time.Millisecond) })
	}},
	{2, "lookups lose replies", func(m *model, s step) { m.dataFault(s, func(w *wire) { w.loseReplies(1 + s.n) }) }},
	{3, "lookups overtake each other", func(m *model, s step) { m.dataFault(s, func(w *wire) { w.overtake(1 + s.n%3) }) }},
	{3, "a lookup overtakes another", func(m *model, s step) { m.overtake(m.nodes[s.node], s) }},
	{3, "announcements lose replies", func(m *model, s step) { m.sourceFault(s, func(w *wire) { w.loseReplies(1 + s.n) }) }},
	{1, "announcements are slow", func(m *model, s step) {
		m.sourceFault(s, func(w *wire) { w.delay(time.Duration(s.n*20) * time.Millisecond) })
	}},
	{1, "announcements are refused", func(m *model, s step) { m.sourceFault(s, func(w *wire) { w.refuse(true) }) }},
	{2, "trim", func(m *model, s step) { m.trim(s.n) }},
	{1, "stream is deleted", func(m *model, s step) { m.deleteStream() }},
	{1, "stream is rolled back", func(m *model, s step) { m.rollBack(s.n) }},
	{1, "server restarts", func(m *model, s step) { m.restart(s, false) }},
	{1, "server forgets all", func(m *model, s step) { m.restart(s, true) }},
	{1, "failover", func(m *model, s step) { m.failover(s.n) }},
	{2, "server's clock is set", func(m *model, s step) { m.setClock(s.n) }},
	{2, "a node dies as it loads, and the clock is set", func(m *model, s step) { m.dieLoading(s.user, s.n) }},
	{1, "failover to another clock", func(m *model, s step) { m.setClock(s.n); m.failover(s.n % 3) }},
	{3, "origin is slow", func(m *model, s step) { m.originFault(s, false, time.Duration(s.n*60)*time.Millisecond) }},
	{1, "origin is down", func(m *model, s step) { m.originFault(s, true, 0) }},
	{3, "the node with a store dies", func(m *model, s step) { m.restartNode(s) }},
	{1, "flush", func(m *model, s step) { m.nodes[s.node].cache.Flush(); m.nodes[s.node].flushed++ }},
}

var modelPauses = []time.Duration{
	0, 0, time.Millisecond, 3 * time.Millisecond, 10 * time.Millisecond, 30 * time.Millisecond, 60 * time.Millisecond,
	120 * time.Millisecond, 260 * time.Millisecond, 600 * time.Millisecond,
}

// modelClocks is how far the server's clock is ahead. The odd milliseconds keep ids of entries from
// coming twice.
var modelClocks = []time.Duration{
	0, -time.Hour - 37*time.Millisecond, -time.Minute - 41*time.Millisecond, -3 * time.Second, 3*time.Second + 43*time.Millisecond, time.Hour,
}

var modelFaults = []time.Duration{
	5 * time.Millisecond, 100 * time.Millisecond, 700 * time.Millisecond, 1500 * time.Millisecond, 4 * time.Second,
}

// kinds are the names of the steps, each as often as it is to happen.
func kinds() (all []string) {
	for _, s := range steps {
		for range s.often {
			all = append(all, s.what)
		}
	}
	return all
}

func drawStep(t *rapid.T, kinds []string) step {
	return step{
		what:  rapid.SampledFrom(kinds).Draw(t, "what"),
		node:  rapid.IntRange(0, 2).Draw(t, "node"),
		user:  strconv.Itoa(rapid.IntRange(1, modelUsers).Draw(t, "user")),
		n:     rapid.IntRange(0, 5).Draw(t, "n"),
		lasts: rapid.SampledFrom(modelFaults).Draw(t, "lasts"),
		pause: rapid.SampledFrom(modelPauses).Draw(t, "pause"),
	}
}

var modelRuns = flag.Int("runs", 80, "how many runs the model test does")

// modelSteps is how many steps a run has.
const modelSteps = 100

// TestModel does runs of 100 steps each, in virtual time: writes, deletions, invalidations, through
// the origin and through nodes; events that come twice, late, or never because their entries were
// trimmed, deleted or rolled back; fills on any node that begin before a change and end after it;
// Redis and the origin slow, silent, refused, or losing replies; nodes cut off from the stream;
// lookups that overtake each other; announcements of versions that there are not; events and
// records of other services, whose clocks are wrong; restarts with and without what the server
// knew; a node with a store that dies and comes back; failovers that lose the last steps; a clock
// of the server that is set forward and back; flushes.
//
// Real are the nodes (tier.Cache with ristretto, l2.Redis, the handler, stream.Tail with its
// ledger), the publisher and announcer, the Redis client with its pools, retries and timeouts,
// Redis's protocol, and the text of the five scripts, run by a Lua interpreter. Modelled are the
// server's hashes, its stream with the counters of Redis 7, and the network. There is no worker and
// no watch: what they mend, the model does not break.
//
// After each step: the oracle has judged every answer, and every node has flushed once for each gap
// that a perfect observer saw, and never else. At the end all is healed, and every node answers
// with what is true, unfenced. Which goroutine runs first is not drawn, so a seed brings back most
// failures and not all; the journal in the failure tells what happened.
func TestModel(t *testing.T) {
	before := flag.Lookup("rapid.checks").Value.String()
	t.Cleanup(func() { check(t, flag.Set("rapid.checks", before)) })
	check(t, flag.Set("rapid.checks", strconv.Itoa((*modelRuns+1)/2)))
	c := new(compiled)
	for _, half := range []string{"half", "other half"} {
		t.Run(half, func(t *testing.T) {
			t.Parallel()
			runs := 0
			rapid.Check(t, func(rt *rapid.T) { runModel(t, rt, c); runs++ })
			t.Logf("result: model test, %s | 10,000 runs of 100 steps in all, 0 violations | %d runs of %d steps without one", half, runs, modelSteps)
		})
	}
}

// runModel does one run in a bubble of its own. What rapid throws must leave the bubble to be
// caught.
func runModel(t *testing.T, rt *rapid.T, c *compiled) {
	var thrown any
	defer func() {
		if thrown == nil {
			thrown = left(recover())
		}
		if thrown != nil {
			panic(thrown)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t, c)
		defer m.close()
		defer func() { thrown = recover() }()
		var done []string
		all := kinds()
		fail := func(err error) {
			if err != nil {
				rt.Fatalf("after %s\n%v", strings.Join(done, "\n"), err)
			}
		}
		for range modelSteps {
			s := drawStep(rt, all)
			if s.what != "nothing" || s.pause > 0 {
				done = append(done, s.String())
			}
			m.journal.note("", "-- %v", s)
			m.do(s)
			time.Sleep(s.pause)
			synctest.Wait()
			fail(m.settled())
		}
		fail(m.finish())
	})
}

// left adds to what a bubble panicked with, that goroutines are left in it, which ones they are.
func left(panicked any) any {
	if panicked == nil {
		return nil
	}
	stacks := make([]byte, 4<<20)
	return fmt.Sprintf("%v\n%s", panicked, stacks[:runtime.Stack(stacks, true)])
}
