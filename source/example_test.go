package source_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/sqlite"
)

// The truth in one process. Its relay tells of each change before the answer; here it prints, in
// production it is a RedisAnnouncer.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "source")
	fatal(err)
	defer os.RemoveAll(dir)
	store, err := sqlite.New(sqlite.Config{Path: filepath.Join(dir, "users.db")})
	fatal(err)
	fatal(store.Start(ctx))
	defer store.Close()

	say := source.AnnouncerFunc(func(_ context.Context, c source.Change) error {
		fmt.Println("announced:", c.Kind, c.ID)
		return nil
	})
	relay, err := source.NewRelay(source.RelayConfig{Outbox: store, Announcer: say})
	fatal(err)
	fatal(relay.Start(ctx))
	defer relay.Close()
	service, err := source.NewService(source.ServiceConfig{Listen: "127.0.0.1:0", Store: store, Relay: relay})
	fatal(err)
	fatal(service.Start(ctx))
	defer service.Close()

	defer http.DefaultClient.CloseIdleConnections()
	made, err := http.Post("http://"+service.Addr(), "application/json", strings.NewReader(`{"id":"123","nom":"Ngono"}`))
	fatal(err)
	defer made.Body.Close()
	_, err = io.Copy(io.Discard, made.Body)
	fatal(err)
	fmt.Println(made.StatusCode)
	// Output:
	// announced: created 123
	// 201
}

func fatal(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
