package api

import (
	"net"
	"time"
)

// patient is a listener whose connections put their deadlines off only when that matters: fasthttp
// sets three a request, which is a twentieth of what a request costs. A deadline may come early by
// slack, never late.
type patient struct {
	net.Listener
	slack time.Duration
}

func (l patient) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &patientConn{Conn: c, slack: l.slack}, nil
}

// patientConn is used by one goroutine, but for Close and what is done to the Conn in it.
type patientConn struct {
	net.Conn
	slack       time.Duration
	read, write deadline
}

// deadline is what was wanted last and what is set.
type deadline struct{ wanted, set time.Time }

// due reports whether the connection's deadline must be moved, and records it as moved.
func (d *deadline) due(slack time.Duration) bool {
	early := d.wanted.Sub(d.set)
	if d.wanted.Equal(d.set) || !d.set.IsZero() && 0 < early && early <= slack {
		return false
	}
	d.set = d.wanted
	return true
}

func (c *patientConn) SetDeadline(t time.Time) error {
	c.read.wanted, c.write.wanted = t, t
	return nil
}

func (c *patientConn) SetReadDeadline(t time.Time) error {
	c.read.wanted = t
	return nil
}

func (c *patientConn) SetWriteDeadline(t time.Time) error {
	c.write.wanted = t
	return nil
}

func (c *patientConn) Read(p []byte) (int, error) {
	if c.read.due(c.slack) {
		if err := c.Conn.SetReadDeadline(c.read.set); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(p)
}

func (c *patientConn) Write(p []byte) (int, error) {
	if c.write.due(c.slack) {
		if err := c.Conn.SetWriteDeadline(c.write.set); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}
