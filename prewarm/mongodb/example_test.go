package mongodb_test

import (
	"errors"
	"fmt"

	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/prewarm/mongodb"
)

// The collection may be named in the address; a mistake in it never shows the password.
func ExampleFromURL() {
	source, err := mongodb.FromURL("mongodb://chat:secret@10.0.0.8:27017,10.0.0.9:27017/chat?replicaSet=rs0&collection=rooms")
	if err != nil {
		panic(err)
	}
	fmt.Println(source.Name())
	_, err = mongodb.FromURL("mongodb://chat:sec/ret@10.0.0.8/chat")
	fmt.Println(errors.Is(err, prewarm.ErrConfig))
	// Output:
	// mongodb
	// true
}
