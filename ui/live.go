package ui

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// Every is how long it takes from one snapshot to the next.
const Every = time.Second

// Live makes snapshots while somebody looks, once for all who do. Its methods may be called
// concurrently.
type Live struct {
	node Node
	demo Demo // nil for none
	log  *slog.Logger

	mu      sync.Mutex
	viewers map[*Viewer]struct{} // guarded by mu
	latest  []byte               // guarded by mu: the last snapshot; nil when nobody looks
	lookups []look.Lookup        // guarded by mu: those that it is of
	active  bool                 // guarded by mu: run does
	closed  bool                 // guarded by mu
	done    chan struct{}
	running sync.WaitGroup
}

// NewLive returns what makes snapshots of n. demo may be nil. It starts nothing.
func NewLive(n Node, demo Demo, log *slog.Logger) *Live {
	return &Live{node: n, demo: demo, log: log, viewers: map[*Viewer]struct{}{}, done: make(chan struct{})}
}

// Viewer is one who looks. Leave ends that.
type Viewer struct {
	// Next gets each snapshot, as JSON that must not be changed. A viewer who is slow misses some.
	Next <-chan []byte

	next  chan []byte
	leave func()
}

// Leave ends the viewer. It may be called twice.
func (v *Viewer) Leave() { v.leave() }

// Join returns a viewer, who gets the present snapshot at once; nil after Close.
func (l *Live) Join() *Viewer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	v := &Viewer{next: make(chan []byte, 1)}
	v.Next, v.leave = v.next, sync.OnceFunc(func() { l.leave(v) })
	l.viewers[v] = struct{}{}
	switch {
	case !l.active:
		l.active = true
		l.running.Go(l.run)
	case l.latest != nil:
		v.next <- l.latest
	}
	return v
}

func (l *Live) leave(v *Viewer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.viewers, v)
}

// Done is closed by Close.
func (l *Live) Done() <-chan struct{} { return l.done }

// Close ends the snapshots and waits. It may be called twice.
func (l *Live) Close() {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.done)
	}
	l.mu.Unlock()
	l.running.Wait()
}

// run makes snapshots until nobody looks any more, or Close.
func (l *Live) run() {
	stop := l.node.SampleLookups()
	defer stop()
	tick := time.NewTicker(Every)
	defer tick.Stop()
	var past []moment
	for l.wanted() {
		now := moment{time.Now(), l.node.Stats()}
		for len(past) > 0 && now.at.Sub(past[0].at) > remembered {
			past = past[1:]
		}
		l.tell(now, past)
		past = append(past, now)
		select {
		case <-tick.C:
		case <-l.done:
			return
		}
	}
}

// wanted reports whether somebody looks. If not, the next who does begins anew.
func (l *Live) wanted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.active = len(l.viewers) > 0
	if !l.active {
		l.latest, l.lookups = nil, nil
	}
	return l.active
}

// tell gives each viewer a snapshot.
func (l *Live) tell(now moment, past []moment) {
	lookups := l.node.Lookups()
	text, err := l.make(now, past, lookups)
	if err != nil {
		l.log.Error("ui: no snapshot", "error", err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.latest, l.lookups = text, lookups
	for v := range l.viewers {
		select {
		case <-v.next: // what it had no time for
		default:
		}
		v.next <- text // there is room: nobody else sends
	}
}

func (l *Live) make(now moment, past []moment, lookups []look.Lookup) ([]byte, error) {
	s := snapshot(now, l.node, past, lookups)
	if l.demo != nil {
		state := l.demo.State()
		s.Demo = &state
	}
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("ui: encode a snapshot: %w", err)
	}
	return text, nil
}

// Shown is a timed lookup as it is shown.
type Shown struct {
	// At is when it ended, in milliseconds since 1970.
	At int64  `json:"at"`
	ID string `json:"id"`
	// Tier is its Outcome.
	Tier string `json:"tier"`
	// Took is how long it took.
	Took profile.Millis `json:"tookMs"`
}

// Found are the lookups that a filter shows.
type Found struct {
	// Lookups are the newest, the newest first.
	Lookups []Shown `json:"lookups"`
	// Matched is how many the filter would show, of all Timed ones.
	Matched int `json:"matched"`
	Timed   int `json:"timed"`
}

// Find returns the newest lookups of the last snapshot that f shows, most at most. There are none
// while nobody looks.
func (l *Live) Find(f Filter, most int) Found {
	l.mu.Lock()
	lookups := l.lookups
	l.mu.Unlock()
	found := Found{Lookups: []Shown{}, Timed: len(lookups)}
	for i := len(lookups) - 1; i >= 0; i-- {
		one := &lookups[i]
		if !f.Match(one) {
			continue
		}
		found.Matched++
		if len(found.Lookups) < most {
			found.Lookups = append(found.Lookups, Shown{one.At.UnixMilli(), one.ID, Outcome(one), profile.Millis(one.Took)})
		}
	}
	return found
}
