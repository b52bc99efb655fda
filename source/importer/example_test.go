package importer_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/chatapp-ngomna/edgecache/source/importer"
	"github.com/chatapp-ngomna/edgecache/source/sqlite"
)

// A line that cannot be taken is left out and told; the others are imported.
func ExampleRun() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "importer")
	fatal(err)
	defer os.RemoveAll(dir)
	store, err := sqlite.New(sqlite.Config{Path: filepath.Join(dir, "users.db")})
	fatal(err)
	fatal(store.Start(ctx))
	defer store.Close()

	const file = "id,prenom,nom\n1,Chantal,Ngono\na b,Jean,Dupont\n3,Awa,Diop\n"
	stats, err := importer.Run(ctx, store, strings.NewReader(file), importer.Config{
		Format: importer.CSV,
		Failed: func(e importer.LineError) { fmt.Println(e) },
	})
	fmt.Println(stats.Added, "of", stats.Users, err)
	// Output:
	// line 3: invalid id: "a b" has byte " " at 1; want only [A-Za-z0-9._:@-]
	// 2 of 3 <nil>
}

func fatal(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
