package redistest

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// behind returns a server, a proxy to it, and a client of the proxy that never retries.
func behind(t *testing.T) (*Proc, *Proxy, *redis.Client) {
	t.Helper()
	server := Server(t)
	proxy := ProxyTo(t, server.Addr)
	client := redis.NewClient(&redis.Options{
		Addr: proxy.Addr, MaxRetries: -1, ReadTimeout: 100 * time.Millisecond,
		MaintNotificationsConfig: quiet(), DisableIdentity: true,
	})
	t.Cleanup(func() { client.Close() })
	return server, proxy, client
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(ReadyTimeout))
	return c
}

func say(t *testing.T, c net.Conn, command, want string) {
	t.Helper()
	if _, err := io.WriteString(c, command+"\r\n"); err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("%s: got %q, %v; want %q", command, got, err, want)
	}
}

func TestProxyForwards(t *testing.T) {
	server, proxy, client := behind(t)
	ctx := t.Context()
	value := make([]byte, 1<<20)
	if err := client.Set(ctx, "a", value, 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := client.Get(ctx, "a").Bytes(); err != nil || len(got) != len(value) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if n, err := server.Client().StrLen(ctx, "a").Result(); err != nil || n != int64(len(value)) {
		t.Fatalf("the server holds %d bytes, %v", n, err)
	}
	if proxy.Accepted() == 0 {
		t.Error("no connection was counted")
	}
}

func TestBlackHoleHoldsAndLaterDelivers(t *testing.T) {
	_, proxy, client := behind(t)
	c := dial(t, proxy.Addr)
	say(t, c, "SET a 1", "+OK\r\n")
	proxy.BlackHole(true)
	proxy.BlackHole(true)
	var timeout net.Error
	if err := client.Ping(t.Context()).Err(); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("a black-holed client got %v, want a timeout", err)
	}
	if _, err := io.WriteString(c, "GET a\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	var b [7]byte
	if n, err := c.Read(b[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("bytes passed: %q, %v", b[:n], err)
	}
	proxy.BlackHole(false)
	_ = c.SetReadDeadline(time.Now().Add(ReadyTimeout))
	if _, err := io.ReadFull(c, b[:]); err != nil || string(b[:]) != "$1\r\n1\r\n" {
		t.Fatalf("after healing: %q, %v", b, err)
	}
}

func TestDelayHoldsRepliesBack(t *testing.T) {
	_, proxy, _ := behind(t)
	c := dial(t, proxy.Addr)
	const d = 60 * time.Millisecond
	proxy.Delay(d)
	start := time.Now()
	say(t, c, "PING", "+PONG\r\n")
	if took := time.Since(start); took < d {
		t.Fatalf("the reply took %v, want at least %v", took, d)
	}
	proxy.Delay(0)
	say(t, c, "PING", "+PONG\r\n")
}

func TestCutReplyLosesTheReplyOfADoneCommand(t *testing.T) {
	server, proxy, client := behind(t)
	ctx := t.Context()
	done := proxy.CutReply("xadd", 0)
	if err := client.Ping(ctx).Err(); err != nil {
		t.Fatalf("a request that does not match: %v", err)
	}
	add := &redis.XAddArgs{Stream: "s", Values: []string{"k", "v"}}
	if err := client.XAdd(ctx, add).Err(); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("the reply arrived: %v", err)
	}
	<-done
	if n, err := server.Client().XLen(ctx, "s").Result(); err != nil || n != 1 {
		t.Fatalf("the stream holds %d entries, %v; want 1", n, err)
	}
	if err := client.XAdd(ctx, add).Err(); err != nil {
		t.Fatalf("one cut spoiled two replies: %v", err)
	}
}

func TestCutReplyEndsInTheMiddle(t *testing.T) {
	_, proxy, _ := behind(t)
	c := dial(t, proxy.Addr)
	say(t, c, "SET a 0123456789", "+OK\r\n")
	proxy.CutReply("", 8)
	if _, err := io.WriteString(c, "GET a\r\n"); err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(c); string(got) != "$10\r\n012" {
		t.Fatalf("got %q", got)
	}
}

func TestResetEndsConnectionsAndWelcomesNewOnes(t *testing.T) {
	_, proxy, _ := behind(t)
	c := dial(t, proxy.Addr)
	say(t, c, "PING", "+PONG\r\n")
	proxy.Reset()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("got %v, want a reset", err)
	}
	say(t, dial(t, proxy.Addr), "PING", "+PONG\r\n")
}

func TestProxyOfADeadServerEndsConnections(t *testing.T) {
	server, proxy, _ := behind(t)
	must(t, server.Kill())
	c, err := net.Dial("tcp", proxy.Addr)
	if err == nil { // otherwise the reset came before dial had returned
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("got %v, want a reset", err)
	}
	must(t, server.Restart())
	say(t, dial(t, proxy.Addr), "PING", "+PONG\r\n")
}

func TestProxyClosesWithLinksInEveryState(t *testing.T) {
	server := Server(t)
	proxy, err := NewProxy(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	held, slow := dial(t, proxy.Addr), dial(t, proxy.Addr)
	say(t, held, "PING", "+PONG\r\n")
	say(t, slow, "PING", "+PONG\r\n")
	proxy.Delay(time.Hour)
	_, _ = io.WriteString(slow, "PING\r\n")
	proxy.BlackHole(true)
	_, _ = io.WriteString(held, "PING\r\n")
	must(t, proxy.Close())
	must(t, proxy.Close())
	if _, err := net.Dial("tcp", proxy.Addr); err == nil {
		t.Fatal("a closed proxy accepts connections")
	}
}
