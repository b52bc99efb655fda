package web

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// bodyLimit is the largest body that the server of these tests takes.
const bodyLimit = 1 << 20

// server serves handler with the bounds of this package, and answers errors with their text and
// 400.
type server struct {
	addr   string
	budget *Budget
}

func serve(t *testing.T, budget *Budget, handler func(*fasthttp.RequestCtx) error) *server {
	t.Helper()
	s := &fasthttp.Server{ReadTimeout: 2 * time.Second, CloseOnShutdown: true}
	Stream(s, bodyLimit)
	s.ExpectHandler = func(ctx *fasthttp.RequestCtx) int {
		if ctx.Request.Header.ContentLength() > bodyLimit {
			ctx.Response.SetBodyString(ErrTooLarge.Error())
			return fasthttp.StatusRequestEntityTooLarge
		}
		return fasthttp.StatusContinue
	}
	s.Handler = func(ctx *fasthttp.RequestCtx) {
		err := handler(ctx)
		if err == nil {
			err = budget.Count(&ctx.Response)
		}
		if err != nil {
			ctx.Response.Reset()
			ctx.Error(err.Error(), fasthttp.StatusBadRequest)
		}
		EndUnread(ctx)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		if err := errors.Join(s.Shutdown(), <-served); err != nil {
			t.Error(err)
		}
	})
	return &server{addr: ln.Addr().String(), budget: budget}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// readAll is a handler that reads the body and answers with its length.
func readAll(b *Budget) func(*fasthttp.RequestCtx) error {
	return func(ctx *fasthttp.RequestCtx) error {
		body, err := b.ReadBody(ctx, bodyLimit)
		if err != nil {
			return err
		}
		defer body.Release()
		fmt.Fprintf(ctx, "%d bytes", len(body.Bytes))
		return nil
	}
}

func (s *server) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	check(t, err)
	t.Cleanup(func() { _ = c.Close() })
	check(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return c
}

// reply is one answer, read to its end.
type reply struct {
	status int
	body   string
	last   bool // of its connection
}

func receive(t *testing.T, c net.Conn) reply {
	t.Helper()
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	check(t, err)
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	check(t, err)
	return reply{r.StatusCode, string(text), r.Close}
}

// eventually waits until ok, for 10 s at most.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

func TestBudgetCountsWhatIsLarge(t *testing.T) {
	var b Budget
	small, err := b.Hold(Free)
	if err != nil || b.Used() != 0 {
		t.Errorf("%d bytes count as %d, %v; want them free", Free, b.Used(), err)
	}
	alone, err := b.Hold(2 * MaxHeld)
	if err != nil || b.Used() != 2*MaxHeld {
		t.Errorf("alone: %d held, %v; want whatever it is", b.Used(), err)
	}
	if _, err := b.Hold(Free + 1); !errors.Is(err, ErrBusy) || b.Used() != 2*MaxHeld {
		t.Errorf("beside it: %v, %d held", err, b.Used())
	}
	alone.Release()
	alone.Release()
	if b.Used() != 0 {
		t.Errorf("%d held after two releases", b.Used())
	}
	half, err := b.Hold(MaxHeld / 2)
	check(t, err)
	check(t, small.Grow(MaxHeld/2))
	if err := small.Grow(MaxHeld/2 + 1); !errors.Is(err, ErrBusy) || b.Used() != MaxHeld {
		t.Errorf("one byte above: %v, %d held; want nothing changed", err, b.Used())
	}
	check(t, small.Grow(Free)) // less
	if b.Used() != MaxHeld {
		t.Errorf("grown to less: %d held", b.Used())
	}
	half.Release()
	small.Release()
	if b.Used() != 0 {
		t.Errorf("%d held in the end", b.Used())
	}
}

// A body costs what has arrived of it, whatever was announced.
func TestBodyGrowsWithWhatArrives(t *testing.T) {
	for name, frame := range map[string][2]string{
		"announced": {fmt.Sprintf("Content-Length: %d", bodyLimit), ""},
		"chunked":   {"Transfer-Encoding: chunked", fmt.Sprintf("%x\r\n", bodyLimit)},
	} {
		t.Run(name, func(t *testing.T) {
			var b Budget
			s := serve(t, &b, readAll(&b))
			c := s.dial(t)
			fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n%s", frame[0], frame[1])
			sent, part := 0, strings.Repeat("x", 32<<10)
			for sent < bodyLimit/2 {
				_, err := io.WriteString(c, part)
				check(t, err)
				sent += len(part)
				eventually(t, "the body to have room for what was sent", func() bool { return int(b.Used()) >= sent })
				if used := int(b.Used()); used > 2*sent+1024 {
					t.Fatalf("%d bytes held after %d have arrived", used, sent)
				}
			}
			_, err := io.WriteString(c, strings.Repeat("x", bodyLimit-sent))
			check(t, err)
			if name == "chunked" {
				_, err := io.WriteString(c, "\r\n0\r\n\r\n")
				check(t, err)
			}
			if r := receive(t, c); r.status != 200 || r.body != fmt.Sprint(bodyLimit, " bytes") || r.last {
				t.Errorf("the whole body: %+v", r)
			}
			if b.Used() != 0 {
				t.Errorf("%d bytes held after the answer", b.Used())
			}
		})
	}
}

func TestBodiesThatAreRefused(t *testing.T) {
	var b Budget
	s := serve(t, &b, readAll(&b))
	long := strings.Repeat("x", bodyLimit+1)
	for name, c := range map[string]struct {
		head, body string
		close      bool // the client sends no more
		status     int
		says       error
	}{
		"one byte above the limit announced": {fmt.Sprintf("Content-Length: %d", bodyLimit+1), "", false, 413, ErrTooLarge},
		"one byte above the limit in chunks": {"Transfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s", len(long), long), false, 400, ErrTooLarge},
		"cut short":                          {"Content-Length: 100", "{", true, 400, ErrTruncated},
		"cut short within a chunk":           {"Transfer-Encoding: chunked", "64\r\n{", true, 400, ErrTruncated},
		"chunks that are none":               {"Transfer-Encoding: chunked", "zz\r\n", false, 400, ErrTruncated},
		"that never comes":                   {"Content-Length: 100", "{", false, 400, nil},
	} {
		conn := s.dial(t)
		fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", c.head)
		_, _ = io.WriteString(conn, c.body) // the server may have closed already
		if c.close {
			check(t, conn.(*net.TCPConn).CloseWrite())
		}
		r := receive(t, conn)
		if r.status != c.status || !r.last || c.says != nil && !strings.Contains(r.body, c.says.Error()) {
			t.Errorf("%s: %+v; want %d, %v and the connection's end", name, r, c.status, c.says)
		}
	}
	eventually(t, "everything to be given back", func() bool { return b.Used() == 0 })
}

// Bodies that together are above the bound are refused, and those that are small are not.
func TestBodiesTogetherHaveABound(t *testing.T) {
	var b Budget
	s := serve(t, &b, readAll(&b))
	hold, err := b.Hold(MaxHeld)
	check(t, err)
	post := func(n int) reply {
		c := s.dial(t)
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", n, strings.Repeat("x", n))
		return receive(t, c)
	}
	if r := post(8 << 10); r.status != 400 || !strings.Contains(r.body, ErrBusy.Error()) {
		t.Errorf("without room: %+v", r)
	}
	if r := post(1 << 10); r.status != 200 {
		t.Errorf("a small one: %+v", r)
	}
	hold.Release()
	if r := post(8 << 10); r.status != 200 {
		t.Errorf("with room again: %+v", r)
	}
}

// Answers that nobody reads count until their connections end, and then no more.
func TestUnreadAnswersCount(t *testing.T) {
	const size, clients = 6 << 20, 10 // more than the buffers of a connection take
	var b Budget
	s := serve(t, &b, func(ctx *fasthttp.RequestCtx) error {
		ctx.SetBody(make([]byte, size))
		return nil
	})
	var open []net.Conn
	for range clients {
		c := s.dial(t)
		check(t, c.(*net.TCPConn).SetReadBuffer(4<<10))
		_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		check(t, err)
		open = append(open, c)
	}
	eventually(t, "the bound to be reached", func() bool { return b.Used() >= MaxHeld/size*size })
	if used := b.Used(); used > MaxHeld {
		t.Errorf("%d bytes held; want at most %d", used, MaxHeld)
	}
	c := s.dial(t)
	_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	check(t, err)
	if r := receive(t, c); r.status != 400 || r.body != ErrBusy.Error() {
		t.Errorf("beside them: %d, %d bytes", r.status, len(r.body))
	}
	for _, c := range open {
		check(t, c.Close())
	}
	eventually(t, "all to be given back", func() bool { return b.Used() == 0 })
}

func TestBodyOfALookupIsUnwanted(t *testing.T) {
	s := serve(t, new(Budget), func(ctx *fasthttp.RequestCtx) error { return Unwanted(ctx) })
	for request, refused := range map[string]bool{
		"GET / HTTP/1.1\r\n":                                    false,
		"GET / HTTP/1.1\r\nContent-Length: 0\r\n":               false,
		"GET / HTTP/1.1\r\nContent-Length: 1\r\n":               true,
		"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n":      true,
		"DELETE / HTTP/1.1\r\n":                                 false,
		"POST / HTTP/1.1\r\nContent-Length: 10\r\n":             false,
		"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n":      false,
		"GET / HTTP/1.1\r\nContent-Length: 2000000000\r\n":      true,
		"POST / HTTP/1.1\r\nContent-Length: 2000000000\r\n":     true, // by its length
		"POST / HTTP/1.1\r\nContent-Length: 0\r\nX: unread\r\n": false,
	} {
		c := s.dial(t)
		body := ""
		if strings.Contains(request, "Length: 10\r\n") {
			body = "0123456789" // the server waits for some of it
		}
		fmt.Fprintf(c, "%sHost: x\r\n\r\n%s", request, body)
		r := receive(t, c)
		framed := strings.Contains(request, "chunked") || strings.Contains(request, "Length: ") && !strings.Contains(request, "Length: 0")
		if (r.status >= 400) != refused || r.last != framed {
			t.Errorf("%q: %+v; want refused %v, and the connection's end %v", request, r, refused, framed)
		}
	}
}
