package redistest

import (
	"io"
	"math/rand/v2"
	"net"
	"time"
)

const (
	// segment is how many bytes a TCP segment carries on an Ethernet.
	segment = 1448
	// firstRetry is the least retransmission timeout of Linux; it doubles with each loss in a row.
	firstRetry = 200 * time.Millisecond
	// mostRetries bounds the losses of one segment.
	mostRetries = 4
	// underWay is how many pieces of one direction travel at once.
	underWay = 1024
)

// Shape describes a network. TCP delivers in order, so what a real network reorders or loses
// arrives late and holds up what follows on its connection; connections overtake one another.
// Duplicates of segments never reach a reader of TCP, so there are none.
type Shape struct {
	// Delay is how long each piece travels, one way, and Jitter how much longer at most, at random.
	Delay, Jitter time.Duration
	// Loss is the share of segments that are lost, 0 to 1.
	Loss float64
	// Bandwidth is in bytes a second, for each direction of each connection. Default: any.
	Bandwidth int
	// Seed decides what is drawn, with the number of the connection and its direction.
	Seed uint64
}

// Shape makes connections from now on travel over a network of shape s; the zero Shape is the
// network as it is.
func (p *Proxy) Shape(s Shape) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shape = nil
	if s != (Shape{}) {
		p.shape = &s
	}
}

// route is one direction of one connection through a Shape.
type route struct {
	shape Shape
	rnd   *rand.Rand
	free  time.Time // when the line has sent all before
	last  time.Time // when the piece before arrives
}

func (s Shape) route(connection, direction uint64) *route {
	return &route{shape: s, rnd: rand.New(rand.NewPCG(s.Seed, connection<<1|direction))}
}

// arrival returns when n bytes that are sent now arrive.
func (r *route) arrival(now time.Time, n int) time.Time {
	at := now
	if r.shape.Bandwidth > 0 {
		if r.free.After(at) {
			at = r.free
		}
		at = at.Add(time.Duration(n) * time.Second / time.Duration(r.shape.Bandwidth))
		r.free = at
	}
	at = at.Add(r.shape.Delay)
	if r.shape.Jitter > 0 {
		at = at.Add(time.Duration(r.rnd.Int64N(int64(r.shape.Jitter))))
	}
	late := time.Duration(0)
	for range (n + segment - 1) / segment {
		late = max(late, r.retries())
	}
	if at = at.Add(late); at.Before(r.last) {
		at = r.last
	}
	r.last = at
	return at
}

// retries returns how much later one segment arrives for being lost.
func (r *route) retries() (late time.Duration) {
	for i := range mostRetries {
		if r.rnd.Float64() >= r.shape.Loss {
			return late
		}
		late += firstRetry << i
	}
	return late
}

// parcel is a piece on its way.
type parcel struct {
	piece []byte
	at    time.Time
}

// carry is copy over a route.
func (l *link) carry(to, from *net.TCPConn, way *route, pass func([]byte) ([]byte, bool)) {
	defer l.end()
	parcels := make(chan parcel, underWay)
	l.proxy.group.Go(func() { l.send(from, way, parcels) })
	for p := range parcels {
		if !l.until(p.at) {
			return
		}
		piece, lives := pass(p.piece)
		if _, err := to.Write(piece); err != nil || !lives {
			return
		}
	}
}

// send reads pieces and puts them on their way until either side ends.
func (l *link) send(from io.Reader, way *route, parcels chan<- parcel) {
	defer close(parcels)
	for {
		buffer := make([]byte, 4*segment)
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		select {
		case parcels <- parcel{buffer[:n], way.arrival(time.Now(), n)}:
		case <-l.ended:
			return
		}
	}
}

// until waits and reports whether the link lives.
func (l *link) until(at time.Time) bool {
	select {
	case <-time.After(time.Until(at)):
		return true
	case <-l.ended:
		return false
	}
}
