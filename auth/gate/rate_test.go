package gate

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestRateIsThatOfEachClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRate(10, 3)
		a, b := client{bearer: "a"}, client{addr: netip.MustParseAddr("192.0.2.1")}
		for i := range 3 {
			if r.take(a) > 0 || r.take(b) > 0 {
				t.Fatalf("request %d of a burst of 3 is refused", i)
			}
		}
		if wait := r.take(a); wait != 100*time.Millisecond {
			t.Errorf("wait %v, want 100ms", wait)
		}
		let := 0
		for range 1000 { // ten seconds
			time.Sleep(10 * time.Millisecond)
			if r.take(a) == 0 {
				let++
			}
		}
		if let != 100 {
			t.Errorf("%d requests in 10 s, want 100", let)
		}
	})
}

func TestClientsBeyondTheBoundShareOneRate(t *testing.T) {
	r := newRate(0.001, 1)
	refused := 0
	for i := range 3 * rateShards * shardClients {
		if r.take(client{bearer: fmt.Sprint(i)}) > 0 {
			refused++
		}
	}
	held := 0
	for i := range r.shards {
		held += len(r.shards[i].until)
	}
	if most := rateShards * (shardClients + 1); held > most || refused < 3*rateShards*shardClients-most {
		t.Errorf("%d clients are held, %d requests refused", held, refused)
	}
}

func TestClientsWithAllTheirCreditAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRate(1, 1)
		for range 2 {
			for i := range 2 * rateShards * shardClients {
				_ = r.take(client{bearer: fmt.Sprint(i)})
			}
			time.Sleep(time.Minute)
		}
		if wait := r.take(client{bearer: "new"}); wait > 0 {
			t.Errorf("a new client waits %v", wait)
		}
	})
}
