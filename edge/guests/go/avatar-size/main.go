//go:build wasip1

// Avatar-size asks for the picture at the size of the argument: "/a/1.webp" with size 64 becomes
// "/a/1.webp?size=64".
package main

import (
	"strings"

	"github.com/chatapp-ngomna/edgecache/edge/guests/go/guest"
)

func init() { guest.Serve(`{"abi":1,"args":["size"]}`, view) }

func main() {}

// pixels returns a number from 16 to 1024, 0 for everything else.
func pixels(text string) (n int) {
	for _, c := range text {
		if c < '0' || c > '9' || len(text) > 4 {
			return 0
		}
		n = n*10 + int(c-'0')
	}
	if n < 16 || n > 1024 {
		return 0
	}
	return n
}

func view(c guest.Call) []byte {
	size, given := guest.Text(c.Args[0])
	avatar, _ := guest.Text(c.Fields[guest.Avatar])
	if !given || avatar == "" {
		return nil
	}
	if pixels(size) == 0 {
		return guest.Refuse("size wants 16 to 1024")
	}
	mark := "?"
	if strings.Contains(avatar, "?") {
		mark = "&"
	}
	c.Fields[guest.Avatar] = guest.Encode(avatar + mark + "size=" + size)
	return c.Show()
}
