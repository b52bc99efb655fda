package postgres_test

import (
	"context"
	"fmt"
	"log"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/pgtest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source/postgres"
)

// Start makes the tables if they are not there.
func Example() {
	ctx := context.Background()
	server, err := pgtest.Start(ctx, pgtest.Options{}) // in production: a server that is there
	fatal(err)
	defer server.Close()
	store, err := postgres.New(postgres.Config{URL: server.URL()})
	fatal(err)
	fatal(store.Start(ctx))
	defer store.Close()

	_, err = store.Create(ctx, &profile.Profile{ID: "123", Prenom: "Chantal", Nom: "Ngono"})
	fatal(err)
	found, err := store.Get(ctx, "123")
	fatal(err)
	fmt.Println(found.FullName)
	_, err = store.Get(ctx, "124")
	fmt.Println(err)
	// Output:
	// Chantal Ngono
	// source: user "124": profile: not found
}

func fatal(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
