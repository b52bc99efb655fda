package wire

import (
	"bufio"
	"fmt"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers each line with the same, until the test ends.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for lines := bufio.NewScanner(c); lines.Scan(); {
					fmt.Fprintln(c, lines.Text())
				}
			}()
		}
	}()
	return l.Addr().String()
}

func TestAWireIsCutAndSlow(t *testing.T) {
	w, err := New(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	c, err := net.Dial("tcp", w.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answer := bufio.NewReader(c)
	ask := func(within time.Duration) (string, time.Duration) {
		began := time.Now()
		fmt.Fprintln(c, "hello")
		_ = c.SetReadDeadline(began.Add(within))
		line, _ := answer.ReadString('\n')
		return line, time.Since(began)
	}
	if got, _ := ask(20 * time.Second); got != "hello\n" {
		t.Fatalf("forwarded: %q", got)
	}
	w.Slow(100 * time.Millisecond)
	if got, took := ask(20 * time.Second); got != "hello\n" || took < 100*time.Millisecond {
		t.Errorf("slow: %q after %v", got, took)
	}
	w.Slow(0)
	w.Cut(true)
	w.Cut(true)
	if got, _ := ask(50 * time.Millisecond); got != "" {
		t.Errorf("cut: %q", got)
	}
	other, err := net.Dial("tcp", w.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	w.Cut(false)
	w.Cut(false)
	if got, _ := ask(20 * time.Second); got != "hello\n" { // the answer to what waited
		t.Errorf("mended: %q", got)
	}
	w.Cut(true)
	fmt.Fprintln(c, "waits")
	for range 2 {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := net.Dial("tcp", w.Addr()); err == nil {
		t.Error("closed, and it listens")
	}
}
