package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/chatapp-ngomna/edgecache/gossip"
	"github.com/chatapp-ngomna/edgecache/internal/life"
	"github.com/chatapp-ngomna/edgecache/internal/redact"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier/kv"
)

const (
	// aloneRetry is the pause before a node that started alone looks for Redis again, and aloneTry
	// how long it looks.
	aloneRetry = 500 * time.Millisecond
	aloneTry   = 4 * time.Second
)

// StoreStats tells of the store on disk.
type StoreStats struct {
	kv.Stats
	// Alone says that the node has started without Redis, and has not found it since.
	Alone bool `json:"alone"`
	// Replayed is how many events the node has read at its start, to catch up with the stream.
	Replayed uint64 `json:"replayed"`
}

// openStore opens the store that Config.Store names. One that cannot be had is no reason not to
// serve: one line says why.
func (n *Node) openStore() {
	if n.conf.Store == nil {
		return
	}
	conf := *n.conf.Store
	if conf.Logger == nil {
		conf.Logger = n.conf.Logger
	}
	store, err := kv.Open(conf)
	if err != nil {
		n.storeless = err.Error()
		n.conf.Logger.Error("node: the store cannot be opened; the node serves without it", "error", err)
		return
	}
	n.store, n.conf.Tier.Store = store, store
}

// newTail returns a tail that goes on from where the store is true. One that cannot, begins at the
// stream's end, and nothing of the store counts before Redis has shown that it has the same.
func (n *Node) newTail(conf stream.TailConfig) (*stream.Tail, error) {
	if !n.store.On() {
		return stream.NewTail(conf)
	}
	conf.Checkpoint, conf.Resume = n.store.Checkpoint, n.store.Resume()
	tail, err := stream.NewTail(conf)
	if errors.Is(err, stream.ErrCheckpoint) {
		n.conf.Logger.Warn("node: the store is of no use to follow the stream from", "reason", err)
		n.store.Flush()
		n.resumes, conf.Resume = false, nil
		return stream.NewTail(conf)
	}
	n.resumes = err == nil && conf.Resume != nil
	return tail, err
}

// Holds reports whether the node has a store with profiles in it, so that it can start alone.
func (n *Node) Holds() bool {
	return n.resumes && n.store.On() && n.store.Stats().Entries > 0
}

// startAlone starts what needs no Redis, if the store can answer meanwhile, and looks for Redis in
// the background. why is what the start with Redis has said.
func (n *Node) startAlone(ctx context.Context, why error) error {
	if !n.Holds() || !unreached(why) {
		return why
	}
	n.conf.Logger.Warn("node: Redis is not there; the store answers meanwhile, marked stale",
		"redis", redact.Address(n.conf.RedisURL), "entries", n.store.Stats().Entries, "error", why)
	if err := errors.Join(n.cache.StartAlone(), n.tail.Start(context.WithoutCancel(ctx))); err != nil {
		return fmt.Errorf("node: start without Redis: %w", err)
	}
	n.alone.Store(true)
	n.background.Go(func() { n.joinForEver(n.base) })
	return nil
}

// joinForEver starts what needs Redis, again and again until it is there.
func (n *Node) joinForEver(ctx context.Context) {
	for life.Wait(ctx, aloneRetry) {
		try, cancel := context.WithTimeout(ctx, aloneTry)
		err := n.startParts(try)
		cancel()
		if err == nil {
			n.alone.Store(false)
			n.conf.Logger.Info("node: Redis is there")
			n.begun()
			return
		}
		if ctx.Err() == nil && !unreached(err) {
			n.conf.Logger.Warn("node: start with Redis", "error", err, "pause", aloneRetry)
		}
	}
}

// unreached reports whether an error says that Redis was not reached, or only begins to serve.
func unreached(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	for _, word := range []string{"LOADING", "MASTERDOWN", "CLUSTERDOWN", "sentinels specified"} {
		if strings.Contains(err.Error(), word) {
			return true
		}
	}
	return false
}

// storeStats tells of the store; nil without one.
func (n *Node) storeStats(replayed uint64) *StoreStats {
	switch {
	case n.conf.Store == nil:
		return nil
	case n.store == nil:
		return &StoreStats{Stats: kv.Stats{Off: n.storeless}}
	}
	return &StoreStats{Stats: n.store.Stats(), Alone: n.alone.Load(), Replayed: replayed}
}

// told is what the others are told of the store. Its entries are rounded, or there would be news
// each second.
func (s *StoreStats) told() (gossip.StoreState, uint32) {
	switch {
	case s == nil:
		return gossip.StoreNone, 0
	case s.Off != "":
		return gossip.StoreOff, 0
	case s.Alone:
		return gossip.StoreAlone, roughly(s.Entries)
	}
	return gossip.StoreOn, roughly(s.Entries)
}

// roughly returns the first two digits of a number, and zeros.
func roughly(n int64) uint32 {
	n = min(max(n, 0), 4e9)
	for unit := int64(1); ; unit *= 10 {
		if n/unit < 100 {
			return uint32(n / unit * unit)
		}
	}
}
