package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/chatapp-ngomna/edgecache/client"
)

// A service that asks a node. In production Token is auth.FileToken or auth.SignTokens, and URL
// that of a node.
func Example() {
	// stands for a node
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/users/123" {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"type":"https://…/problems.md#user-not-found","detail":"no user has the id \"456\""}`)
			return
		}
		w.Header().Set("Cache-Status", "edgecache; hit; detail=L1")
		fmt.Fprint(w, `{"id":"123","fullName":"Jean Dupont","updatedAt":1700000000000}`)
	}))
	defer node.Close()

	c, err := client.New(client.Config{URL: node.URL, Token: func() (string, error) { return "TOKEN", nil }})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	got, err := c.Get(context.Background(), "123", client.Want{})
	fmt.Println(got.Profile.FullName, got.Tier, err)
	_, err = c.Get(context.Background(), "456", client.Want{})
	fmt.Println(errors.Is(err, client.ErrNotFound))
	// Output:
	// Jean Dupont L1 <nil>
	// true
}
