package redistest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Proxy is a TCP link to one server that a test may spoil. Each role that fails apart from the
// others (data, stream) goes through a proxy of its own. Safe for concurrent use.
type Proxy struct {
	// Addr is where clients connect, host:port.
	Addr string

	target   string
	listener net.Listener
	group    sync.WaitGroup

	mu       sync.Mutex
	links    map[*link]struct{}
	open     chan struct{} // closed while bytes may pass
	delay    time.Duration
	cut      *cut   // nil when no reply is to be cut
	shape    *Shape // nil for the network as it is
	accepted int
	closed   bool
}

// cut waits for left requests that hold match and lets after bytes of each reply through. done is
// closed after the last.
type cut struct {
	match []byte
	after int
	left  int
	done  chan struct{}
}

// link is one client's connection and the proxy's own behind it.
type link struct {
	proxy          *Proxy
	client, server *net.TCPConn
	ended          chan struct{}
	once           sync.Once

	mu  sync.Mutex
	cut *cut
}

// NewProxy listens on a free port of 127.0.0.1 and forwards to target, host:port. The caller
// closes it.
func NewProxy(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("redistest: proxy: %w", err)
	}
	p := &Proxy{
		Addr: l.Addr().String(), target: target, listener: l,
		links: make(map[*link]struct{}), open: make(chan struct{}),
	}
	close(p.open)
	p.group.Go(p.accept)
	return p, nil
}

// BlackHole holds back every byte in both directions while on, without closing anything: no error
// tells the client. What was held is delivered afterwards, as TCP does when a network heals. A new
// connection is accepted meanwhile and stays silent.
func (p *Proxy) BlackHole(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
		if on {
			p.open = make(chan struct{})
		}
	default:
		if !on {
			close(p.open)
		}
	}
}

// Delay makes every piece of a reply wait before it goes on to the client; 0 ends that.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// CutReply spoils one reply: of the answer to the next request that holds match (letters of either
// case; empty is any request) only the first after bytes reach the client, then its connection
// ends. With after 0 the command is done and its reply lost. The channel is closed when it has
// happened. Requests in flight on the same connection share its replies: give match a connection
// that is not pipelined. A second call replaces the first if that has not met its request.
func (p *Proxy) CutReply(match string, after int) <-chan struct{} {
	return p.spoil(match, after, 1)
}

// LoseReplies is CutReply for the next n such requests, of whose replies nothing arrives: with n
// above the client's retries it never learns what was done. The channel is closed after the last.
func (p *Proxy) LoseReplies(match string, n int) <-chan struct{} { return p.spoil(match, 0, n) }

func (p *Proxy) spoil(match string, after, times int) <-chan struct{} {
	c := &cut{match: bytes.ToLower([]byte(match)), after: after, left: times, done: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = c
	return c.done
}

// Reset ends every connection with a TCP reset; new ones are welcome.
func (p *Proxy) Reset() {
	for _, l := range p.current() {
		// Linger 0 makes the close a reset instead of an orderly end.
		_ = l.client.SetLinger(0)
		l.end()
	}
}

// Accepted is how many connections clients have made so far.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Close ends the listener and every connection and waits for them. It may be called twice.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	err := p.listener.Close()
	for _, l := range p.current() {
		l.end()
	}
	p.group.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (p *Proxy) current() []*link {
	p.mu.Lock()
	defer p.mu.Unlock()
	links := make([]*link, 0, len(p.links))
	for l := range p.links {
		links = append(links, l)
	}
	return links
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.group.Go(func() { p.serve(conn.(*net.TCPConn)) })
	}
}

func (p *Proxy) serve(client *net.TCPConn) {
	server, err := net.DialTimeout("tcp", p.target, ReadyTimeout)
	if err != nil {
		_ = client.SetLinger(0) // as if the server's own port had refused
		_ = client.Close()
		return
	}
	l := &link{proxy: p, client: client, server: server.(*net.TCPConn), ended: make(chan struct{})}
	shape, number, open := p.add(l)
	if !open {
		l.end()
		return
	}
	var both sync.WaitGroup
	defer p.remove(l)
	defer both.Wait()
	if shape != nil {
		both.Go(func() { l.carry(l.server, l.client, shape.route(number, 0), l.request) })
		both.Go(func() { l.carry(l.client, l.server, shape.route(number, 1), l.reply) })
		return
	}
	both.Go(func() { l.copy(l.server, l.client, l.request) })
	both.Go(func() { l.copy(l.client, l.server, l.reply) })
}

// add returns the link's shape and number, and false when the proxy is closed.
func (p *Proxy) add(l *link) (shape *Shape, number uint64, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accepted++
	if !p.closed {
		p.links[l] = struct{}{}
	}
	return p.shape, uint64(p.accepted), !p.closed
}

func (p *Proxy) remove(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// gate returns the channel that is closed while bytes may pass, and the delay of replies.
func (p *Proxy) gate() (<-chan struct{}, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open, p.delay
}

// take hands the waiting cut to the link whose request it was waiting for.
func (p *Proxy) take(request []byte) *cut {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.cut
	if c == nil || !bytes.Contains(bytes.ToLower(request), c.match) {
		return nil
	}
	if c.left--; c.left == 0 {
		p.cut = nil
		return &cut{after: c.after, done: c.done}
	}
	return &cut{after: c.after, done: make(chan struct{})}
}

func (l *link) end() {
	l.once.Do(func() {
		close(l.ended)
		_ = l.client.Close()
		_ = l.server.Close()
	})
}

// copy forwards until either side ends. pass prepares each piece and returns what of it may go on
// and whether the link lives after that.
func (l *link) copy(to, from *net.TCPConn, pass func([]byte) ([]byte, bool)) {
	defer l.end()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		piece, lives := pass(buffer[:n])
		if _, err := to.Write(piece); err != nil || !lives {
			return
		}
	}
}

func (l *link) request(piece []byte) ([]byte, bool) {
	if c := l.proxy.take(piece); c != nil {
		l.mu.Lock()
		l.cut = c // before the request goes on, so that its reply finds it
		l.mu.Unlock()
	}
	return piece, l.pass(false)
}

func (l *link) reply(piece []byte) ([]byte, bool) {
	if !l.pass(true) {
		return nil, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut == nil {
		return piece, true
	}
	if len(piece) < l.cut.after {
		l.cut.after -= len(piece)
		return piece, true
	}
	close(l.cut.done)
	piece, l.cut = piece[:l.cut.after], nil
	return piece, false
}

// pass waits until bytes may go on, replies after their delay, and says whether the link lives.
func (l *link) pass(delayed bool) bool {
	open, delay := l.proxy.gate()
	if delayed && delay > 0 {
		select {
		case <-time.After(delay):
		case <-l.ended:
			return false
		}
	}
	select {
	case <-open:
		return true
	case <-l.ended:
		return false
	}
}
