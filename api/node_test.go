package api

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/chatapp-ngomna/edgecache/embedded"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// everyone is a source of truth that knows everybody, and counts how often it was asked for each.
type everyone struct {
	mu    sync.Mutex
	asked map[string]int
}

func (e *everyone) Load(_ context.Context, id string) (*profile.Profile, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked[id]++
	return &profile.Profile{ID: id, Matricule: "MAT-" + id, UpdatedAt: 1}, nil
}

func (e *everyone) LoadBatch(ctx context.Context, ids []string) (profile.Batch, error) {
	b := profile.Batch{Found: make(map[string]*profile.Profile, len(ids))}
	for _, id := range ids {
		b.Found[id], _ = e.Load(ctx, id)
	}
	return b, nil
}

// The whole way, through flights, leases and both tiers: the ids that the node keeps are those that
// were asked for. Half of the requests ask for a user that another connection asks for too.
func TestEachBodyHasTheIDAskedForThroughTheNode(t *testing.T) {
	const conns, each = 8, 1000
	redis, err := embedded.StartRedis()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = redis.Close() })
	truth := &everyone{asked: make(map[string]int)}
	n, err := node.New(node.Config{RedisURL: redis.URL(), Origin: truth})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := serve(t, n)
	client := &fasthttp.HostClient{Addr: s.Addr().String(), MaxConns: conns,
		Dial: func(addr string) (net.Conn, error) { return net.Dial("tcp", addr) }}
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	for worker := range conns {
		all.Go(func() {
			for i := range each {
				for _, id := range []string{fmt.Sprintf("own%d.%d", i, worker), fmt.Sprintf("shared%d", i)} {
					if err := askFor(client, id); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	all.Wait()
	if got, want := len(truth.asked), (conns+1)*each; got != want {
		t.Errorf("the truth was asked for %d distinct ids; want %d", got, want)
	}
	for id, times := range truth.asked {
		if times != 1 {
			t.Errorf("the truth was asked for %s %d times", id, times)
		}
	}
}
