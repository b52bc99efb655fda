package tier_test

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/embedded"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
)

// people is the source of truth of the example.
var people = map[string]profile.Profile{"123": {ID: "123", Prenom: "Josiane", Nom: "Ngo Atangana", UpdatedAt: 1}}

// ask answers for several users at once, as a query with "WHERE id = ANY(…)" would.
func ask(_ context.Context, ids []string) (profile.Batch, error) {
	b := profile.Batch{Found: map[string]*profile.Profile{}}
	for _, id := range ids {
		if p, ok := people[id]; ok {
			b.Found[id] = &p
		} else {
			b.Missing = append(b.Missing, id)
		}
	}
	return b, nil
}

// open returns a cache over an embedded Redis, and what closes both.
func open(ctx context.Context) (*tier.Cache, func(), error) {
	server, err := embedded.StartRedis() // in production: the address of the cluster's Redis
	if err != nil {
		return nil, nil, err
	}
	options, err := redis.ParseURL(server.URL())
	if err != nil {
		return nil, nil, err
	}
	options.Protocol = 2
	client := redis.NewClient(options)
	lower, err := l2.New(l2.Config{Client: client})
	if err != nil {
		return nil, nil, err
	}
	conf := tier.Config{L2: lower, Origin: tier.LoaderFunc(ask)}
	conf.FenceAfter = -1 // no stream feeds it
	cache, err := tier.New(conf)
	if err != nil {
		return nil, nil, err
	}
	stop := func() { // the cache first: it uses the client
		_ = cache.Close()
		_ = client.Close()
		_ = server.Close()
	}
	return cache, stop, cache.Start(ctx)
}

func Example() {
	ctx := context.Background()
	cache, stop, err := open(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()
	show := func(id string) {
		got, err := cache.Get(ctx, id)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(got.Profile.FullName, "from", got.Tier)
	}

	show("123") // nobody has it yet
	show("123")

	// The truth changes. Until the cache is told, it answers what it knows.
	people["123"] = profile.Profile{ID: "123", Prenom: "Zoé", Nom: "Ngo Atangana", UpdatedAt: 2}
	show("123")
	if err := cache.Invalidate(ctx, "123"); err != nil {
		fmt.Println(err)
	}
	show("123")

	show("456")
	// Output:
	// Josiane Ngo Atangana from origin
	// Josiane Ngo Atangana from L1
	// Josiane Ngo Atangana from L1
	// Zoé Ngo Atangana from origin
	// tier: get "456": profile: not found
}
