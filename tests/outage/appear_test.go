package outage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/pgtest"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source/importer"
)

// TestImportedUsersAreSeen imports users some of which were asked for in vain just before: two
// nodes answer for these as soon as for any change, and the stream is told of nobody else.
func TestImportedUsersAreSeen(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		canary.Judge(t, func(t *testing.T, bird *canary.Canary) { importBehindNodes(t, bird, t.TempDir()) })
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		canary.Judge(t, func(t *testing.T, bird *canary.Canary) { importBehindNodes(t, bird, pgtest.Server(t).URL()) })
	})
}

func importBehindNodes(t *testing.T, bird *canary.Canary, db string) {
	const asked = 50
	users := pick(2_000, 300_000)
	server := redistest.Server(t)
	store, err := newStore(db)
	check(t, err)
	check(t, store.Start(t.Context()))
	closing(t, store)
	addr := startTruth(t, store, server.URL())
	var nodes []*node.Node
	for range 2 {
		n, _ := startNode(t, server.URL(), addr, node.Config{}, nil)
		nodes = append(nodes, n)
	}
	id := func(i int) string { return fmt.Sprint("new-", i) }
	for i := range asked {
		for _, n := range nodes {
			if _, err := n.Get(t.Context(), id(i)); !errors.Is(err, profile.ErrNotFound) {
				t.Fatalf("%s before the import: %v", id(i), err)
			}
		}
	}
	var file strings.Builder
	file.WriteString("id,nom\n")
	for i := range users {
		fmt.Fprintf(&file, "%s,n\n", id(i))
	}
	stats, err := importer.Run(t.Context(), store, strings.NewReader(file.String()), importer.Config{Format: importer.CSV})
	if err != nil || stats.Added != int64(users) {
		t.Fatalf("%+v, %v", stats, err)
	}
	imported := time.Now()
	for i := range asked {
		for _, n := range nodes {
			within(t, bird, pick(5*time.Second, 10*time.Second), id(i)+" to be there", func() bool {
				_, err := n.Get(context.Background(), id(i))
				return err == nil
			})
		}
	}
	seen := time.Since(imported)
	eventually(t, time.Minute, "the outbox to be empty", func() bool {
		b, err := store.Backlog(t.Context())
		return err == nil && b.Rows == 0
	})
	all := time.Since(imported)
	if entries := server.Client().XLen(t.Context(), "events:users").Val(); entries < asked || entries > 2*asked {
		t.Errorf("%d entries on the stream; want about the %d users who were asked for", entries, asked)
	}
	result(t, fmt.Sprintf("%d users imported, %d of them asked for in vain before: all of these seen on two nodes", users, asked),
		"%v after the import; all %d looked up in Redis %v after it", seen.Round(time.Millisecond), users, all.Round(time.Millisecond))
}
