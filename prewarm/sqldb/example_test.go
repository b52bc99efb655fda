package sqldb_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/chatapp-ngomna/edgecache/prewarm/sqldb"
)

// A chat that keeps what its users have read, in a table of its own form.
func Example() {
	dir, err := os.MkdirTemp("", "edgecache-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "chat.db")
	db, err := sql.Open("sqlite", file)
	if err != nil {
		panic(err)
	}
	defer db.Close()
	if _, err := db.Exec(`CREATE TABLE reads (who TEXT, at_ms INTEGER);
		INSERT INTO reads VALUES ('123', 1700000000000), ('456', 1500000000000)`); err != nil {
		panic(err)
	}

	source, err := sqldb.New(sqldb.Config{URL: "sqlite:" + file, Query: "SELECT who, at_ms FROM reads WHERE at_ms >= ?"})
	if err != nil {
		panic(err)
	}
	for user, err := range source.Active(context.Background(), time.UnixMilli(1_600_000_000_000)) {
		fmt.Println(user.ID, user.LastActive.UTC().Format(time.RFC3339), err)
	}
	// Output: 123 2023-11-14T22:13:20Z <nil>
}
