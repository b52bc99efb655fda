package gossip

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// State says whether a member is there.
type State int

const (
	// Alive members answer, or did so until some seconds ago.
	Alive State = iota
	// Gone members have left or were declared dead; memberlist does not say which.
	Gone
)

// String returns "alive" or "gone".
func (s State) String() string {
	if s == Alive {
		return "alive"
	}
	return "gone"
}

// Member is one node as this node knows it.
type Member struct {
	Name   string
	Addr   string   // HOST:PORT of its gossip
	HTTP   string   // of its API; "" when it has none or its metadata is not understood
	Weight int      // 1 to 100
	Warmth float64  // 0 to 1, in steps of 0.01
	KeyID  string   // of the key with which it encrypts; "" when its metadata is not understood
	Keys   []string // ids of all the keys that it understands, the primary's first
	State  State
	Since  time.Time // when this node learned of its State
	// Report is how it does, as it told last; without a Version for one that tells nothing.
	Report Report
}

const (
	goneFor  = 10 * time.Minute // how long Gone tells of a member
	mostGone = 64
)

// roster is memberlist's events, summed up. memberlist calls with its own lock held, and its nodes
// change under it, so what is told is copied here and now, under a lock that is held for nothing
// else, and nobody is waited for.
type roster struct {
	changed chan struct{}

	mu     sync.Mutex
	closed bool // memberlist's timers may still speak after its Shutdown
	alive  map[string]Member
	gone   []Member // the latest last
	joins  int64
	leaves int64
	odd    int64 // metadata that was not understood
}

func newRoster() *roster {
	return &roster{changed: make(chan struct{}, 1), alive: map[string]Member{}}
}

var _ memberlist.EventDelegate = (*roster)(nil)

// NotifyJoin takes in a member.
func (r *roster) NotifyJoin(n *memberlist.Node) { r.put(n, true) }

// NotifyUpdate takes in a member's metadata.
func (r *roster) NotifyUpdate(n *memberlist.Node) { r.put(n, false) }

func (r *roster) put(n *memberlist.Node, joined bool) {
	m, err := decodeMeta(n.Meta)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	if err != nil {
		r.odd++
	}
	since := time.Now()
	if before, ok := r.alive[n.Name]; ok {
		since = before.Since
	}
	if joined {
		r.joins++
	}
	r.alive[n.Name] = m.member(strings.Clone(n.Name), n.Address(), since)
	r.forgetLocked(n.Name)
	r.signal()
}

// NotifyLeave takes out a member.
func (r *roster) NotifyLeave(n *memberlist.Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.alive[n.Name]
	if r.closed || !ok {
		return
	}
	r.leaves++
	delete(r.alive, n.Name)
	r.forgetLocked(n.Name)
	m.State, m.Since = Gone, time.Now()
	if r.gone = append(r.gone, m); len(r.gone) > mostGone {
		r.gone = slices.Delete(r.gone, 0, 1)
	}
	r.signal()
}

// forgetLocked drops one member from those that are gone, and all that have been for long.
func (r *roster) forgetLocked(name string) {
	r.gone = slices.DeleteFunc(r.gone, func(m Member) bool { return m.Name == name || time.Since(m.Since) > goneFor })
}

func (r *roster) signal() {
	select {
	case r.changed <- struct{}{}:
	default: // it is signalled already
	}
}

// open and close begin and end the time in which events count.
func (r *roster) open() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = false
}

func (r *roster) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	clear(r.alive)
	r.gone = nil
	r.signal()
}

func (r *roster) members() []Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := slices.AppendSeq(make([]Member, 0, len(r.alive)), maps.Values(r.alive))
	slices.SortFunc(list, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return cloned(list)
}

func (r *roster) left() []Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgetLocked("")
	list := append([]Member{}, r.gone...)
	slices.Reverse(list)
	return cloned(list)
}

func cloned(list []Member) []Member {
	for i := range list {
		list[i] = list[i].clone()
	}
	return list
}

func (m Member) clone() Member {
	m.Keys = slices.Clone(m.Keys)
	return m
}

func (m meta) member(name, addr string, since time.Time) Member {
	member := Member{
		Name: name, Addr: addr, HTTP: m.http, Weight: m.weight, Warmth: m.warmth, Keys: m.keys, Since: since,
		Report: m.report,
	}
	if len(m.keys) > 0 {
		member.KeyID = m.keys[0]
	}
	return member
}
