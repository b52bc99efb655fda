// Package l2 is the Redis tier: profiles in Redis hashes, each beside a short-lived guard that
// refuses writes of what is no longer true, and while it is loaded beside a lease. Every write is
// one of the scripts under scripts; docs/contracts.md says what each does.
//
// New makes it of a client. A service that changes profiles calls Apply, Patch, Remove, Invalidate
// and Appear. A cache reads with Read and ReadOne. For users that Redis does not have it asks with
// Begin for the right to load them, and tells with Fill what the source of truth has answered.
package l2

import (
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Config configures the Redis tier. The zero value of every field but Client is a documented
// default.
type Config struct {
	// Client reads masters only, and speaks RESP2 (Protocol: 2 in its options), in which a hash
	// comes as a flat list. The caller closes it, after those that use the tier.
	Client redis.UniversalClient
	// TTL is how long a profile stays in Redis, in whole seconds; each gets up to 10 % less, at
	// random. Default 7 days, at least 10 s.
	TTL time.Duration
	// Negative is how long "no such user" is remembered. Default 30 s.
	Negative time.Duration
	// Lease is how long one node may take to load a profile before another may. Default 5 s.
	Lease time.Duration
	// Guard is how long a profile's version floor is kept after its last change, and a lease that
	// nobody took over. Default 10 min.
	Guard time.Duration
}

func (c Config) withDefaults() Config {
	c.TTL = cmp.Or(c.TTL, 7*24*time.Hour)
	c.Negative = cmp.Or(c.Negative, 30*time.Second)
	c.Lease = cmp.Or(c.Lease, 5*time.Second)
	c.Guard = cmp.Or(c.Guard, 10*time.Minute)
	return c
}

func (c Config) validate() error {
	switch {
	case c.Client == nil:
		return errors.New("l2: Config.Client is nil; want a Redis client")
	case protocol(c.Client) != 2:
		return fmt.Errorf("l2: Config.Client speaks RESP%d; want Protocol: 2 in its options",
			protocol(c.Client))
	case c.TTL < 10*time.Second:
		return fmt.Errorf("l2: Config.TTL is %v; want at least 10s", c.TTL)
	case c.Negative < 0 || c.Lease < 0 || c.Guard < 0:
		return fmt.Errorf("l2: Config: Negative %v, Lease %v, Guard %v; want positive durations",
			c.Negative, c.Lease, c.Guard)
	case c.Guard < c.Lease || c.Guard < c.Negative:
		return fmt.Errorf("l2: Config.Guard is %v; want at least Lease %v and Negative %v",
			c.Guard, c.Lease, c.Negative)
	}
	return nil
}

// protocol returns the version of RESP that c speaks; 2 for a client that does not say.
func protocol(c redis.UniversalClient) int {
	switch c := c.(type) {
	case *redis.Client:
		return c.Options().Protocol
	case *redis.ClusterClient:
		return c.Options().Protocol
	}
	return 2
}

// Redis is the tier. Its methods may be called concurrently.
type Redis struct {
	conf   Config
	client redis.UniversalClient
	auto   *redis.AutoPipeliner
	// reading counts reads under way: a single one goes straight, several share pipelines.
	reading atomic.Int64
	health  health
	// node and leases make the lease tokens of this instance.
	node   string
	leases atomic.Uint64
	lost   lostLeases
}

var (
	// sealedSource is a function that begins the scripts which compare versions.
	//go:embed scripts/lib/sealed.lua
	sealedSource string
	//go:embed scripts/begin.lua
	beginSource string
	//go:embed scripts/fill.lua
	fillSource string
	//go:embed scripts/apply.lua
	applySource string
	//go:embed scripts/remove.lua
	removeSource string
	//go:embed scripts/invalidate.lua
	invalidateSource string
	//go:embed scripts/hint.lua
	hintSource string
	//go:embed scripts/appear.lua
	appearSource string
	//go:embed scripts/heal.lua
	healSource string

	begin      = redis.NewScript(beginSource)
	fill       = redis.NewScript(sealedSource + fillSource)
	apply      = redis.NewScript(sealedSource + applySource)
	remove     = redis.NewScript(sealedSource + removeSource)
	invalidate = redis.NewScript(invalidateSource)
	hint       = redis.NewScript(hintSource)
	appear     = redis.NewScript(appearSource)
	heal       = redis.NewScript(healSource)
)

// New checks conf and returns the tier; nothing is sent to Redis yet.
func New(conf Config) (*Redis, error) {
	conf = conf.withDefaults()
	if err := conf.validate(); err != nil {
		return nil, err
	}
	auto, err := conf.Client.AsyncAutoPipeline()
	if err != nil {
		return nil, fmt.Errorf("l2: auto-pipelining: %w", err)
	}
	return &Redis{conf: conf, client: conf.Client, auto: auto, node: rand.Text()}, nil
}

// Ping makes one round trip.
func (r *Redis) Ping(ctx context.Context) error {
	if err := r.client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("l2: ping Redis: %w", err)
	}
	return nil
}

// Lease returns how long one node may take to load a profile.
func (r *Redis) Lease() time.Duration { return r.conf.Lease }

// TTL returns how long a profile is kept, before the random part is taken off.
func (r *Redis) TTL() time.Duration { return r.conf.TTL }

// keysEach is how many keys belong to one profile.
const keysEach = 3

// appendKeys appends a profile's key, its guard's and its lease's, which the hash tag puts in the
// same slot of a cluster.
func appendKeys(dst []string, id string) []string {
	key := profile.Key(id)
	return append(dst, key, "{"+key+"}:guard", "{"+key+"}:lease")
}

func keys(id string) []string { return appendKeys(make([]string, 0, keysEach), id) }

// ttl returns the seconds to keep a profile: the configured time less up to a tenth.
func (r *Redis) ttl() int64 {
	s := int64(r.conf.TTL / time.Second)
	return s - mathrand.Int64N(s/10+1)
}

func (r *Redis) guard() int64 { return r.conf.Guard.Milliseconds() }

// token returns a new lease token.
func (r *Redis) token() string {
	return r.node + strconv.FormatUint(r.leases.Add(1), 36)
}
