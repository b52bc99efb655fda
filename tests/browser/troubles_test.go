package browser

import (
	"testing"
	"time"
)

// trouble is something that goes wrong, and how the first screen names it.
type trouble struct {
	rig   options
	users int // that are looked up
	pause time.Duration
	begin func(t *testing.T, r *rig)
	check string // the check that names it
	says  string
	end   func(t *testing.T, r *rig) // nil: it stays
	after string                     // what the check says then
}

// troubles are the ones that people on call have met.
func troubles() map[string]trouble {
	return map[string]trouble{
		"redis": {users: users, pause: time.Millisecond, check: "redis", says: "Redis does not answer: last heard of",
			begin: func(t *testing.T, r *rig) { check(t, r.redis.Kill()) },
			end:   func(t *testing.T, r *rig) { check(t, r.redis.Restart()) }, after: "Memory answers"},
		"origin": {users: users, pause: 30 * time.Millisecond, check: "origin", says: "The origin is slow",
			begin: func(_ *testing.T, r *rig) { r.origin.Delay(1200 * time.Millisecond) }},
		"node": {rig: options{nodes: 3}, users: users, pause: time.Millisecond, check: "cluster", says: "Gone in the last ten minutes: bafoussam",
			begin: func(t *testing.T, r *rig) { check(t, r.nodes[2].Close()) }},
		"cut": {rig: options{nodes: 3}, users: 400, pause: time.Millisecond, check: "cluster", says: "In trouble: bafoussam (fenced",
			begin: func(_ *testing.T, r *rig) { r.cut.BlackHole(true) },
			end:   func(_ *testing.T, r *rig) { r.cut.BlackHole(false) }, after: "3 nodes of the cluster: bafoussam, douala, yaounde."},
		"stream": {users: users, pause: time.Millisecond, check: "stream", says: "no good event in the last minute: malformed",
			begin: func(_ *testing.T, r *rig) { r.poison(20) }},
		"memory": {rig: options{l1Bytes: 1 << 20}, users: 100, pause: time.Millisecond, check: "memory", says: "Memory is too small",
			begin: func(_ *testing.T, r *rig) { r.readAll(3) }},
	}
}

// Each trouble is named by the first screen, without scrolling.
func TestTheFirstScreenNamesTroubles(t *testing.T) {
	for name, x := range troubles() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, x.rig)
			p := openTab(t, r.url+"/ui", look{width: 1280, height: 860})
			p.says("link", "live")
			r.traffic(x.users, x.pause)
			x.begin(t, r)
			p.says("checks", x.says)
			p.says("verdict", x.check)
			p.until("place on the first screen", `document.getElementById("checks").getBoundingClientRect().bottom < innerHeight`)
			p.shoot("trouble-"+name, false)
			if x.end != nil {
				x.end(t, r)
				p.says("checks", x.after)
			}
		})
	}
}
