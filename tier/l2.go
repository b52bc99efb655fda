package tier

import (
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// L2Config configures the Redis tier. The zero value of every field but Client is a documented default.
type L2Config struct {
	// Client reads masters only, and speaks RESP2 (Protocol: 2 in its options), in which a hash comes as a flat list. The
	// caller closes it, after the L2's users are closed.
	Client redis.UniversalClient
	// TTL is how long a profile stays in Redis; each gets up to 10 % less, at random. Default 7 days, rounded to seconds.
	TTL time.Duration
	// Negative is how long "no such user" is remembered. Default 30 s.
	Negative time.Duration
	// Lease is how long one node may take to load a profile before another may. Default 5 s.
	Lease time.Duration
	// Guard is how long a profile's version floor is kept after its last change, and a lease that nobody took over. Default
	// 10 min.
	Guard time.Duration
}

func (c L2Config) withDefaults() L2Config {
	c.TTL = cmp.Or(c.TTL, 7*24*time.Hour)
	c.Negative = cmp.Or(c.Negative, 30*time.Second)
	c.Lease = cmp.Or(c.Lease, 5*time.Second)
	c.Guard = cmp.Or(c.Guard, 10*time.Minute)
	return c
}

func (c L2Config) validate() error {
	switch {
	case c.Client == nil:
		return errors.New("tier: L2Config.Client is nil; want a Redis client")
	case protocol(c.Client) != 2:
		return fmt.Errorf("tier: L2Config.Client speaks RESP%d; want Protocol: 2 in its options", protocol(c.Client))
	case c.TTL < 10*time.Second:
		return fmt.Errorf("tier: L2Config.TTL is %v; want at least 10s", c.TTL)
	case c.Negative < 0 || c.Lease < 0 || c.Guard < 0:
		return fmt.Errorf("tier: L2Config: Negative %v, Lease %v, Guard %v; want positive durations", c.Negative, c.Lease, c.Guard)
	case c.Guard < c.Lease || c.Guard < c.Negative:
		return fmt.Errorf("tier: L2Config.Guard is %v; want at least Lease %v and Negative %v", c.Guard, c.Lease, c.Negative)
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

// L2 keeps profiles in Redis hashes, each beside a short-lived guard that refuses writes of what is no longer true, and while
// it is loaded beside a lease: see the scripts. Its methods may be called concurrently.
type L2 struct {
	conf   L2Config
	client redis.UniversalClient
	auto   *redis.AutoPipeliner
	// reading counts reads under way: one alone goes straight, several share pipelines.
	reading atomic.Int64
	health  health
	// node and leases make this instance's lease tokens.
	node   string
	leases atomic.Uint64
	lost   lostLeases
}

var (
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

	begin      = redis.NewScript(beginSource)
	fill       = redis.NewScript(fillSource)
	apply      = redis.NewScript(applySource)
	remove     = redis.NewScript(removeSource)
	invalidate = redis.NewScript(invalidateSource)
)

// NewL2 checks conf and returns an L2; nothing is sent to Redis yet.
func NewL2(conf L2Config) (*L2, error) {
	conf = conf.withDefaults()
	if err := conf.validate(); err != nil {
		return nil, err
	}
	auto, err := conf.Client.AsyncAutoPipeline()
	if err != nil {
		return nil, fmt.Errorf("tier: auto-pipelining: %w", err)
	}
	return &L2{conf: conf, client: conf.Client, auto: auto, node: rand.Text()}, nil
}

// Ping makes one round trip.
func (l *L2) Ping(ctx context.Context) error {
	if err := l.client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("tier: ping Redis: %w", err)
	}
	return nil
}

// TTL returns how long a profile is kept, before the random part is taken off.
func (l *L2) TTL() time.Duration { return l.conf.TTL }

// keysEach is how many keys belong to one profile.
const keysEach = 3

// appendKeys appends a profile's key, its guard's and its lease's, which the hash tag puts in the same slot of a cluster.
func appendKeys(dst []string, id string) []string {
	key := profile.Key(id)
	return append(dst, key, "{"+key+"}:guard", "{"+key+"}:lease")
}

func keys(id string) []string { return appendKeys(make([]string, 0, keysEach), id) }

// ttl returns the seconds to keep a profile: the configured time less up to a tenth.
func (l *L2) ttl() int64 {
	s := int64(l.conf.TTL / time.Second)
	return s - mathrand.Int64N(s/10+1)
}

func (l *L2) guard() int64 { return l.conf.Guard.Milliseconds() }

// token returns a new lease token.
func (l *L2) token() string {
	return l.node + strconv.FormatUint(l.leases.Add(1), 36)
}

// Apply stores an update that is already true at the origin. It reports false when as new a version is known. The profile
// needs a version. Errors: those of profile.Check, or Redis's.
func (l *L2) Apply(ctx context.Context, p *profile.Profile) (bool, error) {
	return l.store(ctx, p, "1")
}

// Replace is Apply for a record that is already there: it creates none.
func (l *L2) Replace(ctx context.Context, p *profile.Profile) (bool, error) {
	return l.store(ctx, p, "0")
}

func (l *L2) store(ctx context.Context, p *profile.Profile, create string) (bool, error) {
	if err := checkVersioned(p); err != nil {
		return false, err
	}
	n, err := l.update(ctx, p.ID, profile.AppendHash([]any{p.UpdatedAt, l.ttl(), l.guard(), create}, p))
	return n == 1, err
}

// checkVersioned is profile.Check for a profile that must carry a version.
func checkVersioned(p *profile.Profile) error {
	if err := p.Check(); err != nil {
		return fmt.Errorf("tier: apply: %w", err)
	}
	if p.UpdatedAt == 0 {
		return fmt.Errorf("tier: apply %q: %w: updatedAt is 0; want the version, in milliseconds since 1970", p.ID, profile.ErrMalformed)
	}
	return nil
}

// Patch changes the fields that t carries on a record that is there; it creates none. It reports false when a newer version
// is known or this one was patched before, so that the record may lack what t says. The patch needs a version.
func (l *L2) Patch(ctx context.Context, t profile.Patch) (bool, error) {
	if err := checkVersioned(&profile.Profile{ID: t.ID, UpdatedAt: t.Version}); err != nil {
		return false, err
	}
	n, err := l.update(ctx, t.ID, t.AppendHash([]any{t.Version, l.ttl(), l.guard(), "0"}))
	return n != 0 && err == nil, err
}

func (l *L2) update(ctx context.Context, id string, args []any) (int, error) {
	n, err := apply.Run(ctx, l.client, keys(id), args...).Int()
	if err != nil {
		return 0, fmt.Errorf("tier: apply %q: %w", id, err)
	}
	return n, nil
}

// Remove deletes a profile whose user was deleted at the origin in this version. It reports false when a newer version is
// known. Version 0, unknown, is as Invalidate.
func (l *L2) Remove(ctx context.Context, id string, version int64) (bool, error) {
	if err := profile.CheckID(id); err != nil {
		return false, fmt.Errorf("tier: remove: %w", err)
	}
	if version == 0 {
		return true, l.Invalidate(ctx, id)
	}
	n, err := remove.Run(ctx, l.client, keys(id), version, l.conf.Negative.Milliseconds(), l.guard()).Int()
	if err != nil {
		return false, fmt.Errorf("tier: remove %q: %w", id, err)
	}
	return n == 1, nil
}

// Invalidate forgets a profile, so that the next read asks the origin.
func (l *L2) Invalidate(ctx context.Context, id string) error {
	if err := profile.CheckID(id); err != nil {
		return fmt.Errorf("tier: invalidate: %w", err)
	}
	if err := invalidate.Run(ctx, l.client, keys(id)).Err(); err != nil {
		return fmt.Errorf("tier: invalidate %q: %w", id, err)
	}
	return nil
}

// scanPage and scanPause keep Count far from the server's capacity: at most 100,000 keys a second.
const (
	scanPage  = 1000
	scanPause = 10 * time.Millisecond
)

// Count counts the profiles in Redis by a slow SCAN, never by KEYS. A key that changes meanwhile may be counted or not.
func (l *L2) Count(ctx context.Context) (int64, error) {
	var total atomic.Int64
	one := func(ctx context.Context, c redis.Cmdable) error {
		n, err := count(ctx, c)
		total.Add(n)
		return err
	}
	var err error
	if cluster, ok := l.client.(*redis.ClusterClient); ok {
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return one(ctx, c) })
	} else {
		err = one(ctx, l.client)
	}
	if err != nil {
		return 0, fmt.Errorf("tier: count: %w", err)
	}
	return total.Load(), nil
}

func count(ctx context.Context, c redis.Cmdable) (n int64, err error) {
	for cursor := uint64(0); ; {
		var page []string
		if page, cursor, err = c.Scan(ctx, cursor, profile.KeyPrefix+"*", scanPage).Result(); err != nil {
			return n, err
		}
		n += int64(len(page))
		if cursor == 0 {
			return n, nil
		}
		select {
		case <-time.After(scanPause):
		case <-ctx.Done():
			return n, context.Cause(ctx)
		}
	}
}

// unloaded reports that the server has lost a script: it was restarted, or another took its place.
func unloaded(err error) bool {
	return err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT")
}
