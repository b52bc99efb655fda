package api_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/chatapp-ngomna/edgecache/api"
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

// A chat node that also serves its profiles over HTTP.
func Example() {
	ctx := context.Background()
	redis, err := embedded.StartRedis() // in production: the address of the cluster's Redis
	check(err)
	defer redis.Close()
	people := directory{"123": {ID: "123", Prenom: "Jean", Nom: "Dupont", UpdatedAt: 1700000000000}}
	cache, err := node.New(node.Config{RedisURL: redis.URL(), Origin: people})
	check(err)
	defer cache.Close()
	check(cache.Start(ctx))

	server, err := api.New(api.Config{Node: cache, Listen: "127.0.0.1:0"})
	check(err)
	check(server.Start(ctx))
	defer server.Close() // before the node, which it asks

	defer http.DefaultClient.CloseIdleConnections()
	for _, id := range []string{"123", "123", "456", "a+b"} {
		resp, err := http.Get("http://" + server.Addr().String() + "/v1/users/" + id)
		check(err)
		body, err := io.ReadAll(resp.Body)
		check(err)
		resp.Body.Close()
		fmt.Println(strings.TrimSpace(resp.Status[:4] + resp.Header.Get("Cache-Status")))
		if resp.StatusCode == http.StatusOK {
			fmt.Print(string(body))
		}
	}
	// Output:
	// 200 edgecache; fwd=miss; detail=origin
	// {"id":"123","nom":"Dupont","prenom":"Jean","fullName":"Jean Dupont","avatar":"","matricule":"","ministere":"","sexe":"","updatedAt":1700000000000}
	// 200 edgecache; hit; detail=L1
	// {"id":"123","nom":"Dupont","prenom":"Jean","fullName":"Jean Dupont","avatar":"","matricule":"","ministere":"","sexe":"","updatedAt":1700000000000}
	// 404
	// 400
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
