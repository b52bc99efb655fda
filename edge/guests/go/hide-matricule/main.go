//go:build wasip1

// Hide-matricule hides the registration number from guests: callers without a role, or with the
// role none or guest.
package main

import "github.com/chatapp-ngomna/edgecache/edge/guests/go/guest"

func init() { guest.Serve(`{"abi":1,"claims":["role"]}`, view) }

func main() {}

func view(c guest.Call) []byte {
	if role, _ := guest.Text(c.Claims[0]); role != "" && role != "none" && role != "guest" {
		return nil
	}
	c.Fields[guest.Matricule] = guest.Encode("")
	return c.Show()
}
