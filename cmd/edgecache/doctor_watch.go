package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
)

const (
	// seenWithin is how long a write of others is waited for.
	seenWithin = time.Second
	// tracked is the channel of CLIENT TRACKING with REDIRECT.
	tracked = "__redis__:invalidate"
)

// A node can learn of writes that bypass the stream in four ways: tracking that is redirected to
// its connection (RESP2), which is what nodes use; tracking whose notices are pushed (RESP3);
// keyspace notifications; and none of these, until the time of its memory ends.

// way is how a connection is told of writes.
type way struct {
	open    func(url string) (redis.UniversalClient, error)
	pattern string // of a channel; "" for the one of tracking
}

var (
	byTracking = way{open: func(url string) (redis.UniversalClient, error) {
		return redisconn.OpenWatch(url, tier.Track)
	}}
	byKeyspace = way{redisconn.OpenTail, "__keyspace@*__:" + profile.Key(nobody) + "*"}
)

// watching says by which of the ways a write of another is seen here.
func (l redisLook) watching(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*seenWithin)
	defer cancel()
	took, err := l.seen(ctx, byTracking)
	others := l.otherWays(ctx)
	if err == nil {
		l.add(fine, "writes of others", fmt.Sprintf("one was seen after %v, by CLIENT TRACKING%s", took.Round(10*time.Microsecond), others),
			"what others write into Redis beside the stream ends what nodes hold within a second.")
		return
	}
	l.add(lossy, "writes of others", fmt.Sprintf("not seen by CLIENT TRACKING: %v%s", plain(err), others),
		"nodes see them when the time of their memory ends, after 10 minutes: announce changes on the stream.")
}

// otherWays names the ways that the server has beside the one that nodes use.
func (l redisLook) otherWays(ctx context.Context) string {
	var ways []string
	if l.pushes(ctx) {
		ways = append(ways, "pushes of RESP3")
	}
	if _, err := l.seen(ctx, byKeyspace); err == nil {
		ways = append(ways, "keyspace notifications")
	}
	if len(ways) == 0 {
		return ""
	}
	return "; the server also has " + strings.Join(ways, " and ") + ", which nodes do not use"
}

// pushes reports whether the server takes CLIENT TRACKING on a connection of RESP3.
func (l redisLook) pushes(ctx context.Context) bool {
	one, err := l.serverOf(ctx, l.client, profile.Key(nobody))
	if err != nil {
		return false
	}
	conn := one.WithTimeout(seenWithin).EphemeralConn()
	defer conn.Close()
	pipe := conn.Pipeline()
	pipe.Do(ctx, "HELLO", "3")
	pipe.Do(ctx, "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", profile.Key(nobody))
	_, err = pipe.Exec(ctx)
	return err == nil
}

// serverOf returns a client of the server that holds a key.
func (redisLook) serverOf(ctx context.Context, c redis.UniversalClient, key string) (*redis.Client, error) {
	switch c := c.(type) {
	case *redis.ClusterClient:
		return c.MasterForKey(ctx, key)
	case *redis.Client:
		return c, nil
	}
	return nil, fmt.Errorf("a %T is no client of servers", c)
}

// seen makes a write by one connection, and returns after how long it was seen by another.
func (l redisLook) seen(ctx context.Context, by way) (time.Duration, error) {
	watcher, err := by.open(l.url)
	if err != nil {
		return 0, err
	}
	defer watcher.Close()
	key := profile.Key(nobody + ":" + rand.Text()[:8])
	server, err := l.serverOf(ctx, watcher, key)
	if err != nil {
		return 0, err
	}
	sub := server.Subscribe(ctx)
	defer sub.Close()
	if by.pattern != "" {
		err = sub.PSubscribe(ctx, by.pattern)
	} else {
		err = sub.Subscribe(ctx, tracked)
	}
	if err != nil {
		return 0, err
	}
	if _, err := sub.ReceiveTimeout(ctx, seenWithin); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := l.scratch(ctx, key); err != nil {
		return 0, err
	}
	return awaitNotice(ctx, sub, key, began)
}

// errUnseen reports a write of which no notice came.
var errUnseen = fmt.Errorf("no notice of a write within %v", seenWithin)

// awaitNotice returns how long after began the notice of a write of key came.
func awaitNotice(ctx context.Context, sub *redis.PubSub, key string, began time.Time) (time.Duration, error) {
	for time.Since(began) < seenWithin {
		message, err := sub.ReceiveTimeout(ctx, seenWithin-time.Since(began))
		var silent net.Error
		if errors.As(err, &silent) && silent.Timeout() {
			break
		}
		if err != nil {
			return 0, err
		}
		if m, ok := message.(*redis.Message); ok && (slices.Contains(m.PayloadSlice, key) || strings.HasSuffix(m.Channel, key)) {
			return time.Since(began), nil
		}
	}
	return 0, errUnseen
}

// scratch writes a key and removes it.
func (l redisLook) scratch(ctx context.Context, key string) error {
	pipe := l.client.Pipeline()
	pipe.HSet(ctx, key, "f", "v")
	pipe.Expire(ctx, key, time.Minute)
	pipe.Del(ctx, key)
	_, err := pipe.Exec(ctx)
	return err
}
