//go:build wasip1

// Display-name shows the name that a user has in the caller's language: the attribute "name.fr" for
// the locales "fr" and "fr-CM".
package main

import (
	"strings"

	"github.com/chatapp-ngomna/edgecache/edge/guests/go/guest"
)

func init() { guest.Serve(`{"abi":1,"locale":true}`, view) }

func main() {}

func view(c guest.Call) (answer []byte) {
	locale, _ := guest.Text(c.Locale)
	language, _, _ := strings.Cut(strings.ToLower(locale), "-")
	if language == "" {
		return nil
	}
	guest.Pairs(c.Fields[guest.Attrs], func(key string, name []byte) bool {
		if key == "name."+language {
			c.Fields[guest.FullName] = name
			answer = c.Show()
		}
		return answer == nil
	})
	return answer
}
