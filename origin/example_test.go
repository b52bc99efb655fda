package origin_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/sqlite"
)

// A source of truth in one process: the store, the relay that announces its changes, the service,
// and a client of it.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "origin")
	check(err)
	defer os.RemoveAll(dir)

	store, err := sqlite.New(sqlite.Config{Path: filepath.Join(dir, "origin.db")})
	check(err)
	check(store.Start(ctx))
	defer store.Close()

	announce := source.AnnouncerFunc(func(_ context.Context, c source.Change) error {
		fmt.Println("announced:", c.Kind, c.ID)
		return nil
	})
	relay, err := source.NewRelay(source.RelayConfig{Outbox: store, Announcer: announce})
	check(err)
	check(relay.Start(ctx))
	defer relay.Close()

	service, err := source.NewService(source.ServiceConfig{Listen: "127.0.0.1:0", Store: store, Relay: relay})
	check(err)
	check(service.Start(ctx))
	defer service.Close()

	client, err := origin.NewClient(origin.ClientConfig{URL: "http://" + service.Addr()})
	check(err)
	defer client.Close()

	made, err := client.Create(ctx, &profile.Profile{ID: "123", Nom: "Ngono", Prenom: "Chantal"})
	check(err)
	ministere := "MINSANTE"
	_, err = client.Put(ctx, "123", origin.Update{Ministere: &ministere, IfMatch: []int64{made.Version}})
	check(err)
	p, err := client.Load(ctx, "123")
	check(err)
	fmt.Println(p.FullName, p.Ministere)
	_, err = client.Load(ctx, "124")
	fmt.Println(err)
	// Output:
	// announced: created 123
	// announced: updated 123
	// Chantal Ngono MINSANTE
	// origin: load "124": 404 Not Found: user "124": not found
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
