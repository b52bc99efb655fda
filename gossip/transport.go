package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// maxStreams is how many TCP connections of others are served at once; more wait in the kernel. maxStreamBytes is how
	// much is read from one. A stranger's bytes are buffered before they are found not to be encrypted with a key,
	// so the two bound what strangers can make a node hold. The state of 1,700 members of the longest kind fits.
	maxStreams     = 16
	maxStreamBytes = 1 << 20
)

var errStreamTooLong = errors.New("gossip: the stream is too long")

// transport is memberlist's own over UDP and TCP, with connections that end when it is shut down, and bounds.
type transport struct {
	*memberlist.NetTransport
	ctx     context.Context // of dials
	cancel  context.CancelFunc
	from    netip.Addr // of dials: what is listened on, so that others see the address that they know
	allowed func(netip.Addr) bool
	streams chan net.Conn
	slots   chan struct{}
	refused atomic.Int64 // connections from addresses that are not allowed

	drained   chan struct{} // closed when the listeners are
	forwarded chan struct{} // closed when forward has ended

	mu    sync.Mutex
	conns map[*stream]struct{}
}

func listen(cfg *memberlist.NetTransportConfig, from netip.Addr, allowed func(netip.Addr) bool) (*transport, error) {
	inner, err := memberlist.NewNetTransport(cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	t := &transport{
		NetTransport: inner, ctx: ctx, cancel: cancel, from: from, allowed: allowed,
		streams: make(chan net.Conn), slots: make(chan struct{}, maxStreams),
		drained: make(chan struct{}), forwarded: make(chan struct{}), conns: map[*stream]struct{}{},
	}
	go t.forward()
	return t, nil
}

// forward hands connections to memberlist until the listeners are closed. It goes on taking them once ctx has ended, because
// the listener cannot close while it hands one over.
func (t *transport) forward() {
	defer close(t.forwarded)
	for {
		select {
		case conn := <-t.NetTransport.StreamCh():
			t.serve(conn)
		case <-t.drained:
			return
		}
	}
}

func (t *transport) serve(conn net.Conn) {
	if from, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err != nil || !t.allowed(from.Addr().Unmap()) {
		t.refused.Add(1)
		_ = conn.Close()
		return
	}
	select {
	case t.slots <- struct{}{}:
	case <-t.ctx.Done():
		_ = conn.Close()
		return
	}
	s := t.track(conn, func() { <-t.slots })
	select {
	case t.streams <- s:
	case <-t.ctx.Done():
		_ = s.Close()
	}
}

// StreamCh returns the connections of others.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

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

// Shutdown closes the listeners and every connection, and waits for the goroutines of the listeners. It may be called twice.
func (t *transport) Shutdown() error {
	if t.ctx.Err() != nil {
		<-t.forwarded
		return nil
	}
	t.cancel()
	t.mu.Lock()
	open := make([]*stream, 0, len(t.conns))
	for s := range t.conns {
		open = append(open, s)
	}
	t.mu.Unlock()
	for _, s := range open {
		_ = s.Close()
	}
	err := t.NetTransport.Shutdown()
	close(t.drained)
	<-t.forwarded
	return err
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
