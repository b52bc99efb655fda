package node

import (
	"flag"
	"strconv"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/stream"
)

var safeguardFor = flag.Duration("safeguard", 0, "how long each fault of TestSafeguards is repeated; 0 is once")

// TestSafeguards brings on, for each safeguard of the stream, the fault that it is for. Package
// tests/seeded removes one safeguard at a time and wants it to fail.
func TestSafeguards(t *testing.T) {
	for name, fault := range map[string]func(*rig, *redistest.Proc){
		"event after L2": invalidateOften,
		"gap check":      trimUnread,
		"fence":          silence,
		"cursor":         reconnectLate,
	} {
		t.Run(name, func(t *testing.T) {
			canary.Judge(t, func(t *testing.T, c *canary.Canary) {
				server := redistest.Server(t)
				r := newRig(t, server.URL(), rigConfig{links: true, bare: true, users: 20, canary: c})
				stop := r.gather(6)
				defer stop()
				started := time.Now()
				fault(r, server)
				for r.oracle.Err() == nil && time.Since(started) < *safeguardFor {
					fault(r, server)
				}
				stop()
				r.verdict()
			})
		})
	}
}

// invalidateOften changes users at the origin and makes the cluster forget them, through a node to
// which Redis is slow.
func invalidateOften(r *rig, server *redistest.Proc) {
	link := redistest.ProxyTo(r.T, server.Addr)
	link.Delay(5 * time.Millisecond)
	n, _ := startOn(r.T, "redis://"+link.Addr, r.source, 0, rigConfig{bare: true})
	for id := 1; id <= r.users; id++ {
		id := strconv.Itoa(id)
		v := r.source.next(id)
		r.source.set(person(id, v))
		check(r.T, n.Invalidate(r.Context(), id))
		r.oracle.Acked(id, v, time.Now())
	}
	check(r.T, n.Close())
	wait(r.Context(), 2*bound)
}

// trimUnread takes entries away before the first node has read them, while its link is down for a
// moment. The others have read them: who waits for the next entry when the stream is trimmed learns
// of it half a second later.
func trimUnread(r *rig, server *redistest.Proc) {
	r.silent(func() {
		r.changeAll()
		state, err := server.Client().XInfoStream(r.Context(), stream.Name).Result()
		check(r.T, err)
		for _, n := range r.nodes[1:] {
			eventually(r.T, "the last change to be read", func() bool { return n.Stats().Stream.LastID == state.LastGeneratedID })
		}
		check(r.T, server.Client().XTrimMaxLen(r.Context(), stream.Name, 0).Err())
	}, 0)
}

// silence lets changes happen of which the first node hears nothing for longer than its fence.
func silence(r *rig, _ *redistest.Proc) { r.silent(r.changeAll, cutBound+bound) }

// reconnectLate makes the first node's link fail, and lets changes happen before the next one.
func reconnectLate(r *rig, _ *redistest.Proc) {
	r.silent(func() {
		r.links[0].Reset()
		r.changeAll()
	}, 0)
}

// silent does something while the first node's link is silent, and for so long. It is judged as a
// node that is cut off until a second after.
func (r *rig) silent(what func(), d time.Duration) {
	r.bind(cutBound, 0)
	r.links[0].BlackHole(true)
	what()
	wait(r.Context(), d)
	r.links[0].BlackHole(false)
	wait(r.Context(), time.Second)
	r.bind(bound, 0)
	wait(r.Context(), bound)
}

func (r *rig) changeAll() {
	for id := 1; id <= r.users; id++ {
		r.source.update(r.Context(), strconv.Itoa(id))
	}
}
