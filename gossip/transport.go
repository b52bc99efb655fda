package gossip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/chatapp-ngomna/edgecache/internal/life"
)

const (
	// maxStreams is how many TCP connections of others are served at once; more wait in the kernel.
	// maxStreamBytes is how much is read from one. A stranger's bytes are buffered before they are
	// found not to be encrypted with a key, so the two bound what strangers can make a node hold:
	// some 30 MiB, as buffers grow by doubling. The state of 800 members of the longest kind fits,
	// and of 3,000 of the usual.
	maxStreams     = 16
	maxStreamBytes = 512 << 10

	maxPacket  = 64 << 10 // bytes; no UDP packet is larger
	packetRoom = 2 << 20  // bytes that the kernel is asked to keep
	freePorts  = 10       // how many free TCP ports are tried for one that is free for UDP too
	acceptWait = 50 * time.Millisecond
)

var errStreamTooLong = errors.New("gossip: the stream is too long")

// transport is UDP for packets and TCP for streams. It differs from memberlist's own in that its
// connections end and its goroutines are awaited when it is shut down, that it turns away strangers
// at once, and in what strangers can make it hold: that one takes 64 KiB for each packet, which at
// 50,000 a second is more than is collected in time.
type transport struct {
	tcp *net.TCPListener
	udp *net.UDPConn
	// of dials: what is listened on, so that others see the address that they know
	from    netip.Addr
	allowed func(netip.Addr) bool
	packets chan *memberlist.Packet
	streams chan net.Conn
	slots   chan struct{}
	refused atomic.Int64 // packets and connections from addresses that are not allowed

	ctx    context.Context // ends when Shutdown begins
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	conns map[*stream]struct{}
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

// listen listens on one port over UDP and TCP; for port 0 on any.
func listen(bind netip.AddrPort, allowed func(netip.Addr) bool) (*transport, error) {
	t := &transport{
		from: bind.Addr(), allowed: allowed, packets: make(chan *memberlist.Packet), streams: make(chan net.Conn),
		slots: make(chan struct{}, maxStreams), conns: map[*stream]struct{}{},
	}
	err := t.open(bind)
	for try := 1; err != nil && bind.Port() == 0 && try < freePorts; try++ {
		err = t.open(bind)
	}
	if err != nil {
		return nil, err
	}
	for room := packetRoom; room > 0 && t.udp.SetReadBuffer(room) != nil; room /= 2 {
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.wg.Go(t.readPackets)
	t.wg.Go(t.accept)
	return t, nil
}

func (t *transport) open(bind netip.AddrPort) (err error) {
	if t.tcp, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(bind)); err != nil {
		return err
	}
	if t.udp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(bind.Addr(), t.port()))); err != nil {
		_ = t.tcp.Close()
	}
	return err
}

func (t *transport) port() uint16 { return t.tcp.Addr().(*net.TCPAddr).AddrPort().Port() }

func (t *transport) readPackets() {
	buf := make([]byte, maxPacket)
	for {
		n, from, err := t.udp.ReadFromUDPAddrPort(buf)
		arrived := time.Now()
		switch {
		case t.ctx.Err() != nil:
			return
		case err != nil:
			life.Wait(t.ctx, acceptWait)
			continue
		case n == 0:
			continue
		case !t.allowed(from.Addr().Unmap()):
			t.refused.Add(1)
			continue
		}
		packet := &memberlist.Packet{Buf: bytes.Clone(buf[:n]), From: net.UDPAddrFromAddrPort(from), Timestamp: arrived}
		select {
		case t.packets <- packet:
		case <-t.ctx.Done():
			return
		}
	}
}

// accept takes a connection only when there is a slot to serve it.
func (t *transport) accept() {
	for {
		select {
		case t.slots <- struct{}{}:
		case <-t.ctx.Done():
			return
		}
		conn, err := t.tcp.AcceptTCP()
		if err == nil && t.allowed(conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()) {
			t.serve(t.track(conn, func() { <-t.slots }))
			continue
		}
		<-t.slots
		switch {
		case err == nil:
			t.refused.Add(1)
			_ = conn.Close()
		case t.ctx.Err() != nil:
			return
		default: // out of file descriptors, as a rule
			life.Wait(t.ctx, acceptWait)
		}
	}
}

func (t *transport) serve(s *stream) {
	select {
	case t.streams <- s:
	case <-t.ctx.Done():
		_ = s.Close()
	}
}

// FinalAdvertiseAddr returns what it is given: the address is known before.
func (t *transport) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	addr, err := netip.ParseAddr(ip)
	return addr.AsSlice(), port, err
}

// PacketCh returns the packets of others.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh returns the connections of others.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// WriteTo sends a packet.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress sends a packet.
func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	to, err := netip.ParseAddrPort(a.Addr)
	if err != nil {
		return time.Time{}, err
	}
	_, err = t.udp.WriteToUDPAddrPort(b, to)
	return time.Now(), err
}

// DialTimeout connects to an address.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout connects to an address.
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: timeout}
	if !t.from.IsUnspecified() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(t.from, 0))
	}
	conn, err := dialer.DialContext(t.ctx, "tcp", a.Addr)
	if err != nil {
		return nil, err
	}
	return t.track(conn, func() {}), nil
}

// track returns a connection that ends with the transport.
func (t *transport) track(conn net.Conn, after func()) *stream {
	s := &stream{Conn: conn, left: maxStreamBytes}
	s.close = sync.OnceValue(func() error {
		defer after()
		t.mu.Lock()
		delete(t.conns, s)
		t.mu.Unlock()
		return conn.Close()
	})
	t.mu.Lock()
	t.conns[s] = struct{}{}
	t.mu.Unlock()
	if t.ctx.Err() != nil { // it may have come too late to be found by Shutdown
		_ = s.Close()
	}
	return s
}

// Shutdown closes the listeners and every connection, and waits for the goroutines of the
// listeners. It may be called twice.
func (t *transport) Shutdown() error {
	t.cancel()
	_ = t.tcp.Close() // an error of the second time
	_ = t.udp.Close()
	t.mu.Lock()
	open := make([]*stream, 0, len(t.conns))
	for s := range t.conns {
		open = append(open, s)
	}
	t.mu.Unlock()
	for _, s := range open {
		_ = s.Close()
	}
	t.wg.Wait()
	return nil
}

// stream is a connection that gives at most maxStreamBytes.
type stream struct {
	net.Conn
	close func() error
	left  int
}

// Read reads up to the bound, and fails beyond it.
func (s *stream) Read(b []byte) (int, error) {
	if s.left <= 0 {
		return 0, fmt.Errorf("%w: more than %d bytes", errStreamTooLong, maxStreamBytes)
	}
	n, err := s.Conn.Read(b[:min(len(b), s.left)])
	s.left -= n
	return n, err
}

// Close closes the connection. It may be called twice.
func (s *stream) Close() error { return s.close() }
