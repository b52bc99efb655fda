package profile_test

import (
	"fmt"

	"github.com/chatapp-ngomna/edgecache/profile"
)

func Example() {
	p := &profile.Profile{ID: "123", Nom: "Dupont", Prenom: "Jean", UpdatedAt: 1700000000000}
	p.Complete()
	packed := profile.AppendMsgpack(nil, p)
	back, err := profile.DecodeMsgpack(packed)
	fmt.Println(len(packed), back.FullName, err)
	fmt.Println(profile.CheckID("jean dupont"))
	// Output:
	// 44 Jean Dupont <nil>
	// profile: invalid id: "jean dupont" has byte " " at 4; want only [A-Za-z0-9._:@-]
}
