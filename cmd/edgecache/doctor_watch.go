package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/life"
	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
	"github.com/chatapp-ngomna/edgecache/tier/watch"
)

const (
	// linkWithin is how long a way to see writes of others is waited for, seenWithin a write.
	linkWithin, seenWithin = 4 * time.Second, time.Second
	// seenStep is how often doctor looks.
	seenStep = 5 * time.Millisecond
)

// watchWays are the ways in which nodes learn of writes that bypass the stream, the best first: how
// they are called in a node's stats, and for people.
var watchWays = map[string]string{
	"push":     "CLIENT TRACKING with pushes (RESP3)",
	"redirect": "CLIENT TRACKING redirected to a subscription (RESP2)",
	"keyspace": "keyspace notifications",
	"sweep":    "comparing users who are shown often",
}

// watching says by which of the ways a write of another is seen here: it has a node's own watch
// look.
func (l redisLook) watching(ctx context.Context) {
	way, took, err := l.watch(ctx)
	switch {
	case err == nil && way == "sweep":
		l.add(lossy, "writes of others", "the server refuses CLIENT TRACKING and has no keyspace notifications",
			"nodes see such writes by "+watchWays[way]+", and for all others when the time of their memory ends: announce changes on the stream.")
	case err == nil:
		l.add(fine, "writes of others", fmt.Sprintf("one was seen after %v, by %s", took.Round(time.Millisecond), watchWays[way]),
			"what others write into Redis beside the stream ends what nodes hold within a second.")
	default:
		l.add(lossy, "writes of others", "not seen: "+plain(err).Error(),
			"nodes see them when the time of their memory ends, after 10 minutes: announce changes on the stream.")
	}
}

// watch makes a write, and returns by which way and after how long it was seen; a sweep would see
// none of a user that nobody is shown.
func (l redisLook) watch(ctx context.Context) (way string, took time.Duration, err error) {
	w, end, err := l.openWatch(ctx)
	if err != nil {
		return "", 0, err
	}
	defer end()
	if !until(ctx, linkWithin, func() bool { return w.Stats().Links > 0 }) {
		return "", 0, errors.New("no link to it could be made")
	}
	stats := w.Stats()
	if stats.Way == "sweep" {
		return stats.Way, 0, nil
	}
	began := time.Now()
	if err := l.scratch(ctx); err != nil {
		return "", 0, err
	}
	if !until(ctx, seenWithin, func() bool { return w.Stats().Notices > stats.Notices }) {
		return "", 0, fmt.Errorf("no notice of a write within %v, by %s", seenWithin, watchWays[stats.Way])
	}
	return stats.Way, time.Since(began), nil
}

// until waits until ok, and reports false when that is not within a time.
func until(ctx context.Context, within time.Duration, ok func() bool) bool {
	for end := time.Now().Add(within); !ok(); {
		if time.Now().After(end) || !life.Wait(ctx, seenStep) {
			return false
		}
	}
	return true
}

// openWatch starts a watch as a node has one, over a memory of its own that stays empty.
func (l redisLook) openWatch(ctx context.Context) (w *watch.Watch, end func(), err error) {
	push, err := redisconn.OpenPush(l.url)
	if err != nil {
		return nil, nil, err
	}
	redirected, err := redisconn.OpenWatch(l.url, watch.Track)
	if err != nil {
		return nil, nil, errors.Join(err, push.Close())
	}
	lower, err := l2.New(l2.Config{Client: l.client})
	if err != nil {
		return nil, nil, errors.Join(err, push.Close(), redirected.Close())
	}
	nothing := tier.LoaderFunc(func(context.Context, []string) (profile.Batch, error) { return profile.Batch{}, nil })
	cache, err := tier.New(tier.Config{L2: lower, Origin: nothing, L1Bytes: 1 << 20, FenceAfter: -1, Watched: true})
	if err != nil {
		return nil, nil, errors.Join(err, push.Close(), redirected.Close())
	}
	w, err = watch.New(watch.Config{Client: push, Redirected: redirected, Cache: cache})
	if err == nil {
		err = w.Start(ctx)
	}
	end = func() {
		if w != nil {
			_ = w.Close()
		}
		_, _, _ = cache.Close(), push.Close(), redirected.Close() // nothing was kept
	}
	if err != nil {
		end()
		return nil, nil, err
	}
	return w, end, nil
}

// scratch writes a key of nobody, and removes it.
func (l redisLook) scratch(ctx context.Context) error {
	key := profile.Key(nobody + ":" + rand.Text()[:8])
	_, err := l.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.HSet(ctx, key, "f", "v")
		pipe.Expire(ctx, key, time.Minute)
		pipe.Del(ctx, key)
		return nil
	})
	return err
}
