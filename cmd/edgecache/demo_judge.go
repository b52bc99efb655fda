package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
	"github.com/chatapp-ngomna/edgecache/ui"
)

const (
	// demoUsers is how many users are read, and demoWritten how many of those change.
	demoUsers   = 200
	demoWritten = 20
	// demoReads is the pause between two reads at one node, demoWrites that between two changes.
	demoReads  = 4 * time.Millisecond
	demoWrites = 200 * time.Millisecond
	// The bounds of docs/guarantees.md.
	boundConnected = 250 * time.Millisecond
	boundCut       = 3250 * time.Millisecond
	// demoSettled is how long after a fault began or ended nobody is called connected: Redis that
	// is back needs a second, and what waits for it some more.
	demoSettled = 8 * time.Second
	// demoHeldUp is how late a reader may be woken before the machine, not a node, is called late.
	demoHeldUp = 60 * time.Millisecond
	// demoKept is how many changes of a user are remembered.
	demoKept = 64
)

// judge writes, reads, and knows what may be answered.
type judge struct {
	demo *demo

	mu      sync.Mutex
	changes map[string][]acknowledged // guarded by mu: by user, the oldest first
	moved   time.Time                 // guarded by mu: when a fault began or ended
	near    tally                     // guarded by mu: of nodes that are connected
	far     tally                     // guarded by mu: of all
	reads   uint64                    // guarded by mu
	failed  uint64                    // guarded by mu
	stale   uint64                    // guarded by mu
	slowest time.Duration             // guarded by mu
	why     error                     // guarded by mu: of the last that failed
}

// acknowledged is a change that the origin answered with 200.
type acknowledged struct {
	version int64
	at      time.Time
}

// tally is what came of reads that a promise is about.
type tally struct {
	judged, broken uint64
	oldest         time.Duration // that an answer was behind
}

func newJudge(d *demo) *judge {
	return &judge{demo: d, changes: map[string][]acknowledged{}, moved: time.Now()}
}

// changed is called when a fault began or ended.
func (j *judge) changed() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.moved = time.Now()
}

// write changes users until ctx ends.
func (j *judge) write(ctx context.Context, truth *origin.Client) {
	for i := 0; pause(ctx, demoWrites); i++ {
		id, place := strconv.Itoa(1+i%demoWritten), fmt.Sprint("Ministère ", i)
		call, cancel := context.WithTimeout(ctx, 2*time.Second)
		w, err := truth.Put(call, id, origin.Update{Ministere: &place})
		cancel()
		// 202: it is stored, and times count from when it is announced
		if err != nil || !w.Relayed {
			continue
		}
		j.mu.Lock()
		list := append(j.changes[id], acknowledged{w.Version, time.Now()})
		j.changes[id] = list[max(0, len(list)-demoKept):]
		j.mu.Unlock()
	}
}

// read looks users up at the i-th node until ctx ends: half of the time those who change.
func (j *judge) read(ctx context.Context, i int, n *node.Node) {
	woken := time.Now()
	for k := i; pause(ctx, demoReads); k++ {
		id := strconv.Itoa(1 + k*7%demoUsers)
		if k%2 == 0 {
			id = strconv.Itoa(1 + k/2%demoWritten)
		}
		began := time.Now()
		heldUp := began.Sub(woken) > demoReads+demoHeldUp
		got, err := n.Get(ctx, id)
		woken = time.Now()
		if ctx.Err() != nil {
			return
		}
		j.note(i, id, began, woken.Sub(began), got, err, heldUp)
	}
}

// note judges one read. What a machine that was held up says of bounds proves nothing.
func (j *judge) note(i int, id string, began time.Time, took time.Duration, got tier.Result, err error, heldUp bool) {
	connected := j.demo.connected(i)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.reads++
	j.slowest = max(j.slowest, took)
	switch {
	case err != nil:
		j.failed++
		j.why = err
		return
	case got.Tier == look.FromStale:
		j.stale++
		return
	case heldUp:
		return
	}
	behind := j.behindLocked(id, got.Version(), began)
	j.far.add(behind, boundCut)
	if connected && began.Sub(j.moved) > demoSettled {
		j.near.add(behind, boundConnected)
	}
}

// behindLocked returns how long before began the first newer change was acknowledged; 0 for none.
func (j *judge) behindLocked(id string, version int64, began time.Time) time.Duration {
	for _, c := range j.changes[id] {
		if c.version > version {
			return max(0, began.Sub(c.at))
		}
	}
	return 0
}

func (t *tally) add(behind, bound time.Duration) {
	t.judged++
	t.oldest = max(t.oldest, behind)
	if behind > bound {
		t.broken++
	}
}

func (t *tally) seen() string {
	text := fmt.Sprintf("%d reads; the oldest answer was %d ms behind.", t.judged, t.oldest.Milliseconds())
	if t.broken > 0 {
		text = fmt.Sprintf("%d of %d reads were too old, the worst was %d ms behind.", t.broken, t.judged, t.oldest.Milliseconds())
	}
	return text
}

// promises says which promises hold, and what was seen since the start.
func (j *judge) promises() []ui.Promise {
	j.mu.Lock()
	defer j.mu.Unlock()
	answered := fmt.Sprintf("%d reads, %d failed; %d were marked stale, the slowest took %d ms.", j.reads, j.failed, j.stale, j.slowest.Milliseconds())
	if j.failed > 0 && !errors.Is(j.why, context.Canceled) {
		answered += fmt.Sprintf(" The last failure: %.120s", j.why)
	}
	return []ui.Promise{
		{Says: "Connected nodes show each change within 250 ms.", Kept: j.near.broken == 0, Seen: j.near.seen()},
		{Says: "Whatever breaks, no unmarked answer is older than 3.25 s.", Kept: j.far.broken == 0, Seen: j.far.seen()},
		{Says: "Each read is answered while Redis, the origin or a copy is there.", Kept: j.failed == 0, Seen: answered},
	}
}

// pause waits for d, and reports false when ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
