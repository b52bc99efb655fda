package prewarm_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/chatapp-ngomna/edgecache/embedded"
	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
)

// everybody is an origin that knows anyone.
type everybody struct{}

func (everybody) Load(_ context.Context, id string) (*profile.Profile, error) {
	return &profile.Profile{ID: id, FullName: "User " + id, UpdatedAt: 1}, nil
}

func (e everybody) LoadBatch(ctx context.Context, ids []string) (profile.Batch, error) {
	b := profile.Batch{Found: map[string]*profile.Profile{}}
	for _, id := range ids {
		b.Found[id], _ = e.Load(ctx, id)
	}
	return b, nil
}

// The errors are left out here; each of these calls may return one.
func Example() {
	ctx := context.Background()
	server, _ := embedded.StartRedis()
	defer server.Close()
	client, _ := redisconn.Open(server.URL())
	defer client.Close()
	lower, _ := l2.New(l2.Config{Client: client})
	cache, _ := tier.New(tier.Config{L2: lower, Origin: everybody{}, FenceAfter: -1})
	defer cache.Close()
	_ = cache.Start(ctx)

	node, _ := prewarm.New(prewarm.Config{Client: client, Cache: cache})
	defer node.Close()
	_ = node.Start(ctx)
	active, _ := prewarm.NewJSONL(prewarm.JSONLConfig{Reader: strings.NewReader(`
		{"id":"1","lastActive":"2999-01-01T08:00:00Z"}
		{"id":"2","lastActive":"2999-01-01T09:00:00Z"}
		{"id":"3","lastActive":"1999-01-01T10:00:00Z"}`)})
	run, _ := node.Begin(ctx, prewarm.Options{DaysBack: 30, Sources: []prewarm.Source{active}})
	status, _ := node.Wait(ctx, run)

	fmt.Println(status.State, status.TotalProcessed, "processed,", status.Cached, "cached,", status.Errors, "errors")
	user, _ := cache.Get(ctx, "2")
	fmt.Println(user.Profile.FullName, "from", user.Tier)
	// Output:
	// done 2 processed, 2 cached, 0 errors
	// User 2 from L1
}
