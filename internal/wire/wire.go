// Package wire forwards TCP connections, and can spoil them: for demonstrations of what happens
// when a network does not do its part.
package wire

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Wire forwards connections to one address. Its methods may be called concurrently.
type Wire struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	open  map[net.Conn]struct{} // guarded by mu; nil after Close
	clear chan struct{}         // guarded by mu: closed unless the wire is cut
	delay time.Duration         // guarded by mu
	done  chan struct{}
	group sync.WaitGroup
}

// New listens on a free port of this machine, see Addr, and forwards to target, HOST:PORT.
func New(target string) (*Wire, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("wire: listen: %w", err)
	}
	w := &Wire{listener: listener, target: target, open: map[net.Conn]struct{}{}, clear: make(chan struct{}), done: make(chan struct{})}
	close(w.clear)
	w.group.Go(w.accept)
	return w, nil
}

// Addr returns where to connect, HOST:PORT.
func (w *Wire) Addr() string { return w.listener.Addr().String() }

// Cut makes the wire silent, or mends it: connections stay, and what is sent waits.
func (w *Wire) Cut(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.clear:
		if on {
			w.clear = make(chan struct{})
		}
	default:
		if !on {
			close(w.clear)
		}
	}
}

// Slow delays each piece that the target sends by d; 0 ends that.
func (w *Wire) Slow(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delay = d
}

// Close ends all connections and waits. It may be called twice.
func (w *Wire) Close() error {
	w.mu.Lock()
	if w.open != nil {
		close(w.done)
	}
	for c := range w.open {
		_ = c.Close()
	}
	w.open = nil
	w.mu.Unlock()
	err := w.listener.Close()
	w.group.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (w *Wire) accept() {
	for {
		from, err := w.listener.Accept()
		if err != nil {
			return // closed
		}
		w.group.Go(func() { w.serve(from) })
	}
}

// serve connects from with the target, until either ends.
func (w *Wire) serve(from net.Conn) {
	defer w.forget(from)
	if !w.keep(from) || !w.pass(0) {
		return
	}
	to, err := net.Dial("tcp", w.target)
	if err != nil {
		return
	}
	defer w.forget(to)
	if !w.keep(to) {
		return
	}
	var back sync.WaitGroup
	back.Go(func() { w.copy(from, to, true) })
	w.copy(to, from, false)
	back.Wait()
}

// keep has Close end c. It reports false after Close.
func (w *Wire) keep(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open == nil {
		return false
	}
	w.open[c] = struct{}{}
	return true
}

func (w *Wire) forget(c net.Conn) {
	_ = c.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, c)
}

// copy passes on what from sends, piece by piece, and ends both when either ends.
func (w *Wire) copy(to, from net.Conn, delayed bool) {
	defer to.Close()
	defer from.Close()
	piece := make([]byte, 32<<10)
	for {
		n, err := from.Read(piece)
		if n > 0 {
			wait := time.Duration(0)
			if delayed {
				wait = w.slowness()
			}
			if !w.pass(wait) {
				return
			}
			if _, err := to.Write(piece[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (w *Wire) slowness() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.delay
}

// pass waits for d, and then until the wire is not cut. It reports false after Close.
func (w *Wire) pass(d time.Duration) bool {
	if d > 0 {
		late := time.NewTimer(d)
		defer late.Stop()
		select {
		case <-late.C:
		case <-w.done:
			return false
		}
	}
	w.mu.Lock()
	clear := w.clear
	w.mu.Unlock()
	select {
	case <-clear:
		return true
	case <-w.done:
		return false
	}
}
