package gossip

import (
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// weather is what the network between nodes does to what they send over real sockets on loopback.
type weather struct {
	mu     sync.Mutex
	rng    *rand.Rand
	loss   float64
	sides  map[string]int // by address, while split
	places map[string]string

	sent, lost atomic.Int64
}

func newWeather(seed uint64) *weather {
	return &weather{rng: rand.New(rand.NewPCG(seed, 1)), places: map[string]string{}}
}

// wrap puts the node of that name into the weather.
func (w *weather) wrap(name string) func(memberlist.NodeAwareTransport) memberlist.NodeAwareTransport {
	return func(t memberlist.NodeAwareTransport) memberlist.NodeAwareTransport {
		return &exposed{NodeAwareTransport: t, weather: w, name: name}
	}
}

// place says which address a node has.
func (w *weather) place(c *Cluster) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.places[c.cfg.Name] = c.Self().Addr
}

func (w *weather) lose(share float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loss = share
}

// split lets nothing pass between these nodes and the others; without nodes all is well again.
func (w *weather) split(nodes ...*Cluster) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sides = map[string]int{}
	for _, c := range nodes {
		w.sides[c.Self().Addr] = 1
	}
}

func (w *weather) apartLocked(from, to string) bool { return w.sides[w.places[from]] != w.sides[to] }

type exposed struct {
	memberlist.NodeAwareTransport
	*weather
	name string
}

// WriteToAddress sends a packet, or loses it.
func (e *exposed) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	e.mu.Lock()
	lost := e.apartLocked(e.name, a.Addr) || e.rng.Float64() < e.loss
	e.mu.Unlock()
	e.sent.Add(1)
	if lost {
		e.lost.Add(1)
		return time.Now(), nil
	}
	return e.NodeAwareTransport.WriteToAddress(b, a)
}

// DialAddressTimeout connects, but not to the other side.
func (e *exposed) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	e.mu.Lock()
	apart := e.apartLocked(e.name, a.Addr)
	e.mu.Unlock()
	if apart {
		return nil, errors.New("no route")
	}
	return e.NodeAwareTransport.DialAddressTimeout(a, timeout)
}

// Shutdown, WriteTo and DialTimeout of the real transport are not weather's: memberlist only uses
// the forms with a name.
var _ memberlist.NodeAwareTransport = (*exposed)(nil)
