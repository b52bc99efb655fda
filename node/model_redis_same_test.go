package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
)

// side is one of two servers that are to be the same, with a cache over it.
type side struct {
	client redis.UniversalClient
	l2     *l2.Redis
	cache  *tier.Cache
}

func newSide(t *testing.T, client redis.UniversalClient, from tier.Loader) side {
	t.Helper()
	lower, err := l2.New(l2.Config{Client: client})
	check(t, err)
	cache, err := tier.New(tier.Config{L2: lower, Origin: from, L1Bytes: 1 << 20, FenceAfter: -1})
	check(t, err)
	t.Cleanup(func() { _ = cache.Close() })
	return side{client, lower, cache}
}

// TestTheModelIsRedis does the same to the model's server and to a real one, and compares every
// answer and what both then hold.
func TestTheModelIsRedis(t *testing.T) {
	truth := newPeople(0)
	fake := newModelRedis(new(compiled))
	fake.journal = &journal{start: time.Now()}
	modelled := fake.wire("model", nil).client(t, redisconn.Open)
	t.Cleanup(func() { fake.wires[0].cut() })
	t.Cleanup(func() { _ = modelled.Close() })
	client, err := redisconn.Open(redistest.Server(t).URL())
	check(t, err)
	t.Cleanup(func() { _ = client.Close() })
	sides := [2]side{newSide(t, client, truth), newSide(t, modelled, truth)}
	rapid.Check(t, func(rt *rapid.T) {
		for _, s := range sides {
			check(t, s.client.Del(t.Context(), "log", profile.Key("1"), "{"+profile.Key("1")+"}:guard", "{"+profile.Key("1")+"}:lease").Err())
		}
		truth.remove("1")
		for range 30 {
			do := drawCommand(rt, truth)
			real, model := do(sides[0]), do(sides[1])
			if real != model {
				rt.Fatalf("Redis answers\n%s\nthe model\n%s", real, model)
			}
		}
	})
}

// drawCommand returns something to do to both sides, whose answer is all that can be seen.
func drawCommand(rt *rapid.T, truth *people) func(side) string {
	n, v := rapid.IntRange(0, 8).Draw(rt, "n"), rapid.Int64Range(1, 9).Draw(rt, "v")
	id := fmt.Sprintf("%d-%d", n, v)
	what := rapid.IntRange(0, 10).Draw(rt, "what")
	switch what {
	case 8:
		truth.set(person("1", v))
	case 9:
		truth.remove("1")
	}
	return func(s side) string {
		ctx, key := context.Background(), profile.Key("1")
		var answer any
		var err error
		switch what {
		case 0, 1:
			answer, err = s.client.XAdd(ctx, &redis.XAddArgs{Stream: "log", MaxLen: 100, Approx: true, ID: id, Values: []any{"a", n}}).Result()
		case 2:
			answer, err = s.client.XTrimMaxLen(ctx, "log", int64(n)).Result()
		case 3:
			answer, err = s.client.XDel(ctx, "log", id).Result()
		case 4:
			answer, err = s.client.XRead(ctx, &redis.XReadArgs{Streams: []string{"log", id}, Count: v, Block: -1}).Result()
		case 5:
			answer, err = s.l2.Apply(ctx, person("1", v))
		case 6:
			answer, err = s.l2.Remove(ctx, "1", v)
		case 7:
			err = s.l2.Invalidate(ctx, "1")
		default:
			s.cache.Flush() // so that Redis is asked, by begin and fill if it has nothing
			var got tier.Result
			got, err = s.cache.Get(ctx, "1")
			answer = version(got)
			if errors.Is(err, profile.ErrNotFound) {
				err = profile.ErrNotFound
			}
		}
		return fmt.Sprint(answer, err != nil, s.info(), s.hash(key), s.hash("{"+key+"}:guard"), s.lease(key))
	}
}

// info is what XINFO says that a ledger looks at.
func (s side) info() string {
	i, err := s.client.XInfoStream(context.Background(), "log").Result()
	if err != nil {
		return "none"
	}
	return fmt.Sprint(i.Length, i.LastGeneratedID, i.MaxDeletedEntryID, i.EntriesAdded, i.RecordedFirstEntryID)
}

// lease reports whether a profile is being loaded.
func (s side) lease(key string) bool {
	text, err := s.client.Get(context.Background(), "{"+key+"}:lease").Result()
	return err == nil && text != ""
}

// hash is what a key holds, but for times.
func (s side) hash(key string) string {
	h, err := s.client.HGetAll(context.Background(), key).Result()
	if err != nil {
		return err.Error()
	}
	var b []string
	for _, f := range slices.Sorted(maps.Keys(h)) {
		if f == "absent" {
			h[f] = strconv.FormatBool(h[f] != "")
		}
		b = append(b, f+"="+h[f])
	}
	return fmt.Sprint(b)
}
