package redistest

import (
	"testing"
	"time"
)

func TestShapeIsDecidedByItsSeed(t *testing.T) {
	s := Shape{Delay: 5 * time.Millisecond, Jitter: 60 * time.Millisecond, Loss: 0.3, Seed: 7}
	a, b, now := s.route(1, 0), s.route(1, 0), time.Now()
	var last time.Time
	late := 0
	for range 1000 {
		now = now.Add(100 * time.Millisecond)
		at := a.arrival(now, 100)
		if !at.Equal(b.arrival(now, 100)) {
			t.Fatal("the same seed, and another network")
		}
		if at.Before(last) || at.Sub(now) < s.Delay {
			t.Fatalf("sent at %v, arrives at %v, the one before at %v", now, at, last)
		}
		if last = at; at.Sub(now) >= firstRetry {
			late++
		}
	}
	if late < 200 {
		t.Errorf("%d of 1,000 were late, want at least the 300 lost, about", late)
	}
}

func TestShapedProxyDelaysAndForwards(t *testing.T) {
	_, proxy, _ := behind(t)
	const d = 30 * time.Millisecond
	proxy.Shape(Shape{Delay: d, Jitter: time.Millisecond, Bandwidth: 1 << 20})
	c := dial(t, proxy.Addr)
	start := time.Now()
	say(t, c, "PING", "+PONG\r\n")
	if took := time.Since(start); took < 2*d {
		t.Errorf("a round trip took %v, want at least %v", took, 2*d)
	}
	proxy.BlackHole(true)
	must(t, proxy.Close())
}
