package node

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// wire is the way from one client to the model's server, which may be cut, fall silent, be slow, or
// lose replies.
type wire struct {
	name   string
	server *modelRedis
	shadow *shadow // of the node whose tail reads over this wire; nil for lookups and changes

	mu   sync.Mutex
	down bool
	open chan struct{} // closed while bytes may pass
	slow time.Duration // half of it before a command, half after
	// every such command is late, before or after it is done, so that others overtake it
	sway  int
	count int // of commands while they sway
	lose  int // replies to lose
	lines map[*line]struct{}
}

func (s *modelRedis) wire(name string, sh *shadow) *wire {
	w := &wire{name: name, server: s, shadow: sh, open: make(chan struct{}), lines: map[*line]struct{}{}}
	close(w.open)
	s.wires = append(s.wires, w)
	return w
}

// client returns a client with the settings that open gives to those of a real server. Its pools
// have room for all that can be under way, as the client's timers for waiting there are shared by
// all of a process and may not leave a bubble.
func (w *wire) client(t *testing.T, open func(string) (redis.UniversalClient, error)) redis.UniversalClient {
	t.Helper()
	c, err := open("redis://model:6379")
	check(t, err)
	o := *c.(*redis.Client).Options()
	check(t, c.Close())
	o.Dialer, o.PoolSize = w.dial, 1000
	if o.PipelinePoolSize >= 0 {
		o.PipelinePoolSize, o.AutoPipelineOptions = 1000, &redis.AutoPipelineOptions{Unordered: true, MaxConcurrentBatches: 1000}
	}
	return redis.NewClient(&o)
}

var errRefused = errors.New("model: connection refused")

// line is one connection of a wire, on the server's side.
type line struct {
	conn  net.Conn
	wire  *wire
	ended chan struct{}
	once  sync.Once

	// What was read over it since the last state, and what the node has learnt once the reply has
	// arrived. They belong to the goroutine that serves the line.
	read    []streamEntry
	hasRead bool
	met     met
	staged  func()
}

func (w *wire) dial(context.Context, string, string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down || !w.server.isUp() {
		return nil, errRefused
	}
	client, behind := net.Pipe()
	l := &line{conn: behind, wire: w, ended: make(chan struct{})}
	w.lines[l] = struct{}{}
	go l.serve()
	return client, nil
}

// cut ends every line of the wire.
func (w *wire) cut() {
	w.mu.Lock()
	lines := w.lines
	w.lines = map[*line]struct{}{}
	w.mu.Unlock()
	for l := range lines {
		l.close()
	}
}

// refuse makes the wire refuse connections, and ends those that there are.
func (w *wire) refuse(on bool) {
	w.mu.Lock()
	w.down = on
	w.mu.Unlock()
	if on {
		w.cut()
	}
}

// hush holds back every byte while on.
func (w *wire) hush(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.open:
		if on {
			w.open = make(chan struct{})
		}
	default:
		if !on {
			close(w.open)
		}
	}
}

// delay makes every command take d longer.
func (w *wire) delay(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slow = d
}

// overtake makes one command in n late, and another one's reply, until n is 0.
func (w *wire) overtake(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sway, w.count = n, 0
}

// swayLate is how late a command, or its reply, is that others overtake.
const swayLate = 60 * time.Millisecond

// lateness returns for how long the next command, and then its reply, are held up.
func (w *wire) lateness() (before, after time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sway == 0 {
		return 0, 0
	}
	w.count++
	switch w.count % (w.sway + 1) {
	case 1:
		return swayLate / 2, 0
	case 0:
		return 0, swayLate
	}
	return 0, 0
}

// loseReplies ends n connections just before a reply arrives: the command was done.
func (w *wire) loseReplies(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lose = n
}

func (w *wire) losing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lose > 0
}

// heal ends whatever is wrong with the wire.
func (w *wire) heal() {
	w.refuse(false)
	w.hush(false)
	w.delay(0)
	w.overtake(0)
	w.loseReplies(0)
}

func (w *wire) state() (open <-chan struct{}, slow time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.open, w.slow
}

func (w *wire) loses(l *line) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lose == 0 || w.shadow != nil && !l.hasRead {
		// of a tail's replies only that of XREAD: without it the node knows nothing of those that
		// follow
		return false
	}
	w.lose--
	return true
}

// pass waits until bytes may pass, and for late beyond what all take.
func (l *line) pass(late time.Duration) error {
	open, slow := l.wire.state()
	if late += slow / 2; late > 0 {
		select {
		case <-time.After(late):
		case <-l.ended:
		}
	}
	select {
	case <-open:
		return nil
	case <-l.ended:
		return net.ErrClosed
	}
}

// serve answers commands until either side has had enough.
func (l *line) serve() {
	defer l.close()
	requests := bufio.NewReaderSize(l.conn, 64<<10) // a client that is still writing does not read
	for {
		name, args, err := readCommand(requests)
		before, after := l.wire.lateness()
		if err != nil || l.pass(before) != nil {
			return
		}
		reply := encode(l.wire.server.serve(l, name, args))
		if l.send(reply, after) != nil {
			return
		}
	}
}

// readCommand reads an array of bulk strings.
func readCommand(r *bufio.Reader) (name string, args []string, err error) {
	n, err := readLength(r)
	for range n {
		size, err := readLength(r)
		if err != nil {
			return "", nil, err
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return "", nil, err
		}
		args = append(args, string(b[:size]))
	}
	if err != nil || n == 0 {
		return "", nil, cmp.Or(err, io.ErrUnexpectedEOF)
	}
	return strings.ToUpper(args[0]), args[1:], nil
}

func readLength(r *bufio.Reader) (int, error) {
	text, err := r.ReadString('\n')
	if err != nil || len(text) < 3 {
		return 0, cmp.Or(err, io.ErrUnexpectedEOF)
	}
	return strconv.Atoi(text[1 : len(text)-2])
}

// send lets a reply through. A net.Pipe's Write returns when the other side has read it: then the
// node knows.
func (l *line) send(reply string, late time.Duration) error {
	staged := l.staged
	l.staged = nil
	if err := l.pass(late); err != nil {
		return err
	}
	if l.wire.loses(l) {
		return net.ErrClosed
	}
	_, err := io.WriteString(l.conn, reply)
	if err == nil && staged != nil {
		staged()
	}
	return err
}

func (l *line) close() {
	l.once.Do(func() { close(l.ended) })
	_ = l.conn.Close()
	l.wire.mu.Lock()
	defer l.wire.mu.Unlock()
	delete(l.wire.lines, l)
}
