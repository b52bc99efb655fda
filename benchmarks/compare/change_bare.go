package compare

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
)

// versionField tells the bare readers, which do not decode events, which change an entry is.
const versionField = "v"

// bareReaders are three XREAD loops of go-redis; noted runs in each loop for every entry.
func (r *rig) bareReaders(ctx context.Context, key string, noted func(reader int, version int64)) (changer, error) {
	closers := new(closing)
	c := changer{name: "bare XADD to XREAD", close: closers.run}
	for i := range listeners {
		client, err := redisconn.OpenTail(r.server.URL())
		if err != nil {
			return c, err
		}
		closers.add(client.Close)
		ctx, cancel := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			follow(ctx, client, key, func(version int64) { noted(i, version) })
		}()
		closers.add(func() error {
			cancel()
			<-ended
			return nil
		})
	}
	var values []any
	c.prepare = func(e stream.Event) (err error) {
		values, err = stream.Encode(e)
		values = append(values, versionField, e.Version)
		return err
	}
	c.change = func(stream.Event) error {
		return r.client.XAdd(ctx, &redis.XAddArgs{Stream: key, MaxLen: 100_000, Approx: true, Values: values}).Err()
	}
	return c, nil
}

// follow reads the stream from its beginning until ctx ends or Redis fails, which its changer
// notices by the silence.
func follow(ctx context.Context, client redis.UniversalClient, key string, noted func(version int64)) {
	cursor := "0"
	for ctx.Err() == nil {
		read, err := client.XRead(ctx, &redis.XReadArgs{Streams: []string{key, cursor}, Count: 256, Block: 500 * time.Millisecond}).Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return
		}
		for _, entry := range read[0].Messages {
			cursor = entry.ID
			text, _ := entry.Values[versionField].(string)
			version, _ := strconv.ParseInt(text, 10, 64)
			noted(version)
		}
	}
}

// openPolled compares whole nodes, worker and watch included, with bare readers: a goroutine that
// never rests asks all three in turn until each shows the change.
func openPolled(ctx context.Context, r *rig) (*changes, error) {
	c := &changes{rig: r, title: fmt.Sprintf("Change to the new profile from Get, %d nodes", listeners),
		note: "whole nodes, with worker and watch, in one process, asked without a pause until all show the change, which costs a " +
			"core; the bare readers are asked the same way"}
	var latest [listeners]atomic.Int64
	bare, err := r.bareReaders(ctx, "bench:changes:polled", func(reader int, version int64) { latest[reader].Store(version) })
	bare.known = func(e stream.Event) ([]time.Time, error) {
		return poll(func(reader int) (bool, error) { return latest[reader].Load() >= e.Version, nil })
	}
	c.changers = append(c.changers, bare)
	if err != nil {
		return c, err
	}
	nodes, err := r.changingNodes(ctx)
	c.changers = append(c.changers, nodes)
	return c, err
}

// poll asks listener by listener whether it knows, until all do.
func poll(knows func(listener int) (bool, error)) ([]time.Time, error) {
	out := make([]time.Time, listeners)
	for i, end := 0, time.Now().Add(hearWithin); i < listeners; {
		ok, err := knows(i)
		switch {
		case err != nil:
			return nil, err
		case ok:
			out[i] = time.Now()
			i++
		case time.Now().After(end):
			return nil, errUnheard
		default:
			runtime.Gosched()
		}
	}
	return out, nil
}

func (r *rig) changingNodes(ctx context.Context) (changer, error) {
	closers := new(closing)
	c := changer{name: "edgecache nodes", close: closers.run}
	lower, err := l2.New(l2.Config{Client: r.client})
	if err != nil {
		return c, err
	}
	publisher, err := stream.NewPublisher(stream.PublisherConfig{Client: r.client})
	if err != nil {
		return c, err
	}
	nodes := make([]*node.Node, listeners)
	for i := range nodes {
		if nodes[i], err = r.node(ctx, 0); err != nil {
			return c, err
		}
		closers.add(nodes[i].Close)
		if err := warm(ctx, nodes[i], r.shuffled(r.changing())); err != nil {
			return c, err
		}
	}
	c.prepare = func(e stream.Event) error { _, err := lower.Apply(ctx, e.Profile); return err }
	c.change = func(e stream.Event) error { _, err := publisher.Publish(ctx, e); return err }
	c.known = func(e stream.Event) ([]time.Time, error) {
		return poll(func(i int) (bool, error) {
			got, err := nodes[i].Get(ctx, e.UserID)
			return err == nil && got.Version() >= e.Version, err
		})
	}
	c.check = func(newest map[string]int64) error { return checkNewest(ctx, newest, nodes) }
	return c, nil
}
