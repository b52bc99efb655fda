package node

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// beside is three nodes on a real Redis beside services that write there what they like.
type beside struct {
	*testing.T
	redis *redis.Client
	nodes []*Node
	truth *people
	source.RedisAnnouncer
	asked atomic.Int64
	down  atomic.Bool
}

func newBeside(t *testing.T) *beside {
	server := redistest.Server(t)
	b := &beside{T: t, redis: server.Client(), truth: newPeople(20)}
	client, err := redisconn.Open(server.URL())
	check(t, err)
	t.Cleanup(func() { _ = client.Close() })
	b.L2, err = l2.New(l2.Config{Client: client})
	check(t, err)
	b.Publisher, err = stream.NewPublisher(stream.PublisherConfig{Client: client})
	check(t, err)
	for range 3 {
		b.nodes = append(b.nodes, start(t, server.URL(), b))
	}
	return b
}

func (b *beside) Load(ctx context.Context, id string) (*profile.Profile, error) {
	b.asked.Add(1)
	if b.down.Load() {
		return nil, errors.New("the origin is down")
	}
	return b.truth.Load(ctx, id)
}

func (b *beside) LoadBatch(ctx context.Context, ids []string) (profile.Batch, error) {
	b.asked.Add(int64(len(ids)))
	return b.truth.LoadBatch(ctx, ids)
}

// change is a change at edgecache's own origin.
func (b *beside) change(kind profile.Kind, id string, version int64) {
	b.Helper()
	c := source.Change{Kind: kind, ID: id, Version: version}
	if kind == profile.Deleted {
		b.truth.remove(id)
	} else {
		c.Profile = person(id, version)
		b.truth.set(c.Profile)
	}
	check(b.T, b.Announce(b.Context(), c))
}

// event is what another service says, with the time of its own clock.
func (b *beside) event(id, rest string, at time.Time) {
	b.Helper()
	payload := `{"event":"user.profile.updated","userId":"` + id + `"` + rest + `,"timestamp":` + strconv.FormatInt(at.UnixMilli(), 10) + `}`
	check(b.T, b.redis.XAdd(b.Context(), &redis.XAddArgs{Stream: stream.Name, Values: []any{"payload", payload}}).Err())
}

func (b *beside) hset(id string, pairs ...any) {
	b.Helper()
	check(b.T, b.redis.HSet(b.Context(), profile.Key(id), pairs...).Err())
}

// whole is a hash as the old services write it.
func whole(name string, version any) []any {
	return []any{"fullName", name, "avatar", "", "matricule", "", "ministere", "", "sexe", "", "updatedAt", version}
}

// shown waits until all nodes answer what is wanted, unmarked, within a time.
func (b *beside) shown(within time.Duration, what string, want func(p *profile.Profile) bool) {
	b.Helper()
	id, began := "7", time.Now()
	for i, n := range b.nodes {
		var got tier.Result
		var err error
		for ok := false; !ok; {
			got, err = n.Get(b.Context(), id)
			ok = got.Tier != look.FromStale && (err == nil && want(got.Profile) || errors.Is(err, profile.ErrNotFound) && want(nil))
			if !ok && time.Since(began) >= within {
				b.Errorf("%s: after %v node %d answers %+v from %v, %v", what, within, i+1, got.Profile, got.Tier, err)
				return
			}
			wait(b.Context(), 5*time.Millisecond)
		}
	}
}

func atVersion(v int64) func(*profile.Profile) bool {
	return func(p *profile.Profile) bool { return p != nil && p.UpdatedAt == v && p.Nom != "" }
}

func gone(p *profile.Profile) bool { return p == nil }

// noticed asks all nodes for a time, in which they notice what others wrote into Redis. The origin
// is asked for that once or twice, and not by each node.
func (b *beside) noticed(within time.Duration) {
	b.Helper()
	before := b.asked.Load()
	for began := time.Now(); time.Since(began) < within; wait(b.Context(), 5*time.Millisecond) {
		for _, n := range b.nodes {
			_, _ = n.Get(b.Context(), "7")
		}
	}
	if n := b.asked.Load() - before; n < 1 || n > 2 {
		b.Errorf("the origin was asked %d times for one write of another service", n)
	}
}

// atRest reports how often the origin is asked when all nodes are asked again and again, for
// nothing has changed.
func (b *beside) atRest(most int64) {
	b.Helper()
	before := b.asked.Load()
	for range 20 {
		for _, n := range b.nodes {
			_, _ = n.Get(b.Context(), "7")
		}
		wait(b.Context(), 10*time.Millisecond)
	}
	if n := b.asked.Load() - before; n > most {
		b.Errorf("at rest the origin was asked %d times, want %d at most", n, most)
	}
}

// shownWithin is how soon what others did is shown.
const shownWithin = time.Second

// inMs is a moment from now, in milliseconds since 1970.
func inMs(d time.Duration) int64 { return time.Now().Add(d).UnixMilli() }

// besideOthers is what others do, and what has to be shown of it.
var besideOthers = map[string]func(b *beside){
	"row, event 40 ms later, DEL": func(b *beside) {
		v := inMs(0)
		b.truth.set(person("7", v))
		b.asked.Store(0)
		b.event("7", `,"fullName":"Awa Diop 7"`, time.UnixMilli(v+40))
		check(b.T, b.redis.Del(b.Context(), profile.Key("7")).Err())
		b.shown(shownWithin, "the change", atVersion(v))
		if n := b.asked.Load(); n > 2 {
			b.Errorf("the origin was asked %d times for one change", n)
		}
		b.atRest(0)
	},
	"an event from a clock 5 minutes ahead, then changes of the origin": func(b *beside) {
		b.event("7", `,"fullName":"Of Others"`, time.Now().Add(5*time.Minute))
		b.shown(shownWithin, "what the origin says", atVersion(1))
		for range 2 {
			v := inMs(0)
			b.change(profile.Updated, "7", v)
			b.shown(bound, "a change after it", atVersion(v))
		}
		b.change(profile.Deleted, "7", inMs(3))
		b.shown(bound, "a deletion after it", gone)
		b.atRest(0)
	},
	"an event from a clock 5 minutes behind": func(b *beside) {
		v := inMs(0)
		b.truth.set(person("7", v))
		b.event("7", `,"fullName":"Awa Diop 7"`, time.Now().Add(-5*time.Minute))
		b.shown(shownWithin, "the change", atVersion(v))
		b.atRest(0)
	},
	"an event of a user that Redis does not have": func(b *beside) {
		check(b.T, b.redis.Del(b.Context(), profile.Key("7")).Err())
		b.event("7", "", time.Now().Add(time.Hour))
		b.shown(3*time.Second, "what the origin says", atVersion(1))
		b.atRest(1)
	},
	"fields of an event alone": func(b *beside) {
		check(b.T, b.redis.Del(b.Context(), profile.Key("7")).Err())
		b.hset("7", "fullName", "Awa Diop 7", "avatar", "x", "matricule", "m", "updatedAt", inMs(0))
		b.noticed(shownWithin)
		b.shown(0, "the whole profile", atVersion(1))
		b.atRest(0)
	},
	"a whole hash that contradicts the origin": func(b *beside) {
		b.hset("7", whole("Of Others", inMs(0))...)
		b.noticed(shownWithin)
		b.shown(0, "what the origin says", atVersion(1))
		b.atRest(0)
	},
	"a whole hash of a user that the origin does not know": func(b *beside) {
		b.truth.remove("7")
		b.hset("7", whole("Of Others", inMs(0))...)
		b.noticed(shownWithin)
		b.shown(0, "that there is none", gone)
		b.atRest(0)
	},
}

// TestBesideOtherServices has other services write as they do, with clocks that are wrong. Each way
// ends in what the origin says, asked once; and what the origin announces is shown, whatever they
// wrote.
func TestBesideOtherServices(t *testing.T) {
	for name, play := range besideOthers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBeside(t)
			b.shown(shownWithin, "the beginning", atVersion(1))
			play(b)
		})
	}
}

// TestVersionsOfOthersHoldUpNobody has another service write numbers that are no versions, and then
// a change be made at the origin.
func TestVersionsOfOthersHoldUpNobody(t *testing.T) {
	b := newBeside(t)
	for _, version := range []any{
		time.Now().UnixMicro(), time.Now().UnixNano(), time.Now().Add(3 * time.Second).UnixMilli(), "253402300799000", "inf", "1e30", "soon",
	} {
		b.hset("7", whole("Of Others", version)...)
		v := time.Now().UnixMilli()
		b.change(profile.Updated, "7", v)
		b.shown(bound, "the change after updatedAt "+strconv.Quote(toText(version)), atVersion(v))
	}
}

func toText(v any) string {
	if n, ok := v.(int64); ok {
		return strconv.FormatInt(n, 10)
	}
	return v.(string)
}

// TestHintIsShownWhileTheOriginIsDown serves what others say as long as there is nobody to ask.
func TestHintIsShownWhileTheOriginIsDown(t *testing.T) {
	b := newBeside(t)
	b.shown(time.Second, "the beginning", atVersion(1))
	b.down.Store(true)
	b.hset("7", whole("Of Others", time.Now().UnixMilli())...)
	b.shown(time.Second, "the hash of others", func(p *profile.Profile) bool { return p != nil && p.FullName == "Of Others" })
	b.event("7", `,"fullName":"Said By Others"`, time.Now())
	eventually(t, "what the event says, marked", func() bool {
		got, err := b.nodes[1].Get(t.Context(), "7")
		return err == nil && got.Profile.FullName == "Said By Others" && got.Tier == look.FromStale
	})
	b.down.Store(false)
	b.truth.set(person("7", 9))
	b.shown(3*time.Second, "what the origin says when it is back", atVersion(9))
}

// TestOriginThatLagsIsAskedOnceMore has an origin that is behind the service that announces.
func TestOriginThatLagsIsAskedOnceMore(t *testing.T) {
	b := newBeside(t)
	b.shown(time.Second, "the beginning", atVersion(1))
	b.event("7", `,"fullName":"Eve Ndi"`, time.Now())
	b.shown(time.Second, "the origin's answer, which is behind", atVersion(1))
	p := person("7", 12)
	p.Prenom, p.Nom, p.FullName = "Eve", "Ndi", "Eve Ndi"
	b.truth.set(p)
	b.shown(5*time.Second, "the change, once the origin has it", atVersion(12))
	b.atRest(0)
}
