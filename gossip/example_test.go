package gossip_test

import (
	"context"
	"fmt"

	"github.com/chatapp-ngomna/edgecache/gossip"
	"github.com/chatapp-ngomna/edgecache/profile"
)

func Example() {
	ctx := context.Background()
	key := gossip.NewKey() // the same at every node: as a rule in a file, see Config.KeyFile

	first, err := gossip.New(gossip.Config{Name: "douala", Bind: "127.0.0.1:0", Keys: [][]byte{key}})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := first.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer first.Close()

	second, err := gossip.New(gossip.Config{
		Name: "yaounde", Bind: "127.0.0.1:0", Keys: [][]byte{key}, Weight: 2, Seeds: []string{first.Self().Addr},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := second.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer second.Close()

	members := second.Members()
	owned := gossip.Owners(members)
	for _, m := range members {
		fmt.Printf("%s is %v and owns %d of %d ranges\n", m.Name, m.State, len(owned.Owned(m.Name)), profile.Ranges)
	}
	fmt.Println("user 123 is for", owned.OwnerOf("123"))
	// Output:
	// douala is alive and owns 338 of 1024 ranges
	// yaounde is alive and owns 686 of 1024 ranges
	// user 123 is for yaounde
}
