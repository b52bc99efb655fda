package edge_test

import (
	"context"
	"fmt"

	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/edge/guests"
	"github.com/chatapp-ngomna/edgecache/profile"
)

func ExampleEngine() {
	ctx := context.Background()
	engine, err := edge.NewEngine(edge.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Close()
	wasm, _ := guests.Modules.ReadFile("prebuilt/hide-matricule.c.wasm")
	hide, err := engine.Compile(ctx, "hide", wasm, edge.DefaultFuel)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer hide.Close()
	awa := &profile.Profile{ID: "123", FullName: "Awa Ngo Mbé", Matricule: "623456-K", UpdatedAt: 1}
	for _, role := range []string{"guest", "read"} {
		tail, _ := hide.AppendTail(nil, edge.Request{Claims: edge.Map{"role": role}})
		shown, _, err := hide.View(ctx, awa, profile.AppendMsgpack(nil, awa), tail)
		if shown == nil {
			shown = awa
		}
		fmt.Printf("%s sees %q, %v\n", role, shown.Matricule, err)
	}
	// Output:
	// guest sees "", <nil>
	// read sees "623456-K", <nil>
}
