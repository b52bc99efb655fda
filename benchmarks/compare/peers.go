package compare

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unsafe"

	"github.com/go-redis/cache/v9"
	"github.com/maypok86/otter/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/redis/rueidis"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// trackedFor is how long rueidis may keep what it cached, if the server does not invalidate it
// before.
const trackedFor = 10 * time.Minute

// Peers keep the server's reply in memory and decode it for every caller. Each that can is measured
// twice: over the hash that edgecache shares with other services, and over one packed string, which
// is the fastest that it can do.

func (r *rig) rueidisTrackedHash(ctx context.Context) (contender, error) {
	return r.rueidisTracked("rueidis client-side cache, HGETALL", func(client rueidis.Client, c *chunk, i int) (*profile.Profile, error) {
		reply := client.DoCache(ctx, client.B().Hgetall().Key(c.keys[i]).Cache(), trackedFor)
		return decodeHash(c.ids[i])(reply.AsStrMap())
	})
}

func (r *rig) rueidisTrackedPacked(ctx context.Context) (contender, error) {
	return r.rueidisTracked("rueidis client-side cache, packed GET", func(client rueidis.Client, c *chunk, i int) (*profile.Profile, error) {
		packed, err := client.DoCache(ctx, client.B().Get().Key(packedPrefix+c.ids[i]).Cache(), trackedFor).ToString()
		if err != nil {
			return nil, err
		}
		return profile.DecodeMsgpack(unsafe.Slice(unsafe.StringData(packed), len(packed)))
	})
}

func (r *rig) rueidisTracked(name string, get func(client rueidis.Client, c *chunk, i int) (*profile.Profile, error)) (contender, error) {
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{r.server.Addr}})
	if err != nil {
		return contender{}, fmt.Errorf("rueidis: %w", err)
	}
	one := func(c *chunk, i int) (*profile.Profile, error) { return get(client, c, i) }
	return r.warmed(contender{name: name, pass: passOf(one), fetch: each(one), close: client.Close})
}

// warmed looks all L1 users up once.
func (r *rig) warmed(c contender) (contender, error) {
	k := chunk{ids: r.shuffled(r.L1Users)}
	for _, id := range k.ids {
		k.keys = append(k.keys, profile.Key(id))
	}
	_, err := c.pass(&k)
	return c, err
}

func (r *rig) redisTrackedHash(ctx context.Context) (contender, error) {
	return r.redisTracked("go-redis client-side cache, HGETALL", func(client *redis.Client, c *chunk, i int) (*profile.Profile, error) {
		return decodeHash(c.ids[i])(client.HGetAll(ctx, c.keys[i]).Result())
	})
}

func (r *rig) redisTrackedPacked(ctx context.Context) (contender, error) {
	return r.redisTracked("go-redis client-side cache, packed GET", func(client *redis.Client, c *chunk, i int) (*profile.Profile, error) {
		packed, err := client.Get(ctx, packedPrefix+c.ids[i]).Bytes()
		if err != nil {
			return nil, err
		}
		return profile.DecodeMsgpack(packed)
	})
}

func (r *rig) redisTracked(name string, get func(client *redis.Client, c *chunk, i int) (*profile.Profile, error)) (contender, error) {
	client := redis.NewClient(&redis.Options{
		Addr: r.server.Addr, Protocol: 3, PoolSize: 32,
		DialTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: time.Second, PoolTimeout: time.Second,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		ClientSideCacheConfig:    &redis.ClientSideCacheConfig{MaxEntries: 4 * r.Users, MaxMemoryBytes: l1Bytes},
	})
	one := func(c *chunk, i int) (*profile.Profile, error) { return get(client, c, i) }
	return r.warmed(contender{
		name: name, pass: passOf(one), fetch: each(one), close: func() { _ = client.Close() },
		strays: func() uint64 { return client.CSCStats().Misses },
	})
}

// otterV2 holds decoded profiles, as bare ristretto does.
func (r *rig) otterV2(ctx context.Context) (contender, error) {
	cache, err := otter.New(&otter.Options[string, *profile.Profile]{
		MaximumWeight: l1Bytes, Weigher: func(string, *profile.Profile) uint32 { return meanEntry },
	})
	if err != nil {
		return contender{}, fmt.Errorf("otter: %w", err)
	}
	for _, id := range r.shuffled(r.L1Users) {
		p, err := r.compact(ctx, id)
		if err != nil {
			return contender{}, err
		}
		cache.Set(id, p)
	}
	get := func(id string) (*profile.Profile, error) {
		p, ok := cache.GetIfPresent(id)
		if !ok {
			return nil, fmt.Errorf("%w: %q", errMiss, id)
		}
		return p, nil
	}
	return r.warmed(contender{
		name: "otter v2 GetIfPresent of *Profile",
		pass: func(c *chunk) (sum uint64, err error) {
			for _, id := range c.ids {
				p, ok := cache.GetIfPresent(id)
				if !ok {
					return 0, fmt.Errorf("%w: %q", errMiss, id)
				}
				sum += touch(p)
			}
			return sum, nil
		},
		fetch: each(func(c *chunk, i int) (*profile.Profile, error) { return get(c.ids[i]) }),
		close: func() { cache.StopAllGoroutines() },
	})
}

var errType = errors.New("not a *profile.Profile")

// redisCache is go-redis/cache with its TinyLFU in memory and no Redis behind it, so that a miss is
// an error. It may decode with edgecache's own decoder, which is faster than its reflection.
func (r *rig) redisCache(ctx context.Context) (contender, error) {
	local := cache.New(&cache.Options{
		LocalCache: cache.NewTinyLFU(4*r.L1Users, time.Hour),
		Marshal: func(v any) ([]byte, error) {
			p, ok := v.(*profile.Profile)
			if !ok {
				return nil, errType
			}
			return profile.AppendMsgpack(nil, p), nil
		},
		Unmarshal: func(b []byte, v any) error {
			p, ok := v.(*profile.Profile)
			if !ok {
				return errType
			}
			return profile.DecodeMsgpackInto(p, b)
		},
	})
	for _, id := range r.shuffled(r.L1Users) {
		p, err := decodeHash(id)(r.client.HGetAll(ctx, profile.Key(id)).Result())
		if err != nil {
			return contender{}, err
		}
		if err := local.Set(&cache.Item{Ctx: ctx, Key: strings.Clone(profile.Key(id)), Value: p}); err != nil {
			return contender{}, fmt.Errorf("go-redis/cache: %w", err)
		}
	}
	one := func(c *chunk, i int) (*profile.Profile, error) {
		p := new(profile.Profile)
		return p, local.Get(ctx, c.keys[i], p)
	}
	return r.warmed(contender{name: "go-redis/cache, TinyLFU", pass: passOf(one), fetch: each(one)})
}
