package verify_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/api"
	"github.com/chatapp-ngomna/edgecache/embedded"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/verify"
)

// Changes are read from the stream, and every node is asked for the user some time later.
func Example() {
	ctx := context.Background()
	server, err := embedded.StartRedis() // in production: the address of the cluster's Redis
	fatal(err)
	defer server.Close()
	truth := &profile.Profile{ID: "123", FullName: "Jean Dupont", UpdatedAt: 1700000000000}
	n, err := node.New(node.Config{RedisURL: server.URL(), Origin: tier.LoaderFunc(
		func(context.Context, []string) (profile.Batch, error) {
			return profile.Batch{Found: map[string]*profile.Profile{truth.ID: truth.Clone()}}, nil
		})})
	fatal(err)
	defer n.Close()
	fatal(n.Start(ctx))
	web, err := api.New(api.Config{Node: n, Listen: "127.0.0.1:0"})
	fatal(err)
	fatal(web.Start(ctx))
	defer web.Close()

	options, err := redis.ParseURL(server.URL())
	fatal(err)
	options.MaxRetries = -1
	client := redis.NewClient(options) // of the verifier alone
	defer client.Close()
	v, err := verify.New(verify.Config{Client: client, Nodes: []string{"http://" + web.Addr().String()},
		After: []time.Duration{2 * time.Second}})
	fatal(err)
	defer v.Close()
	fatal(v.Start(ctx))

	fatal(n.Put(ctx, truth))
	within, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	v.Drain(within)
	found := v.Total()
	fmt.Println(found.Changes, "change,", found.After[0].Checks, "check,", found.Violations(), "violations")
	// Output:
	// 1 change, 1 check, 0 violations
}

func fatal(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
