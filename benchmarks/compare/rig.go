package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sort"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source/sample"
	"github.com/chatapp-ngomna/edgecache/tier"
)

// packedPrefix begins the keys under which the users of the L1 rows are stored a second time, as
// one packed string: some peers are faster so.
const packedPrefix = "bench:packed:"

// rig is what the rows share: one Redis with all users in it.
type rig struct {
	params
	server *redistest.Proc
	client redis.UniversalClient
	// keys and touches are the Redis key of user i+1 and what touch makes of it.
	keys    []string
	touches []uint64
	// version is that of the last change.
	version int64
}

func newRig(ctx context.Context, p params) (*rig, error) {
	server, err := redistest.Start(ctx, redistest.Options{})
	if err != nil {
		return nil, err
	}
	r := &rig{params: p, server: server, version: time.Now().UnixMilli()}
	if r.client, err = redisconn.Open(server.URL()); err != nil {
		return nil, errors.Join(err, server.Close())
	}
	if err := r.load(ctx); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *rig) close() {
	_ = r.client.Close()
	_ = r.server.Close()
}

// load stores the users as edgecache does: plain fields, ext, and a time to live.
func (r *rig) load(ctx context.Context) error {
	const page = 1000
	pipe := r.client.Pipeline()
	for i := 1; i <= r.Users; i++ {
		p := r.user(i)
		r.keys, r.touches = append(r.keys, profile.Key(p.ID)), append(r.touches, touch(p))
		pipe.HSet(ctx, profile.Key(p.ID), profile.AppendHash(nil, p)...)
		pipe.Expire(ctx, profile.Key(p.ID), 7*24*time.Hour)
		if i <= r.L1Users {
			pipe.Set(ctx, packedPrefix+p.ID, profile.AppendMsgpack(nil, p), 0)
		}
		if i%page == 0 || i == r.Users {
			if _, err := pipe.Exec(ctx); err != nil {
				return fmt.Errorf("load users into Redis: %w", err)
			}
		}
	}
	return nil
}

// user returns user i, new.
func (r *rig) user(i int) *profile.Profile { return sample.User(r.Seed, i) }

// check compares all fields with the truth.
func (r *rig) check(id string, got *profile.Profile) error {
	i, err := strconv.Atoi(id)
	if err != nil {
		return fmt.Errorf("id %q: %w", id, err)
	}
	want := r.user(i)
	if got == nil || !bytes.Equal(profile.AppendMsgpack(nil, got), profile.AppendMsgpack(nil, want)) {
		return fmt.Errorf("profile of %q is %+v, not %+v", id, got, want)
	}
	return nil
}

// node starts a node with an L1 of so many bytes, 0 for the default.
func (r *rig) node(ctx context.Context, l1Bytes int64) (*node.Node, error) {
	n, err := node.New(node.Config{RedisURL: r.server.URL(), Origin: noOrigin{}, Tier: tier.Config{L1Bytes: l1Bytes}})
	if err != nil {
		return nil, err
	}
	if err := n.Start(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// noOrigin is the origin of nodes that must not need one.
type noOrigin struct{}

var errOrigin = errors.New("the origin was asked")

// Load implements tier.Loader.
func (noOrigin) Load(context.Context, string) (*profile.Profile, error) { return nil, errOrigin }

// LoadBatch implements tier.Loader.
func (noOrigin) LoadBatch(context.Context, []string) (profile.Batch, error) {
	return profile.Batch{}, errOrigin
}

// chunk is what a contender looks up in one pass.
type chunk struct {
	// ids are the users' ids, keys their keys in Redis.
	ids, keys []string
	// want is the sum of touch over the true profiles.
	want uint64
}

// touch is what every contender does with a profile that it has got: read what a message shows.
func touch(p *profile.Profile) uint64 { return uint64(len(p.FullName)) + uint64(p.UpdatedAt) }

// lanes draws the chunks of n goroutines: each has count chunks of size ids. A lane should outlast
// a turn for each round, where repeated lookups would fill the L1 that is to miss.
func (r *rig) lanes(n, count, size int, draw func() int) [][]chunk {
	lanes := make([][]chunk, n)
	for l := range lanes {
		lanes[l] = make([]chunk, count)
		for c := range lanes[l] {
			lanes[l][c] = r.chunk(size, draw)
		}
	}
	return lanes
}

func (r *rig) chunk(size int, draw func() int) chunk {
	c := chunk{ids: make([]string, 0, size), keys: make([]string, 0, size)}
	for len(c.ids) < size {
		i := draw()
		key := r.keys[i-1]
		c.ids, c.keys = append(c.ids, key[len(profile.KeyPrefix):]), append(c.keys, key)
		c.want += r.touches[i-1]
	}
	return c
}

// uniform draws users 1 to n, each as likely.
func (r *rig) uniform(n int) func() int {
	rnd := rand.New(rand.NewPCG(r.Seed, 1))
	return func() int { return 1 + rnd.IntN(n) }
}

// inTurn draws users 1 to n in a random order, each once before any is drawn again.
func (r *rig) inTurn(n int) func() int {
	order, next := rand.New(rand.NewPCG(r.Seed, 4)).Perm(n), -1
	return func() int {
		next = (next + 1) % n
		return 1 + order[next]
	}
}

// zipf draws users 1 to n, the k-th most popular one with a weight of 1/k. Who is popular is
// shuffled.
func (r *rig) zipf(n int) func() int {
	rnd := rand.New(rand.NewPCG(r.Seed, 2))
	who, sums, sum := rnd.Perm(n), make([]float64, n), 0.0
	for k := range sums {
		sum += 1 / float64(k+1)
		sums[k] = sum
	}
	return func() int { return 1 + who[min(n-1, sort.SearchFloat64s(sums, rnd.Float64()*sum))] }
}

// shuffled returns the ids of users 1 to n in random order.
func (r *rig) shuffled(n int) []string {
	ids := make([]string, n)
	for i, k := range rand.New(rand.NewPCG(r.Seed, 3)).Perm(n) {
		ids[i] = strconv.Itoa(k + 1)
	}
	return ids
}
