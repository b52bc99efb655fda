package outage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/chatapp-ngomna/edgecache/api"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/node"
)

// TestRedisStops stops Redis (SIGSTOP) under load over HTTP, while the origin is well: readers must
// not notice. Of the requests 97 of 100 are for users in the node's memory, as the recorded chat
// has it, the others for anyone.
func TestRedisStops(t *testing.T) { canary.Judge(t, redisStops) }

// getUser looks a user up over HTTP; any answer but 200 is an error.
func getUser(client *fasthttp.HostClient, id int) error {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.SetRequestURI(fmt.Sprintf("http://%s/v1/users/%d", client.Addr, id))
	if err := client.Do(req, resp); err != nil {
		return err
	}
	if resp.StatusCode() != 200 {
		return fmt.Errorf("%d %s", resp.StatusCode(), resp.Body())
	}
	return nil
}

func redisStops(t *testing.T, bird *canary.Canary) {
	const residents, workers = 1000, 256
	users, rate, stopped := pick(5_000, 100_000), pick(150, 2000), pick(4500*time.Millisecond, 10*time.Second)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	server := redistest.Server(t)
	n, _ := startNode(t, server.URL(), startOrigin(t, server.URL(), users), node.Config{}, nil)
	s, err := api.New(api.Config{Node: n, Listen: "127.0.0.1:0"})
	check(t, err)
	check(t, s.Start(t.Context()))
	closing(t, s)
	client := &fasthttp.HostClient{Addr: s.Addr().String(), MaxConns: workers, MaxIdemponentCallAttempts: 1, ReadTimeout: 20 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	for id := 1; id <= residents; id++ {
		check(t, getUser(client, id))
	}
	load := &openLoad{rate: rate, workers: workers, ask: func(_, n int) error {
		rnd := rand.New(rand.NewPCG(seed, uint64(n)))
		if rnd.IntN(100) < 97 {
			// some are asked for far more often
			return getUser(client, 1+int(float64(residents)*rnd.Float64()*rnd.Float64()))
		}
		return getUser(client, 1+rnd.IntN(users))
	}}
	ctx, stop := context.WithCancel(t.Context())
	ended, most := make(chan struct{}), watchGoroutines(ctx)
	go func() { defer close(ended); load.run(ctx) }()
	wait(t.Context(), time.Second) // connections, pools and clocks are warm
	healthy := time.Now()
	most.Store(0)
	wait(t.Context(), pick(time.Second, 5*time.Second))
	before := most.Swap(0)
	began := time.Now()
	check(t, server.Pause())
	wait(t.Context(), stopped)
	during := most.Swap(0)
	check(t, server.Resume())
	over := time.Now()
	wait(t.Context(), pick(time.Second, 3*time.Second))
	end := time.Now()
	stop()
	<-ended
	was, is, after := load.between(healthy, began), load.between(began, over), load.between(over, end)
	t.Logf("before %+v, %d goroutines", was, before)
	t.Logf("during %+v, %d goroutines, %v", is, during, is.err)
	t.Logf("after  %+v; %+v", after, n.Stats().Cache)
	if 1000*(is.failed+after.failed) > is.n+after.n {
		t.Errorf("%d of %d requests failed, such as: %v", is.failed+after.failed, is.n+after.n, is.err)
	}
	bound := pick(time.Second, 150*time.Millisecond)
	if slow := load.slower(began, over, bound, bird); 100*slow > is.n {
		t.Errorf("%d of %d requests took more than %v while Redis hangs; want at most 1 in 100, p99 is %v", slow, is.n, bound, is.p99)
	}
	if during > pick[int64](4, 2)*before {
		t.Errorf("%d goroutines while Redis hangs, %d before", during, before)
	}
	result(t, fmt.Sprintf("Redis stopped (SIGSTOP) %v at %d requests/s: error rate at most 0.1 %%, p99 at most 150 ms, goroutines at most 2 x before", stopped, rate),
		"%d of %d failed, p99 %v (before %v), %d goroutines (before %d)", is.failed+after.failed, is.n+after.n, is.p99.Round(time.Microsecond),
		was.p99.Round(time.Microsecond), during, before)
}

// watchGoroutines keeps the highest number of goroutines until ctx ends.
func watchGoroutines(ctx context.Context) *atomic.Int64 {
	most := new(atomic.Int64)
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			select {
			case <-tick.C:
				most.Store(max(most.Load(), int64(runtime.NumGoroutine())))
			case <-ctx.Done():
			}
		}
	}()
	return most
}
