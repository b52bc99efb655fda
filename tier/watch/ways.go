package watch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/push"

	"github.com/chatapp-ngomna/edgecache/internal/life"
	"github.com/chatapp-ngomna/edgecache/profile"
)

const (
	// pushBeat is how often a connection is read on which pushes arrive.
	pushBeat = 50 * time.Millisecond
	// sweepEvery is how often users are compared with Redis who were shown lately, and sweepIDs how
	// many.
	sweepEvery = time.Second
	sweepIDs   = 256
)

// way is one of the ways to learn of writes of others. listen calls linked once the link stands,
// and returns when it fails, when ctx ends, or when other ways should be tried again.
type way struct {
	name   string
	listen func(w *Watch, ctx context.Context, server *redis.Client, linked func()) error
}

// String returns the name, "" of no way.
func (y *way) String() string {
	if y == nil {
		return ""
	}
	return y.name
}

// sweeping is the way that no server refuses.
var sweeping = &way{"sweep", (*Watch).sweep}

// ways are all, the best first.
var ways = []*way{{"push", (*Watch).listenPush}, {"redirect", (*Watch).listenRedirect},
	{"keyspace", (*Watch).listenKeyspace}, sweeping}

var (
	// errTryAnew reports that the refusals of a server are old.
	errTryAnew = errors.New("watch: try the other ways again")
	// errResubscribed reports that the client has made another connection on its own: the old one's
	// notices are lost.
	errResubscribed = errors.New("watch: the connection was replaced")
)

// no is a refusal that is ours, for what a server answered.
type no string

// Error implements redis.Error, as RedisError does.
func (n no) Error() string { return string(n) }

// RedisError marks it as a server's answer.
func (no) RedisError() {}

// pushed receives the pushes of a connection.
type pushed struct{ w *Watch }

// HandlePushNotification takes ["invalidate", keys]; no keys are all of them (FLUSHALL, FLUSHDB).
func (p pushed) HandlePushNotification(_ context.Context, _ push.NotificationHandlerContext, n []any) error {
	if len(n) < 2 || n[1] == nil {
		p.w.conf.Cache.Flush()
		return nil
	}
	list, _ := n[1].([]any)
	keys := make([]string, 0, len(list))
	for _, one := range list {
		if key, ok := one.(string); ok {
			keys = append(keys, key)
		}
	}
	p.w.notice(keys)
	return nil
}

// listenPush has the server push the names of written keys on the connection that asks for it.
func (w *Watch) listenPush(ctx context.Context, server *redis.Client, linked func()) error {
	conn := server.EphemeralConn()
	defer conn.Close()
	// the client keeps that of a link before
	if server.GetPushNotificationHandler("invalidate") == nil {
		if err := conn.RegisterPushNotificationHandler("invalidate", pushed{w}, false); err != nil {
			return no("this connection takes no pushes: " + err.Error())
		}
	}
	hello, err := conn.Do(ctx, "HELLO").Result()
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	if protocolOf(hello) != 3 {
		return no("the server does not speak RESP3 here")
	}
	if err := conn.Do(ctx, "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", profile.KeyPrefix).Err(); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	linked()
	defer w.unlinked()
	for ctx.Err() == nil {
		if err := conn.Ping(ctx).Err(); err != nil {
			return err
		}
		life.Wait(ctx, pushBeat)
	}
	return ctx.Err()
}

// protocolOf returns the protocol that the answer to HELLO names, 0 for none.
func protocolOf(hello any) int64 {
	fields, ok := hello.(map[any]any)
	if !ok {
		return 0
	}
	proto, _ := fields["proto"].(int64)
	return proto
}

// listenRedirect is told by messages on the channel to which tracking is redirected.
func (w *Watch) listenRedirect(ctx context.Context, server *redis.Client, linked func()) error {
	redirected, err := w.redirected(ctx, server.Options().Addr)
	if err != nil {
		return err
	}
	sub := redirected.Subscribe(ctx, trackingChannel)
	defer sub.Close()
	return w.hear(ctx, sub, linked, func(m *redis.Message) { w.notice(m.PayloadSlice) })
}

// redirected returns the client of Redirected for a server.
func (w *Watch) redirected(ctx context.Context, addr string) (found *redis.Client, err error) {
	switch c := w.conf.Redirected.(type) {
	case *redis.Client:
		return c, nil
	case *redis.ClusterClient:
		var mu sync.Mutex
		err = c.ForEachMaster(ctx, func(_ context.Context, one *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			if one.Options().Addr == addr {
				found = one
			}
			return nil
		})
		if err == nil && found == nil {
			err = fmt.Errorf("watch: %s is no master", addr)
		}
		return found, err
	}
	return nil, no("no client that redirects was given")
}

// listenKeyspace is told by keyspace notifications, which the server must be configured for. They
// do not tell of FLUSHALL, so users who were shown are compared as well.
func (w *Watch) listenKeyspace(ctx context.Context, server *redis.Client, linked func()) error {
	conf, err := server.ConfigGet(ctx, "notify-keyspace-events").Result()
	if err != nil {
		return fmt.Errorf("watch: notify-keyspace-events: %w", err)
	}
	if on := conf["notify-keyspace-events"]; !strings.Contains(on, "K") || !strings.Contains(on, "A") &&
		!(strings.Contains(on, "g") && strings.Contains(on, "h")) {
		return no(fmt.Sprintf("notify-keyspace-events is %q; want K, g and h in it", on))
	}
	ctx, cancel := context.WithCancel(ctx)
	var sweep sync.WaitGroup
	defer sweep.Wait()
	defer cancel()
	sweep.Go(func() { w.sweepUntil(ctx, nil) })
	sub := server.PSubscribe(ctx, fmt.Sprintf("__keyspace@%d__:%s*", server.Options().DB, profile.KeyPrefix))
	defer sub.Close()
	return w.hear(ctx, sub, linked, func(m *redis.Message) {
		_, key, _ := strings.Cut(m.Channel, "__:")
		w.notice([]string{key})
	})
}

// hear takes messages until the link fails or ctx ends.
func (w *Watch) hear(ctx context.Context, sub *redis.PubSub, linked func(), take func(*redis.Message)) error {
	if _, err := sub.ReceiveTimeout(ctx, watchDead); err != nil {
		return err
	}
	linked()
	defer w.unlinked()
	for heard := time.Now(); ctx.Err() == nil; {
		message, err := sub.ReceiveTimeout(ctx, watchBeat)
		var silent net.Error
		switch {
		case err == nil:
			heard = time.Now()
			if _, again := message.(*redis.Subscription); again {
				return errResubscribed
			}
			if m, ok := message.(*redis.Message); ok {
				take(m)
			}
		case errors.As(err, &silent) && silent.Timeout():
			if time.Since(heard) > watchDead {
				return fmt.Errorf("watch: no sign of life for %v", watchDead)
			}
			if err := sub.Ping(ctx); err != nil {
				return err
			}
		case strings.Contains(err.Error(), "payload: <nil>"):
			// FLUSHALL and FLUSHDB name no keys, which the client takes for an error.
			w.conf.Cache.Flush()
		default:
			return err
		}
	}
	return ctx.Err()
}

// sweep compares users who were shown lately, for refusedPause.
func (w *Watch) sweep(ctx context.Context, _ *redis.Client, linked func()) error {
	linked()
	defer w.links.Add(-1)
	w.sweepUntil(ctx, time.After(refusedPause))
	return errTryAnew
}

func (w *Watch) sweepUntil(ctx context.Context, end <-chan time.Time) {
	w.shown.on.Add(1)
	defer w.shown.on.Add(-1)
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-end:
			return
		case <-ctx.Done():
			return
		}
		ids := w.shown.take()
		wrong := w.conf.Cache.Compare(ctx, ids)
		w.outside.Add(int64(wrong))
		if wrong > 8 && wrong > len(ids)/2 { // so are those who were not compared
			w.conf.Cache.Flush()
		}
	}
}

// Shown notes that a user was shown, for servers whose writes can only be found by comparing. It
// costs an atomic load where that is not so.
func (w *Watch) Shown(id string) {
	if w.shown.on.Load() > 0 {
		w.shown.add(id)
	}
}

// shownIDs are users who were shown lately, while somebody wants to know.
type shownIDs struct {
	on  atomic.Int64
	mu  sync.Mutex
	ids map[string]struct{}
}

func (s *shownIDs) add(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids = make(map[string]struct{}, sweepIDs)
	}
	if len(s.ids) < sweepIDs {
		s.ids[strings.Clone(id)] = struct{}{}
	}
}

func (s *shownIDs) take() map[string]struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := s.ids
	s.ids = nil
	return ids
}
