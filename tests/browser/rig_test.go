package browser

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/api"
	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/gossip"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/sample"
	"github.com/chatapp-ngomna/edgecache/tier"
)

// users is how many the origin knows: "1" to "users".
const users = 4000

// rig is a cluster: a Redis, an origin, nodes that find one another, and an API before the first.
type rig struct {
	t      *testing.T
	redis  *redistest.Proc
	origin *redistest.Proxy // before the origin
	cut    *redistest.Proxy // between the last node and Redis
	nodes  []*node.Node
	url    string // of the first node's API
}

// options say what a rig is like. The zero value has one node without tokens.
type options struct {
	nodes   int
	l1Bytes int64
	tokens  auth.Config
	demo    bool // a button kills Redis
}

func newRig(t *testing.T, o options) *rig {
	t.Helper()
	r := &rig{t: t, redis: redistest.Server(t)}
	r.cut = redistest.ProxyTo(t, address(t, r.redis.URL()))
	store := truth.MakeSQLite(t, t.TempDir(), time.Now)
	if _, err := store.BulkLoad(t.Context(), sample.Users(1, users)); err != nil {
		t.Fatal(err)
	}
	_, at := truth.StartService(t, source.ServiceConfig{Store: store})
	r.origin = redistest.ProxyTo(t, address(t, at))
	client, err := origin.NewClient(origin.ClientConfig{URL: "http://" + r.origin.Addr})
	check(t, err)
	t.Cleanup(func() { _ = client.Close() })
	check(t, client.Start(t.Context()))
	r.startNodes(max(1, o.nodes), client, o)
	conf := api.Config{Node: r.nodes[0], Listen: "127.0.0.1:0", Tokens: o.tokens}
	if o.demo {
		conf.Demo = &killer{redis: r.redis}
	}
	server, err := api.New(conf)
	check(t, err)
	check(t, server.Start(t.Context()))
	t.Cleanup(func() { _ = server.Close() })
	r.url = "http://" + server.Addr().String()
	return r
}

func (r *rig) startNodes(n int, from tier.Loader, o options) {
	r.t.Helper()
	key := gossip.NewKey()
	var seeds []string
	for i := range n {
		conf := node.Config{RedisURL: r.redis.URL(), Origin: from, Tier: tier.Config{L1Bytes: o.l1Bytes}}
		if n > 1 {
			conf.Cluster = &gossip.Config{Name: []string{"douala", "yaounde", "bafoussam"}[i], Bind: "127.0.0.1:0", Seeds: seeds, Keys: [][]byte{key}}
		}
		if i > 0 && i == n-1 {
			conf.RedisURL = "redis://" + r.cut.Addr
		}
		one, err := node.New(conf)
		check(r.t, err)
		r.t.Cleanup(func() { _ = one.Close() })
		check(r.t, one.Start(r.t.Context()))
		for _, m := range one.Cluster().Members {
			if m.Name == one.Cluster().Self {
				seeds = append(seeds, m.Addr)
			}
		}
		r.nodes = append(r.nodes, one)
	}
	for end := time.Now().Add(patience); len(r.nodes[0].Cluster().Members) < n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatal("the nodes do not find one another")
		}
	}
}

// traffic has readers look up the first n users at the first node until the test ends, few of them
// much more often than the others.
func (r *rig) traffic(n int, pause time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	var readers sync.WaitGroup
	for reader := range 2 {
		readers.Go(func() {
			for i := reader; ctx.Err() == nil; i++ {
				id := strconv.Itoa(1 + i%n)
				if i%4 > 0 {
					id = strconv.Itoa(1 + i*i%min(n, 12))
				}
				if i%97 == 0 {
					id = "nobody-" + id
				}
				_, _ = r.nodes[0].Get(ctx, id)
				if i%5 == 0 || pause > time.Millisecond {
					wait(ctx, pause)
				}
			}
		})
	}
	r.t.Cleanup(func() { cancel(); readers.Wait() })
}

// address returns the host and port of a URL.
func address(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	check(t, err)
	return u.Host
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// poison adds entries to the stream that are no events.
func (r *rig) poison(n int) {
	r.t.Helper()
	for i := range n {
		check(r.t, r.redis.Client().Do(r.t.Context(), "XADD", "events:users", "*", "payload", fmt.Sprint("{broken ", i)).Err())
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// before returns a proxy before the first node's API.
func (r *rig) before() *redistest.Proxy {
	r.t.Helper()
	return redistest.ProxyTo(r.t, address(r.t, r.url))
}

// readAll looks up all users, again and again.
func (r *rig) readAll(times int) {
	r.t.Helper()
	ids := make([]string, users)
	for i := range ids {
		ids[i] = strconv.Itoa(i + 1)
	}
	for range times {
		for part := range slices.Chunk(ids, 500) {
			_, err := r.nodes[0].BatchGet(r.t.Context(), part, tier.Want{})
			check(r.t, err)
		}
	}
}
