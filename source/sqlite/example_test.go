package sqlite_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source/sqlite"
)

// A change and the row that announces it are committed together.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "sqlite")
	fatal(err)
	defer os.RemoveAll(dir)
	store, err := sqlite.New(sqlite.Config{Path: filepath.Join(dir, "users.db")})
	fatal(err)
	fatal(store.Start(ctx))
	defer store.Close()

	made, err := store.Create(ctx, &profile.Profile{ID: "123", Prenom: "Chantal", Nom: "Ngono"})
	fatal(err)
	sexe := "F"
	changed, err := store.Update(ctx, "123", origin.Update{Sexe: &sexe, IfMatch: []int64{made.Version}})
	fatal(err)
	fmt.Println(changed.Profile.FullName, changed.Profile.Sexe, changed.Version > made.Version)

	waiting, err := store.Backlog(ctx)
	fmt.Println(waiting.Rows, "to announce", err)
	// Output:
	// Chantal Ngono F true
	// 2 to announce <nil>
}

func fatal(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
