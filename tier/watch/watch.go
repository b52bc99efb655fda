// Package watch notices writes to Redis that bypass the stream of changes, and has a tier.Cache
// compare what it holds with them.
package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/life"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
)

const (
	// trackingChannel is where Redis says which keys were written, to a connection that tracks.
	trackingChannel = "__redis__:invalidate"
	// rest is how long a notice rests, at least once and at most twice, before its key is looked
	// at: by then the stream has brought what our own writers changed, and L1 shows what our own
	// loads filled.
	rest = 100 * time.Millisecond
	// maxNotices bounds the ids of one rest. Past it everything is flushed.
	maxNotices = 1 << 18
	// watchBeat is how often a silent link is asked for a sign of life; after watchDead without one
	// it is given up.
	watchBeat = time.Second
	watchDead = 3 * time.Second
	// refusedPause is how long a server's refusals are believed; then the ways are tried anew.
	refusedPause = time.Minute
)

// Config configures a Watch. All fields but Redirected and Logger are required.
type Config struct {
	// Client speaks RESP3. It and Redirected are the watch's own; the caller closes them after it.
	Client redis.UniversalClient
	// Redirected speaks RESP2 and makes every connection track the keys under profile.KeyPrefix in
	// broadcast mode, redirected to itself: Track is its OnConnect. It is for servers and proxies
	// without RESP3. Optional.
	Redirected redis.UniversalClient
	// Cache is the one to correct. Its Config says that it is Watched.
	Cache *tier.Cache
	// Logger gets one line when a server refuses a way of watching and one per failed attempt to
	// connect. Default: none.
	Logger *slog.Logger
}

// Watch notices writes to Redis that bypass the stream: an operator's DEL, another service's HSET,
// FLUSHALL. Redis names every key written under the prefix, our own writes too; the watch compares
// what L1 holds of them with what Redis has now, and forgets only what differs. An outside write is
// refused by L1 within about 2 x rest.
//
// It tries what a server has, in this order: pushes of CLIENT TRACKING (RESP3), the same redirected
// to a subscription (RESP2), keyspace notifications. Where none of them is to be had, it compares
// users who were shown lately with Redis, once a second.
type Watch struct {
	conf  Config
	mu    sync.Mutex
	begun bool
	end   context.CancelFunc
	done  sync.WaitGroup

	noticed struct {
		sync.Mutex
		ids  map[string]struct{}
		over bool
	}
	links, notices, outside, lost atomic.Int64
	way                           atomic.Pointer[way] // of the last link
	shown                         shownIDs
}

// Stats says how a Watch does.
type Stats struct {
	// Links is how many servers are watched now; 0 means that outside writes are seen only when
	// L1's TTL ends.
	Links int64 `json:"links"`
	// Way is how: push, redirect, keyspace, or sweep, which sees only users who are shown often.
	Way string `json:"way"`
	// Notices counts keys that Redis named, Outside those whose entry in L1 was wrong.
	Notices int64 `json:"notices"`
	Outside int64 `json:"outside"`
	// Lost counts links that ended; each flushes L1 when it is back.
	Lost int64 `json:"lost"`
}

// Track makes a connection receive the names of the keys that anyone writes under
// profile.KeyPrefix. It is an OnConnect for the Client of a Config. Redis needs no
// configuration for it, only the right to use CLIENT.
func Track(ctx context.Context, conn *redis.Conn) error {
	id, err := conn.ClientID(ctx).Result()
	if err != nil {
		return fmt.Errorf("watch: track: %w", err)
	}
	track := []any{"CLIENT", "TRACKING", "ON", "REDIRECT", id, "BCAST", "PREFIX", profile.KeyPrefix}
	if err := conn.Do(ctx, track...).Err(); err != nil {
		return fmt.Errorf("watch: track: %w", err)
	}
	return nil
}

// New checks conf and returns a Watch that has not started.
func New(conf Config) (*Watch, error) {
	if conf.Client == nil || conf.Cache == nil {
		return nil, errors.New("watch: Config needs a Client and a Cache")
	}
	conf.Logger = cmp.Or(conf.Logger, slog.New(slog.DiscardHandler))
	w := &Watch{conf: conf}
	w.noticed.ids = map[string]struct{}{}
	return w, nil
}

// Start watches every master from now on, in the background: a server that cannot be watched is no
// reason not to serve. It may be called again, which does nothing.
func (w *Watch) Start(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.begun {
		return nil
	}
	w.begun = true
	ctx, cancel := context.WithCancel(context.Background())
	w.end = cancel
	w.done.Go(func() { w.compareForEver(ctx) })
	w.done.Go(func() { w.followMasters(ctx) })
	return nil
}

// Close ends the watching and waits for it, at most about a second. It may be called twice and
// before Start.
func (w *Watch) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.begun = true; w.end != nil {
		w.end()
	}
	w.done.Wait()
	return nil
}

// Stats returns a snapshot.
func (w *Watch) Stats() Stats {
	return Stats{
		Links: w.links.Load(), Way: w.way.Load().String(), Notices: w.notices.Load(),
		Outside: w.outside.Load(), Lost: w.lost.Load(),
	}
}

// followMasters keeps one link to every master; of a cluster it looks now and then for new ones.
func (w *Watch) followMasters(ctx context.Context) {
	cluster, ok := w.conf.Client.(*redis.ClusterClient)
	if !ok {
		if one, ok := w.conf.Client.(*redis.Client); ok {
			w.follow(ctx, one)
		}
		return
	}
	var links sync.WaitGroup
	defer links.Wait()
	var mu sync.Mutex
	watched := map[string]bool{}
	for ctx.Err() == nil {
		_ = cluster.ForEachMaster(ctx, func(_ context.Context, c *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			if addr := c.Options().Addr; !watched[addr] {
				watched[addr] = true
				links.Go(func() { w.follow(ctx, c) })
			}
			return nil
		})
		life.Wait(ctx, 10*watchBeat)
	}
}

// follow keeps a link to one server, by the first way that it does not refuse. What was written
// there while the link was down is unknown, so each link but the first begins with a flush.
func (w *Watch) follow(ctx context.Context, server *redis.Client) {
	tries := ways
	for attempt := 0; ctx.Err() == nil; attempt++ {
		now := tries[0]
		err := now.listen(w, ctx, server, func() { w.linked(now, attempt > 0) })
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errTryAnew):
			tries = ways
		case refused(err) && len(tries) > 1:
			tries = tries[1:]
			if known := w.way.Load(); known == nil || known == now { // it is new to us
				w.conf.Logger.Warn("Redis refuses a way to watch for writes of others",
					"server", server.Options().Addr, "way", now.name, "next", tries[0].name, "error", err)
			}
		default:
			w.conf.Logger.Warn("watch: the link to Redis failed", "link", "watch", "server", server.Options().Addr,
				"way", now.name, "attempt", attempt+1, "error", err, "pause", watchBeat)
			tries = ways
			life.Wait(ctx, watchBeat)
		}
	}
}

// linked notes that a link stands; its caller calls unlinked at the end.
func (w *Watch) linked(by *way, again bool) {
	if again && by != sweeping {
		w.conf.Cache.Flush()
	}
	w.way.Store(by)
	w.links.Add(1)
}

func (w *Watch) unlinked() {
	w.links.Add(-1)
	w.lost.Add(1)
}

// refused reports whether the server answered, and said no.
func refused(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && !strings.HasPrefix(reply.Error(), "LOADING")
}

func (w *Watch) notice(keys []string) {
	w.notices.Add(int64(len(keys)))
	w.noticed.Lock()
	defer w.noticed.Unlock()
	for _, key := range keys {
		if len(w.noticed.ids) >= maxNotices {
			w.noticed.over = true
			return
		}
		w.noticed.ids[strings.TrimPrefix(key, profile.KeyPrefix)] = struct{}{}
	}
}

// compareForEver looks at what was noticed at least one rest ago.
func (w *Watch) compareForEver(ctx context.Context) {
	tick := time.NewTicker(rest)
	defer tick.Stop()
	for due := map[string]struct{}(nil); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		w.outside.Add(int64(w.conf.Cache.Compare(ctx, due)))
		w.noticed.Lock()
		over := w.noticed.over
		due, w.noticed.ids, w.noticed.over = w.noticed.ids, map[string]struct{}{}, false
		w.noticed.Unlock()
		if over {
			w.conf.Cache.Flush()
		}
	}
}
