package warm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chatapp-ngomna/edgecache/gossip"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source/sample"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// far is a source of truth behind a network: it makes up every user that it is asked for, late, and
// counts.
type far struct {
	least, most  time.Duration
	calls, users atomic.Int64
}

func (f *far) wait(ctx context.Context, users int) error {
	f.calls.Add(1)
	f.users.Add(int64(users))
	select {
	case <-time.After(f.least + rand.N(f.most-f.least+1)):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("far: %w: %w", profile.ErrUnavailable, context.Cause(ctx))
	}
}

func user(id string) *profile.Profile {
	n, _ := strconv.Atoi(id) // the trace has numbers; whatever else is user 1 under that id
	p := sample.User(1, n+1)
	p.ID = id
	return p
}

// Load implements tier.Loader.
func (f *far) Load(ctx context.Context, id string) (*profile.Profile, error) {
	if err := f.wait(ctx, 1); err != nil {
		return nil, err
	}
	return user(id), nil
}

// LoadBatch implements tier.Loader.
func (f *far) LoadBatch(ctx context.Context, ids []string) (profile.Batch, error) {
	if err := f.wait(ctx, len(ids)); err != nil {
		return profile.Batch{}, err
	}
	b := profile.Batch{Found: make(map[string]*profile.Profile, len(ids))}
	for _, id := range ids {
		b.Found[id] = user(id)
	}
	return b, nil
}

// second counts the lookups that began in one second, by who answered.
type second struct {
	all, active [look.FromStale + 1]int64
	failed      int64
	calls       int64 // of the origin
}

// outcome is one replay.
type outcome struct {
	seconds []second
	took    []time.Duration
	// warming tells of the prewarm before: how long it took, and what the origin was asked.
	warming      time.Duration
	calls, users int64
}

// measure starts everything anew, warms it or not, and replays the chat.
func measure(ctx context.Context, p params, c *chat, warm bool) (out *outcome, err error) {
	server, err := redistest.Start(ctx, redistest.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	truth := &far{least: p.least, most: p.most}
	nodes, err := startNodes(ctx, p.nodes, server.URL(), truth, c)
	defer func() {
		for _, n := range nodes {
			err = errors.Join(err, n.Close())
		}
	}()
	if err != nil {
		return nil, err
	}
	out = &outcome{seconds: make([]second, int(p.lasts.Seconds())+1)}
	if warm {
		if out.warming, err = warmUp(ctx, nodes[0]); err != nil {
			return nil, err
		}
		out.calls, out.users = truth.calls.Load(), truth.users.Load()
	}
	return out, out.replay(ctx, p, c, nodes, truth)
}

func startNodes(ctx context.Context, count int, url string, truth tier.Loader, c *chat) (nodes []*node.Node, err error) {
	key := gossip.NewKey()
	var seeds []string
	for i := range count {
		n, err := node.New(node.Config{RedisURL: url, Origin: truth, Sources: []prewarm.Source{c}, Cluster: &gossip.Config{
			Name: fmt.Sprint("node-", i+1), Bind: "127.0.0.1:0", Seeds: seeds, Keys: [][]byte{key}}})
		if err != nil {
			return nodes, err
		}
		nodes = append(nodes, n)
		if err := n.Start(ctx); err != nil {
			return nodes, err
		}
		for _, m := range n.Cluster().Members {
			if m.Name == n.Cluster().Self {
				seeds = append(seeds, m.Addr)
			}
		}
	}
	return nodes, nil
}

// warmUp runs a prewarm with the contract's defaults to its end.
func warmUp(ctx context.Context, n *node.Node) (time.Duration, error) {
	began := time.Now()
	if _, err := n.BeginPrewarm(ctx, prewarm.Options{}); err != nil {
		return 0, err
	}
	for {
		s, err := n.PrewarmStatus(ctx)
		switch {
		case err != nil:
			return 0, err
		case s.State == prewarm.Done && s.Errors == 0:
			return time.Since(began), nil
		case s.State != prewarm.Planning && s.State != prewarm.Running && s.State != prewarm.Filling:
			return 0, fmt.Errorf("the prewarm is %s, %d errors: %s", s.State, s.Errors, s.Error)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// replay looks up at a steady rate, whether answers come or not.
func (o *outcome) replay(ctx context.Context, p params, c *chat, nodes []*node.Node, truth *far) error {
	const every = 5 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	began, sent, calls := time.Now(), 0, truth.calls.Load()
	var under sync.WaitGroup
	var mu sync.Mutex
	for now := 0; sent < len(c.lookups); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		at := int(time.Since(began) / time.Second)
		if at != now && now < len(o.seconds) {
			all := truth.calls.Load()
			o.seconds[now].calls, calls, now = all-calls, all, at
		}
		due := min(len(c.lookups), int(time.Since(began).Seconds()*float64(p.rate)))
		for ; sent < due; sent++ {
			l, s := c.lookups[sent], &o.seconds[min(at, len(o.seconds)-1)]
			under.Go(func() {
				from := time.Now()
				got, err := nodes[l.node].Get(ctx, l.id)
				took := time.Since(from)
				mu.Lock()
				defer mu.Unlock()
				o.took = append(o.took, took)
				if err != nil {
					s.failed++
					return
				}
				s.all[got.Tier]++
				if l.active {
					s.active[got.Tier]++
				}
			})
		}
	}
	under.Wait()
	o.seconds[len(o.seconds)-1].calls += truth.calls.Load() - calls
	return nil
}
