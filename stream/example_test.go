package stream_test

import (
	"context"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream"
)

// printer is what a node would be: it drops its copies when it is told to.
type printer struct{ done chan struct{} }

func (p printer) Handle(e stream.Event) {
	if e.Profile != nil {
		fmt.Println(e.Kind.Event(), e.UserID, e.Version, e.Profile.FullName)
	} else {
		fmt.Println(e.Kind.Event(), e.UserID, e.Version)
		close(p.done)
	}
}

func (p printer) Flush(reason string) { fmt.Println("flush:", reason) }

func (p printer) Alive(time.Duration) {}

func Example() {
	ctx := context.Background()
	server, err := miniredis.Run() // any Redis will do
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()

	// Every node reads the stream, with a client of its own.
	own := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1})
	defer own.Close()
	node := printer{done: make(chan struct{})}
	tail, err := stream.NewTail(stream.TailConfig{Client: own, Handler: node})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := tail.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer tail.Close()

	// A service that changes a profile says so.
	publisher, err := stream.NewPublisher(stream.PublisherConfig{Client: client})
	if err != nil {
		fmt.Println(err)
		return
	}
	p := &profile.Profile{ID: "123", FullName: "Jean Dupont", UpdatedAt: 1700000000000}
	for _, e := range []stream.Event{
		{Kind: profile.Updated, UserID: p.ID, Version: p.UpdatedAt, Profile: p},
		{Kind: profile.Deleted, UserID: p.ID, Version: p.UpdatedAt + 1},
	} {
		if _, err := publisher.Publish(ctx, e); err != nil {
			fmt.Println(err)
		}
	}
	<-node.done
	// Output:
	// user.profile.updated 123 1700000000000 Jean Dupont
	// user.profile.deleted 123 1700000000001
}
