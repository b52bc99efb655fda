package compare

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
)

const (
	goalPrewarm   = 0.6
	warmers       = 3
	prewarmRounds = 5
	// scriptBatch and scriptLanes are how the bare scripted writes are sent: as many a pipeline as
	// a prewarm's batch has, by as many goroutines as are fastest here.
	scriptBatch = 500
	scriptLanes = 4
)

const prewarmNote = "all users into an empty Redis, throttle off. Bare is one pipelined EVALSHA a user that writes the same hash under a " +
	"lease and a version check, as a fill does. A prewarm reads who is active, plans, and loads through three nodes of this process, " +
	"from the claim until the last range is done; each user is asked of the origin once, which is checked. The origin is a function in " +
	"this process, or a lean HTTP server in it that speaks the contract with answers made beforehand. \"with L1\" counts until all nodes " +
	"have filled their memory as well"

// writeSource is what any fill has to do, and no more.
//
//go:embed scripts/write.lua
var writeSource string

// measurePrewarm compares a prewarm with the bare writes that it cannot do without.
func measurePrewarm(ctx context.Context, r *rig) ([]Table, error) {
	server, err := redistest.Start(ctx, redistest.Options{})
	if err != nil {
		return nil, err
	}
	defer server.Close()
	b := &prewarmBench{rig: r, url: server.URL(), admin: server.Client()}
	if err := b.prepare(); err != nil {
		return nil, err
	}
	defer b.close()
	turns := []struct {
		name string
		goal float64
		run  func(context.Context) (rate, withL1 float64, err error)
	}{
		{"bare scripted writes", 0, b.bare},
		{"prewarm, 3 nodes, origin in the process", goalPrewarm, func(ctx context.Context) (float64, float64, error) { return b.prewarm(ctx, b.counting(b)) }},
		{"prewarm, 3 nodes, origin over HTTP", goalPrewarm, func(ctx context.Context) (float64, float64, error) { return b.prewarm(ctx, b.counting(b.client)) }},
	}
	rates, withL1 := make([][]float64, len(turns)), make([][]float64, len(turns))
	rnd := rand.New(rand.NewPCG(r.Seed, 6))
	for range min(r.Rounds, prewarmRounds) {
		for _, i := range rnd.Perm(len(turns)) {
			runtime.GC()
			if err := b.admin.FlushAll(ctx).Err(); err != nil {
				return nil, err
			}
			var rate, with float64
			var err error
			pprof.Do(ctx, pprof.Labels("contender", turns[i].name), func(ctx context.Context) { rate, with, err = turns[i].run(ctx) })
			if err != nil {
				return nil, fmt.Errorf("%s: %w", turns[i].name, err)
			}
			rates[i], withL1[i] = append(rates[i], rate), append(withL1[i], with)
		}
	}
	t := Table{Title: fmt.Sprintf("Prewarm of %d users", r.Users), Note: prewarmNote, Unit: "users/s", MoreIsBetter: true}
	for i, one := range turns {
		row := newRow(one.name, rates[i])
		row.Extras = []Extra{{"with L1", median(withL1[i])}}
		row.against(&t, one.goal)
		t.Rows = append(t.Rows, row)
	}
	return []Table{t}, nil
}

// prewarmBench is what the turns share: the users, and an origin of them.
type prewarmBench struct {
	rig    *rig
	url    string
	admin  *redis.Client
	packed records // the users as msgpack
	bodies records // and as JSON
	http   *http.Server
	client *origin.Client
}

// records keeps one value for each user where the garbage collector has nothing to look at: what
// the origin holds is not to weigh on the nodes beside it. User 1 is the first.
type records struct {
	bytes []byte
	ends  []int
}

func (c *records) add(appendTo func([]byte, *profile.Profile) []byte, p *profile.Profile) {
	c.bytes = appendTo(c.bytes, p)
	c.ends = append(c.ends, len(c.bytes))
}

// of returns the value of a user; nil when there is none.
func (c *records) of(id string) []byte {
	i, err := strconv.Atoi(id)
	switch {
	case err != nil || i < 1 || i > len(c.ends):
		return nil
	case i == 1:
		return c.bytes[:c.ends[0]]
	}
	return c.bytes[c.ends[i-2]:c.ends[i-1]]
}

func (b *prewarmBench) prepare() error {
	for i := 1; i <= b.rig.Users; i++ {
		p := b.rig.user(i)
		b.packed.add(profile.AppendMsgpack, p)
		b.bodies.add(profile.AppendJSON, p)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("origin: %w", err)
	}
	b.http = &http.Server{Handler: http.HandlerFunc(b.answer), ReadHeaderTimeout: time.Minute}
	go func() { _ = b.http.Serve(listener) }()
	b.client, err = origin.NewClient(origin.ClientConfig{URL: "http://" + listener.Addr().String()})
	return err
}

func (b *prewarmBench) close() {
	_ = b.client.Close()
	_ = b.http.Close()
}

// answer is GET and POST /batch of the contract.
func (b *prewarmBench) answer(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		IDs []string `json:"ids"`
	}
	if r.Method == http.MethodGet {
		ask.IDs = strings.Split(r.URL.Query().Get("ids"), ",")
	} else if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&ask); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	const perUser = 512
	body := append(make([]byte, 0, perUser*(len(ask.IDs)+1)), `{"users":{`...)
	for i, id := range ask.IDs {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(strconv.AppendQuote(body, id), ':')
		body = append(body, b.bodies.of(id)...)
	}
	body = append(body, `},"missing":[],"errors":{}}`...)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

// Load implements tier.Loader.
func (b *prewarmBench) Load(_ context.Context, id string) (*profile.Profile, error) {
	p := new(profile.Profile)
	return p, profile.DecodeMsgpackInto(p, b.packed.of(id))
}

// LoadBatch implements tier.Loader.
func (b *prewarmBench) LoadBatch(_ context.Context, ids []string) (profile.Batch, error) {
	found, all := make(map[string]*profile.Profile, len(ids)), make([]profile.Profile, len(ids))
	for i, id := range ids {
		if err := profile.DecodeMsgpackInto(&all[i], b.packed.of(id)); err != nil {
			return profile.Batch{}, err
		}
		found[id] = &all[i]
	}
	return profile.Batch{Found: found}, nil
}

// counted counts the users that a Loader is asked for.
type counted struct {
	tier.Loader
	asked atomic.Int64
}

func (b *prewarmBench) counting(l tier.Loader) *counted { return &counted{Loader: l} }

// Load implements tier.Loader.
func (c *counted) Load(ctx context.Context, id string) (*profile.Profile, error) {
	c.asked.Add(1)
	return c.Loader.Load(ctx, id)
}

// LoadBatch implements tier.Loader.
func (c *counted) LoadBatch(ctx context.Context, ids []string) (profile.Batch, error) {
	c.asked.Add(int64(len(ids)))
	return c.Loader.LoadBatch(ctx, ids)
}

// bare writes all users by the script.
func (b *prewarmBench) bare(ctx context.Context) (rate, withL1 float64, err error) {
	client, err := redisconn.Open(b.url)
	if err != nil {
		return 0, 0, err
	}
	defer client.Close()
	script := redis.NewScript(writeSource)
	if err := script.Load(ctx, client).Err(); err != nil {
		return 0, 0, fmt.Errorf("load the script: %w", err)
	}
	began := time.Now()
	var next atomic.Int64
	var lanes sync.WaitGroup
	errs := make([]error, scriptLanes)
	for lane := range scriptLanes {
		lanes.Go(func() {
			for from := int(next.Add(scriptBatch)) - scriptBatch; from < b.rig.Users && errs[lane] == nil; from = int(next.Add(scriptBatch)) - scriptBatch {
				errs[lane] = b.write(ctx, client, script, from)
			}
		})
	}
	lanes.Wait()
	took := time.Since(began).Seconds()
	return float64(b.rig.Users) / took, 0, errors.Join(errs...)
}

func (b *prewarmBench) write(ctx context.Context, client redis.UniversalClient, script *redis.Script, from int) error {
	pipe := client.Pipeline()
	for i := from + 1; i <= min(from+scriptBatch, b.rig.Users); i++ {
		p := new(profile.Profile)
		if err := profile.DecodeMsgpackInto(p, b.packed.of(strconv.Itoa(i))); err != nil {
			return err
		}
		key := profile.Key(p.ID)
		args := profile.AppendHash([]any{"", 7 * 24 * 3600, p.UpdatedAt}, p)
		script.EvalSha(ctx, pipe, []string{key, "{" + key + "}:guard"}, args...)
	}
	_, err := pipe.Exec(ctx)
	return err
}

// Name implements prewarm.Source.
func (b *prewarmBench) Name() string { return "sample" }

// Active implements prewarm.Source.
func (b *prewarmBench) Active(context.Context, time.Time) iter.Seq2[prewarm.User, error] {
	return func(yield func(prewarm.User, error) bool) {
		now := time.Now()
		for i := 1; i <= b.rig.Users; i++ {
			if !yield(prewarm.User{ID: strconv.Itoa(i), LastActive: now.Add(-time.Duration(i) * time.Millisecond)}, nil) {
				return
			}
		}
	}
}

// third is a membership of three that does not change.
type third struct{ index int }

// Owned implements prewarm.Membership.
func (m third) Owned() (*[profile.Ranges]bool, int) {
	owned := new([profile.Ranges]bool)
	for n := m.index; n < len(owned); n += warmers {
		owned[n] = true
	}
	return owned, warmers
}

// Changed implements prewarm.Membership.
func (third) Changed() <-chan struct{} { return nil }

var errPrewarm = errors.New("the prewarm is not what it should be")

// prewarm loads all users through three new nodes.
func (b *prewarmBench) prewarm(ctx context.Context, loader *counted) (rate, withL1 float64, err error) {
	closers := new(closing)
	defer closers.run()
	var first *prewarm.Runner
	for i := range warmers {
		r, err := b.node(ctx, i, loader, closers)
		if err != nil {
			return 0, 0, err
		}
		if first == nil {
			first = r
		}
	}
	select {
	case <-time.After(3500 * time.Millisecond): // a new node waits that long before it takes part
	case <-ctx.Done():
		return 0, 0, context.Cause(ctx)
	}
	began := time.Now()
	id, err := first.Begin(ctx, prewarm.Options{MaxUsers: b.rig.Users, Unlimited: true, Sources: []prewarm.Source{b}})
	if err != nil {
		return 0, 0, err
	}
	s, err := first.Wait(ctx, id)
	if err != nil {
		return 0, 0, err
	}
	withL1 = float64(b.rig.Users) / time.Since(began).Seconds()
	if s.Cached != int64(b.rig.Users) || loader.asked.Load() != int64(b.rig.Users) {
		return 0, 0, fmt.Errorf("%w: %d users, %d cached, %d asked of the origin, %d errors, the first: %v",
			errPrewarm, b.rig.Users, s.Cached, loader.asked.Load(), s.Errors, s.Failures)
	}
	return float64(b.rig.Users) / (float64(s.Duration) / 1000), withL1, nil
}

func (b *prewarmBench) node(ctx context.Context, index int, loader tier.Loader, closers *closing) (*prewarm.Runner, error) {
	client, err := redisconn.Open(b.url)
	if err != nil {
		return nil, err
	}
	closers.add(client.Close)
	lower, err := l2.New(l2.Config{Client: client})
	if err != nil {
		return nil, err
	}
	cache, err := tier.New(tier.Config{L2: lower, Origin: loader, FenceAfter: -1, LoadDeadline: time.Minute})
	if err != nil {
		return nil, err
	}
	closers.add(cache.Close)
	if err := cache.Start(ctx); err != nil {
		return nil, err
	}
	r, err := prewarm.New(prewarm.Config{Client: client, Cache: cache, Members: third{index}, Node: "node" + strconv.Itoa(index)})
	if err != nil {
		return nil, err
	}
	closers.add(r.Close)
	return r, r.Start(ctx)
}
