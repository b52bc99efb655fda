package gate

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// tooManyConns is the answer to a connection above the limit of its address.
const tooManyConns = "HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"

// connCount counts the open connections of each address. Its zero value counts nothing.
type connCount struct {
	most int // 0: any number
	gate *Gate
	mu   sync.Mutex
	open map[netip.Addr]int // guarded by mu
}

func (k *connCount) enter(addr netip.Addr) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.open == nil {
		k.open = make(map[netip.Addr]int)
	}
	if k.open[addr] >= k.most {
		return false
	}
	k.open[addr]++
	return true
}

func (k *connCount) leave(addr netip.Addr) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.open[addr]--; k.open[addr] <= 0 {
		delete(k.open, addr)
	}
}

// Listen returns ln with a bound on the connections of one address. Those above it are closed, with
// a 429 unless the server speaks TLS, for which it would be no answer.
func (g *Gate) Listen(ln net.Listener) net.Listener {
	if g.conns.most == 0 {
		return ln
	}
	return countingListener{ln, &g.conns}
}

type countingListener struct {
	net.Listener
	count *connCount
}

// Accept returns the next connection that is within the limit.
func (l countingListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr := address(conn.RemoteAddr())
		if l.count.gate.trusted(addr) {
			return conn, nil
		}
		if addr = network(addr); l.count.enter(addr) {
			return &countedConn{Conn: conn, count: l.count, addr: addr}, nil
		}
		l.count.gate.refuse(conn)
	}
}

// refuse closes a connection. What it writes fits the socket's empty buffer.
func (g *Gate) refuse(conn net.Conn) {
	g.limited[limitConns].Add(1)
	if !g.secure {
		_ = conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = conn.Write([]byte(tooManyConns))
	}
	_ = conn.Close()
}

// countedConn counts until it is closed.
type countedConn struct {
	net.Conn
	count *connCount
	addr  netip.Addr
	once  sync.Once
}

// Close closes the connection.
func (c *countedConn) Close() error {
	c.once.Do(func() { c.count.leave(c.addr) })
	return c.Conn.Close()
}

// Loopback reports whether HOST:PORT can be reached from this machine only.
func Loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

func address(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
