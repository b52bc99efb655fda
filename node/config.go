package node

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/gossip"
	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/kv"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
)

// MinFenceAfter is the shortest Config.Tier.FenceAfter that the proofs of a calm stream keep up
// with.
const MinFenceAfter = 250 * time.Millisecond

// Config configures a Node. RedisURL and Origin are required; the zero value of everything else is
// a default.
type Config struct {
	// RedisURL is redis://[user:password@]host:port[/db], rediss://…, redis+cluster://host:port,…
	// or redis+sentinel://host:port,…/master. The node opens its own clients: one for lookups, one
	// for the stream.
	RedisURL string
	// Origin is the source of truth; origin.NewClient makes one for a service behind HTTP. One with
	// a method Stats() origin.ClientStats is shown in the node's.
	Origin tier.Loader
	// L2 sets the times of the Redis tier; its Client is the node's.
	L2 l2.Config
	// Tier sets the sizes and times of L1 and of loads; its L2, Origin, and Logger are the node's.
	// Its FenceAfter is at least MinFenceAfter, or negative; below 1.5 s the stream is read more
	// often, three times per FenceAfter.
	Tier tier.Config
	// Store is where and how large the node's store on disk is, which outlives the process; its
	// Logger is the node's when it has none. One that cannot be opened is logged, and the node
	// serves without it. Default: none.
	Store *kv.Config
	// StreamMaxLen is how many entries the stream keeps, about: this node trims it to that when it
	// adds one, and as a worker for writers that do not. Default stream.DefaultMaxLen.
	StreamMaxLen int64
	// NoWorker keeps this node from helping to apply to Redis what other services put on the
	// stream; some node should.
	NoWorker bool
	// NoWatch keeps this node from watching for writes to Redis that bypass the stream; they are
	// seen when L1's TTL ends.
	NoWatch bool
	// Cluster says how this node finds the others, with which it divides the work of a prewarm; its
	// Logger is the node's when it has none. Default: the node is on its own.
	Cluster *gossip.Config
	// NoPrewarm keeps this node out of prewarms, and from noting the users that it shows.
	NoPrewarm bool
	// Sources say who was active lately, for a prewarm, beside the list of users that the nodes
	// have shown, which they keep in Redis. Default: that list alone.
	Sources []prewarm.Source
	// Prewarm is the run that Start begins, unless one is under way. Default: none; BeginPrewarm
	// begins one.
	Prewarm *prewarm.Options
	// ReadyAt is the warmth, 0 to 1, from which on Ready returns nil, and ReadyWithin how long it
	// is waited for at most, so that a dead origin does not keep the node from what it can do.
	// Defaults 0 (not waited for) and 1 min.
	ReadyAt     float64
	ReadyWithin time.Duration
	// Functions lets this node run edge functions; its Client, Announce and Logger are the node's.
	// Default: it runs none, and View with one fails.
	Functions *edge.FunctionsConfig
	// Version is the build of the process, told to the other nodes. Default: none.
	Version string
	// Logger gets what an operator should know: one line for each state that the node gets into,
	// and one when it is over. Default: none.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	if c.ReadyWithin == 0 {
		c.ReadyWithin = time.Minute
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.RedisURL == "":
		return errors.New("node: Config.RedisURL is empty; want an address such as redis://127.0.0.1:6379")
	case c.Origin == nil:
		return errors.New("node: Config.Origin is nil; want a tier.Loader")
	case c.StreamMaxLen < 0:
		return fmt.Errorf("node: Config.StreamMaxLen is %d; want at least 1, or 0 for the default", c.StreamMaxLen)
	case c.Tier.FenceAfter > 0 && c.Tier.FenceAfter < MinFenceAfter:
		return fmt.Errorf("node: Config.Tier.FenceAfter is %v; want at least %v, 0 for 3s, or below 0 for never",
			c.Tier.FenceAfter, MinFenceAfter)
	case c.ReadyAt < 0 || c.ReadyAt > 1:
		return fmt.Errorf("node: Config.ReadyAt is %g; want 0 to 1", c.ReadyAt)
	case c.NoPrewarm && c.Prewarm != nil:
		return errors.New("node: Config.Prewarm and Config.NoPrewarm; want one of them")
	case c.ReadyAt > 0 && c.Prewarm == nil:
		return errors.New("node: Config.ReadyAt without Config.Prewarm; nothing would warm the node")
	case c.Store != nil && c.Store.Check() != nil:
		return fmt.Errorf("node: Config.Store: %w", c.Store.Check())
	case c.ReadyWithin < 0:
		return fmt.Errorf("node: Config.ReadyWithin is %v; want a positive duration", c.ReadyWithin)
	}
	return nil
}

// tailBlock returns how long one read of the stream waits, so that three proofs fit into
// fenceAfter; 0 is the tail's default.
func tailBlock(fenceAfter time.Duration) time.Duration {
	if fenceAfter <= 0 {
		return 0
	}
	return min(500*time.Millisecond, fenceAfter/3)
}
