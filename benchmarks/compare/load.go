package compare

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/bench/load"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// loadOrder is what a child that puts load on a server is asked for.
type loadOrder struct {
	Addr   string
	Bearer string // the value of Authorization; "" for none
	Users  int
	Seed   uint64
	Nanos  time.Duration
	// requests that are due a second; 0 for as many as there can be, one after another
	Rate float64
}

// rest is what follows the id in a request.
func (o loadOrder) rest() string {
	rest := " HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
	if o.Bearer != "" {
		rest += "Authorization: " + o.Bearer + "\r\n"
	}
	return rest + "\r\n"
}

var errAnswer = errors.New("not the answer that was asked for")

// loadTask keeps one request under way on each connection until the time is up.
func loadTask(ctx context.Context, argument []byte) (any, error) {
	var o loadOrder
	if err := json.Unmarshal(argument, &o); err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	conns := make([]net.Conn, httpConnections)
	for i := range conns {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", o.Addr)
		if err != nil {
			return nil, fmt.Errorf("connect: %w", err)
		}
		defer func() { _ = c.Close() }()
		conns[i] = c
	}
	if o.Rate > 0 {
		return o.openLoop(ctx, conns)
	}
	delays, errs := make([][]float64, len(conns)), make([]error, len(conns))
	began := time.Now()
	var all sync.WaitGroup
	for i, c := range conns {
		all.Go(func() {
			l := o.lookups(c, i)
			delays[i], errs[i] = l.run(o.Users, began.Add(o.Nanos))
		})
	}
	all.Wait()
	elapsed := time.Since(began)
	var merged []float64
	for _, d := range delays {
		merged = append(merged, d...)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return loadAnswer{Rate: float64(len(merged)) / elapsed.Seconds(), P50: quantile(merged, 0.5), P99: quantile(merged, 0.99)}, nil
}

// openLoop puts Rate on the server, whatever it makes of it: a request that waits for a
// connection, because earlier ones were slow, has the wait in its latency.
func (o loadOrder) openLoop(ctx context.Context, conns []net.Conn) (a loadAnswer, err error) {
	all := make([]lookups, len(conns))
	for i, c := range conns {
		all[i] = o.lookups(c, i)
	}
	plan := load.Plan{Rate: o.Rate, Duration: o.Nanos, Workers: len(conns)}
	out, err := load.Open(ctx, plan, func(_ context.Context, worker int, _ uint64) error {
		return all[worker].one(int64(1 + all[worker].rnd.IntN(o.Users)))
	})
	if err != nil {
		return a, err
	}
	if out.Failed > 0 {
		return a, fmt.Errorf("%d of %d requests: %w", out.Failed, out.Planned, out.Err)
	}
	latency, late := out.Latency(), out.Pacer
	millis := func(nanos int64) float64 { return float64(nanos) / float64(time.Millisecond) }
	return loadAnswer{Rate: out.Achieved, P50: millis(latency.ValueAtPercentile(50)), P99: millis(latency.ValueAtPercentile(99)),
		P999: millis(latency.ValueAtPercentile(99.9)), Late99: millis(late.ValueAtPercentile(99)), Unstarted: out.Unstarted}, nil
}

// lookups are those on the i-th connection.
func (o loadOrder) lookups(c net.Conn, i int) lookups {
	return lookups{conn: c, rest: o.rest(), in: bufio.NewReaderSize(c, 4<<10), rnd: rand.New(rand.NewPCG(o.Seed, uint64(i)))}
}

// lookups are requests one after another on one connection.
type lookups struct {
	conn net.Conn
	rest string // of a request, after the id
	in   *bufio.Reader
	rnd  *rand.Rand
	out  []byte
	want []byte
}

func (l *lookups) run(users int, end time.Time) (delays []float64, err error) {
	for now := time.Now(); now.Before(end); {
		if err := l.one(int64(1 + l.rnd.IntN(users))); err != nil {
			return delays, err
		}
		then := now
		now = time.Now()
		delays = append(delays, float64(now.Sub(then))/float64(time.Millisecond))
	}
	return delays, nil
}

func (l *lookups) one(id int64) error {
	l.out = strconv.AppendInt(append(l.out[:0], "GET /v1/users/"...), id, 10)
	l.out = append(l.out, l.rest...)
	if _, err := l.conn.Write(l.out); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	length, err := l.head()
	if err != nil {
		return err
	}
	body, err := l.in.Peek(length)
	if err != nil {
		return fmt.Errorf("body: %w", err)
	}
	l.want = append(strconv.AppendInt(append(l.want[:0], `{"id":"`...), id, 10), '"')
	if !bytes.HasPrefix(body, l.want) {
		return fmt.Errorf("%w: %.80q to %s", errAnswer, body, l.want)
	}
	_, err = l.in.Discard(length)
	return err
}

// head reads an answer's head and returns the length of its body.
func (l *lookups) head() (length int, err error) {
	status, err := l.in.ReadSlice('\n')
	if err != nil {
		return 0, fmt.Errorf("answer: %w", err)
	}
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200 ")) {
		return 0, fmt.Errorf("%w: %.80q", errAnswer, status)
	}
	for {
		line, err := l.in.ReadSlice('\n')
		if err != nil {
			return 0, fmt.Errorf("head: %w", err)
		}
		if len(line) <= 2 {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
		}
	}
	if length <= 0 || length > profile.MaxSize {
		return 0, fmt.Errorf("%w: a body of %d bytes", errAnswer, length)
	}
	return length, nil
}
