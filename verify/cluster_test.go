package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/chatapp-ngomna/edgecache/api"
	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// truth is a source of truth in memory.
type truth struct {
	mu    sync.Mutex
	users map[string]int64
	// silent has what was rewritten, nil for who is gone.
	silent map[string]*profile.Profile
}

func (s *truth) set(id string, version int64) *profile.Profile {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[id] = version
	return person(id, version)
}

func person(id string, version int64) *profile.Profile {
	return &profile.Profile{ID: id, Nom: "Ngo", Prenom: "Awa", FullName: "Awa Ngo", UpdatedAt: version}
}

// Load implements tier.Loader.
func (s *truth) Load(_ context.Context, id string) (*profile.Profile, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.silent[id]; ok {
		if p == nil {
			return nil, fmt.Errorf("truth: %q: %w", id, profile.ErrNotFound)
		}
		return p, nil
	}
	if v := s.users[id]; v > 0 {
		return person(id, v), nil
	}
	return nil, fmt.Errorf("truth: %q: %w", id, profile.ErrNotFound)
}

// LoadBatch implements tier.Loader.
func (s *truth) LoadBatch(ctx context.Context, ids []string) (profile.Batch, error) {
	b := profile.Batch{Found: map[string]*profile.Profile{}}
	for _, id := range ids {
		if p, err := s.Load(ctx, id); err == nil {
			b.Found[id] = p
		} else {
			b.Missing = append(b.Missing, id)
		}
	}
	return b, nil
}

// cluster is three nodes behind HTTP. The link of the last one to Redis can be cut, and it has no
// fence, so that it goes on answering with what it holds.
type cluster struct {
	*testing.T
	server *redistest.Proc
	truth  *truth
	nodes  []*node.Node
	urls   []string
	link   *redistest.Proxy
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{T: t, server: redistest.Server(t), truth: &truth{users: map[string]int64{}, silent: map[string]*profile.Profile{}}}
	c.link = redistest.ProxyTo(t, c.server.Addr)
	t.Cleanup(c.close)
	for i := range 100 {
		c.truth.set(strconv.Itoa(i), 1)
	}
	for i := range 3 {
		conf := node.Config{RedisURL: c.server.URL(), Origin: c.truth}
		if i == 2 {
			conf.RedisURL, conf.NoWorker, conf.Tier.FenceAfter = "redis://"+c.link.Addr, true, -1
		}
		n, err := node.New(conf)
		c.must(err)
		c.must(n.Start(t.Context()))
		s, err := api.New(api.Config{Node: n, Listen: "127.0.0.1:0", DrainTimeout: 100 * time.Millisecond})
		c.must(err)
		c.must(s.Start(t.Context()))
		t.Cleanup(func() { c.must(s.Close()) })
		c.nodes, c.urls = append(c.nodes, n), append(c.urls, "http://"+s.Addr().String())
	}
	t.Cleanup(func() { c.link.BlackHole(false) })
	return c
}

// close closes all nodes at once: each waits for reads of the stream that block.
func (c *cluster) close() {
	var closing sync.WaitGroup
	for _, n := range c.nodes {
		closing.Go(func() {
			if err := n.Close(); err != nil {
				c.Error(err)
			}
		})
	}
	closing.Wait()
}

func (c *cluster) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// put changes a user at the truth and tells the cluster through the first node.
func (c *cluster) put(id string, version int64) {
	c.Helper()
	c.must(c.nodes[0].Put(c.Context(), c.truth.set(id, version)))
}

// hold makes every node hold a user in L1.
func (c *cluster) hold(ids ...string) {
	for _, id := range ids {
		for i, n := range c.nodes {
			c.eventually("node "+strconv.Itoa(i)+" to hold "+id, func() bool {
				got, err := n.Get(c.Context(), id)
				return err == nil && got.Tier == look.FromL1
			})
		}
	}
}

func (c *cluster) eventually(what string, ok func() bool) {
	c.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			c.Fatalf("waited in vain for %s", what)
		}
	}
}

// found collects violations.
type found struct {
	mu   sync.Mutex
	list []Violation
}

func (f *found) take(v Violation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, v)
}

// of returns what was told about a user, of its beginning or its end.
func (f *found) of(id string, over bool) (out []Violation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range f.list {
		if v.User == id && v.Over == over {
			out = append(out, v)
		}
	}
	return out
}

// watch starts a Verifier over the cluster.
func (c *cluster) watch(set func(*Config)) (*Verifier, *found) {
	c.Helper()
	client, err := redisconn.OpenTail(c.server.URL())
	c.must(err)
	c.Cleanup(func() { c.must(client.Close()) })
	f := new(found)
	cfg := Config{Client: client, Nodes: c.urls, After: []time.Duration{500 * time.Millisecond, time.Second}, OnViolation: f.take}
	if set != nil {
		set(&cfg)
	}
	v, err := New(cfg)
	c.must(err)
	c.Cleanup(func() { c.must(v.Close()) })
	c.must(v.Start(c.Context()))
	return v, f
}

func drained(t *testing.T, v *Verifier) Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	v.Drain(ctx)
	return v.Total()
}

func TestAHealthyClusterHasNoViolation(t *testing.T) {
	c := newCluster(t)
	c.hold("1", "2", "3")
	v, f := c.watch(nil)
	for i := range int64(20) {
		for id := range 20 {
			c.put(strconv.Itoa(id), 10+i)
		}
		c.must(c.nodes[1].Invalidate(t.Context(), strconv.Itoa(50+int(i))))
	}
	r := drained(t, v)
	if r.Changes != 420 || r.Violations() != 0 || len(f.list) != 0 || len(r.Gaps) != 0 {
		t.Fatalf("%v\n%v", r, f.list)
	}
	for _, a := range r.After {
		if a.Checks+a.Dropped+a.Failed != 3*420 || a.Checks == 0 || a.Stale+a.Absent != 0 {
			t.Errorf("checks do not add up: %+v", a)
		}
	}
}

// One node is cut off without noticing, and holds what it held: an older version, a user who was
// deleted, one who was invalidated, and one who was not there. It must be named for each, alone,
// with the history, and the end be told.
func TestAStaleNodeIsReported(t *testing.T) { canary.Judge(t, staleNodeIsReported) }

func staleNodeIsReported(t *testing.T, bird *canary.Canary) {
	c := newCluster(t)
	c.hold("1", "2", "3", "4")
	_, err := c.nodes[2].Get(t.Context(), "new") // remembered as absent
	if err == nil {
		t.Fatal("a user who is not there was found")
	}
	c.link.BlackHole(true)
	v, f := c.watch(nil)
	injected := time.Now()
	c.put("1", 5)
	c.put("1", 6)
	c.must(c.nodes[0].Invalidate(t.Context(), "3"))
	c.put("new", 7)
	added, err := c.server.Client().XAdd(t.Context(), deletion("2", 9)).Result()
	c.must(err)
	for id, rule := range map[string]string{"1": "version 5 or above", "2": "no such user, or one above version 9", "3": "asked for after the invalidation"} {
		c.eventually("a report of user "+id, func() bool { return len(f.of(id, false)) > 0 })
		bird.Within(t, "the report", injected, 15*time.Second)
		told := f.of(id, false)
		if v := told[0]; len(told) != 1 || v.Node != c.urls[2] || v.Version != 1 || v.Tier != "L1" || !strings.Contains(v.Rule, rule) ||
			v.Lag.Duration() < 500*time.Millisecond || len(v.History) == 0 || len(v.Nodes) != 3 || !strings.Contains(v.Nodes[2].CacheStatus, "detail=L1") {
			t.Errorf("user %s: %+v", id, told)
		}
	}
	if v := f.of("2", false)[0]; v.Entry != added || v.History[0].ID != added {
		t.Errorf("the entry is not %s: %+v", added, v)
	}
	if n := len(f.of("1", false)[0].History); n != 2 {
		t.Errorf("%d changes of user 1 in its history", n)
	}
	c.link.BlackHole(false)
	for _, id := range []string{"1", "2", "3"} {
		c.eventually("the end of user "+id, func() bool { return len(f.of(id, true)) == 1 })
		if end := f.of(id, true)[0]; end.Still || end.Lag.Duration() < 500*time.Millisecond {
			t.Errorf("end of user %s: %+v", id, end)
		}
	}
	c.eventually("the proof about the user who was not there", func() bool { return len(f.of("new", false)) == 1 })
	if v := f.of("new", false)[0]; !v.Absent || v.Node != c.urls[2] {
		t.Errorf("%+v", v)
	}
	r := drained(t, v)
	t.Logf("\n%v%v%v", f.of("1", false)[0], f.of("1", true)[0], r)
	for i, n := range r.Nodes {
		if (n.Violations > 0) != (i == 2) {
			t.Errorf("violations by node: %+v", r.Nodes)
		}
	}
	if r.WorstLag.Duration() < 500*time.Millisecond || !strings.Contains(r.String(), "checks violated") {
		t.Errorf("%v", r)
	}
	seeMetrics(t, v, c.urls[2])
}

// seeMetrics looks for the node's violations among the metrics.
func seeMetrics(t *testing.T, v *Verifier, node string) {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(v)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if labels := m.GetLabel(); f.GetName() != "edgecache_verify_violations_total" || slices.ContainsFunc(labels, labelled(node)) {
				sums[f.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	for _, name := range []string{"violations_total", "checks_total", "changes_total", "worst_lag_seconds", "reads_total"} {
		if sums["edgecache_verify_"+name] <= 0 {
			t.Errorf("%s is %v; there are %v", name, sums["edgecache_verify_"+name], slices.Sorted(maps.Keys(sums)))
		}
	}
}

// rewrite changes a user's record at the truth and tells nobody.
func (s *truth) rewrite(id string, p *profile.Profile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent[id] = p
}

// Three users are not what the origin says: one changed there in silence, one has blank fields in
// the version that the origin has, and one is gone there. Each is named for each node, with what
// differs; the others, and one who changes all the time, are not.
func TestContentThatDiffersIsReported(t *testing.T) {
	c := newCluster(t)
	for id, p := range map[string]*profile.Profile{
		"1": {ID: "1", Nom: "Ngo", Prenom: "Awa", FullName: "Awa Ngo", UpdatedAt: 2},
		"2": {ID: "2", Nom: "Ngo", Prenom: "Awa", FullName: "Awa Ngo", Ministere: "MINFI", Sexe: "F", UpdatedAt: 1},
		"3": nil,
	} {
		c.hold(id)
		c.truth.rewrite(id, p)
	}
	c.hold("4", "5")
	var told mismatches
	v, _ := c.watch(func(cfg *Config) { cfg.Truth, cfg.ContentRate, cfg.OnMismatch = c.truth, 200, told.take })
	for version := int64(2); v.Total().Content.Mismatches < 9; version++ {
		c.put("5", version)
		if version > 1000 {
			t.Fatalf("told are %v; %v", told.users(), v.Total())
		}
		time.Sleep(20 * time.Millisecond) // the rate of the changes
	}
	for id, want := range map[string]string{"1": "updatedAt differs; the node says version 1, the origin version 2",
		"2": "ministere, sexe differs", "3": "user differs; the node says version 1, the origin no such user"} {
		if told := told.of(id); len(told) < 3 || !strings.Contains(told[0].String(), want) || told[0].Node == told[1].Node {
			t.Errorf("of user %s was told %v; want %s, of each node", id, told, want)
		}
	}
	if users := told.users(); len(users) != 3 {
		t.Errorf("told are %v", users)
	}
	r := drained(t, v)
	if r.Content.Mismatches%9 != 0 || r.Content.Checks < 15 || !strings.Contains(r.String(), " mismatches in ") {
		t.Errorf("%v", r)
	}
}

// mismatches collects what OnMismatch is told.
type mismatches struct {
	mu   sync.Mutex
	list []Mismatch
}

func (m *mismatches) take(one Mismatch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = append(m.list, one)
}

func (m *mismatches) of(id string) (out []Mismatch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.list {
		if one.User == id {
			out = append(out, one)
		}
	}
	return out
}

func (m *mismatches) users() map[string]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]bool{}
	for _, one := range m.list {
		out[one.User] = true
	}
	return out
}

func TestANodeThatIsGoneIsNoViolation(t *testing.T) {
	c := newCluster(t)
	silent := redistest.ProxyTo(t, strings.TrimPrefix(c.urls[1], "http://"))
	v, f := c.watch(func(cfg *Config) { cfg.Nodes[1], cfg.Timeout = "http://"+silent.Addr, 200*time.Millisecond })
	silent.BlackHole(true)
	t.Cleanup(func() { silent.BlackHole(false) })
	for id := range 20 {
		c.put(strconv.Itoa(id), 10)
	}
	r := drained(t, v)
	if r.Violations() != 0 || len(f.list) != 0 || r.Nodes[1].Failed == 0 || r.Nodes[1].Failed+r.Nodes[1].Dropped != 40 || r.Nodes[1].Checks != 0 || r.Nodes[0].Failed != 0 {
		t.Errorf("%v", r)
	}
}

func TestAGapIsTold(t *testing.T) {
	c := newCluster(t)
	reasons := make(chan string, 8)
	v, _ := c.watch(func(cfg *Config) { cfg.OnGap = func(reason string) { reasons <- reason } })
	c.put("1", 5)
	c.eventually("the change", func() bool { return v.Total().Changes == 1 })
	c.must(c.server.Client().Del(t.Context(), "events:users").Err())
	// A worker may have created it anew before it was looked at.
	if reason := <-reasons; reason != "deleted" && reason != "backwards" || v.Total().Gaps[reason] != 1 {
		t.Errorf("the stream was %q: %v", reason, v.Total())
	}
}

func TestASampleFollowsUsers(t *testing.T) {
	c := newCluster(t)
	v, _ := c.watch(func(cfg *Config) { cfg.Sample = 0.5 })
	for i := range int64(3) {
		for id := range 100 {
			c.put(strconv.Itoa(id), 10+i)
		}
	}
	r := drained(t, v)
	if r.Changes != 300 || r.Sampled == 0 || r.Sampled == 300 || r.Sampled%3 != 0 {
		t.Errorf("%d of %d changes sampled; want some, and all three of each user", r.Sampled, r.Changes)
	}
}

func TestLifecycle(t *testing.T) {
	c := newCluster(t)
	v, _ := c.watch(nil)
	if err := v.Start(t.Context()); err != nil {
		t.Errorf("a second Start: %v; want nil", err)
	}
	c.must(v.Close())
	c.must(v.Close())
	if err := v.Start(t.Context()); err != ErrClosed {
		t.Errorf("Start after Close: %v", err)
	}
	client, err := redisconn.OpenTail(c.server.URL())
	c.must(err)
	defer client.Close()
	w, err := New(Config{Client: client, Nodes: []string{c.urls[0], c.urls[1] + "/health#"}})
	c.must(err)
	defer w.Close()
	if err := w.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "node at "+c.urls[1]) {
		t.Errorf("Start with what is no node: %v", err)
	}
}

// labelled returns a filter for a metric's label of some value.
func labelled(value string) func(*dto.LabelPair) bool {
	return func(l *dto.LabelPair) bool { return l.GetValue() == value }
}

// deletion is what another service puts on the stream.
func deletion(id string, version int64) *redis.XAddArgs {
	payload := fmt.Sprintf(`{"event":"user.profile.deleted","userId":%q,"timestamp":%d}`, id, version)
	return &redis.XAddArgs{Stream: stream.Name, Values: []any{"payload", payload, "version", version}}
}
