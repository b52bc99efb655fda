package auth_test

import (
	"fmt"
	"strings"

	"github.com/chatapp-ngomna/edgecache/auth"
)

// A chat node that asks the source of truth signs its own tokens: for reading, and no more.
func Example() {
	secret := auth.Config{Secret: strings.Repeat("k", auth.MinSecret)} // in production: JWT_SECRET
	tokens, err := auth.SignTokens(secret, auth.RoleRead)
	if err != nil {
		fmt.Println(err)
		return
	}
	first, err := tokens()
	again, _ := tokens() // good for some minutes, so it is the same
	fmt.Println(strings.Count(first, "."), err, first == again)

	_, err = auth.SignTokens(auth.Config{Secret: "short"}, auth.RoleRead)
	fmt.Println(err != nil)
	// Output:
	// 2 <nil> true
	// true
}
