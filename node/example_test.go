package node_test

import (
	"context"
	"fmt"

	"github.com/chatapp-ngomna/edgecache/embedded"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// directory stands for the source of truth; origin.NewClient is one for a service behind HTTP.
type directory map[string]*profile.Profile

func (d directory) Load(_ context.Context, id string) (*profile.Profile, error) {
	if p := d[id]; p != nil {
		return p.Clone(), nil
	}
	return nil, fmt.Errorf("directory: %q: %w", id, profile.ErrNotFound)
}

func (d directory) LoadBatch(ctx context.Context, ids []string) (profile.Batch, error) {
	b := profile.Batch{Found: map[string]*profile.Profile{}}
	for _, id := range ids {
		if p, err := d.Load(ctx, id); err == nil {
			b.Found[id] = p
		} else {
			b.Missing = append(b.Missing, id)
		}
	}
	return b, nil
}

// A chat node opens one Node at its start, asks it for the author of each message, and closes it at
// its end.
func Example() {
	ctx := context.Background()
	redis, err := embedded.StartRedis() // in production: the address of the cluster's Redis
	if err != nil {
		fmt.Println(err)
		return
	}
	defer redis.Close()

	people := directory{"123": {ID: "123", Prenom: "Jean", Nom: "Dupont", UpdatedAt: 1700000000000}}
	cache, err := node.New(node.Config{RedisURL: redis.URL(), Origin: people})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cache.Close()
	if err := cache.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}

	got, err := cache.Get(ctx, "123")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(got.Profile.FullName, "from", got.Tier)

	_, err = cache.Get(ctx, "456")
	fmt.Println(err)
	// Output:
	// Jean Dupont from origin
	// tier: get "456": profile: not found
}
