package api

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/edge/guests"
	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/tier"
)

// policy is a node whose readers go through the function "hide", with all around it that changes
// the way of an answer.
type policy struct {
	t     *testing.T
	rng   *rand.Rand
	truth *registry
	link  *redistest.Proxy // between this node and Redis
	node  *node.Node
	near  *node.Node // another node, whose link holds
	s     *Server
	tags  []string       // of answers, hidden or not
	seen  map[string]int // answers by what they were
}

const policyUsers = 8

// active names users as a source of a prewarm.
type active struct{}

func (active) Name() string { return "test" }

func (active) Active(context.Context, time.Time) iter.Seq2[prewarm.User, error] {
	return func(yield func(prewarm.User, error) bool) {
		for i := range policyUsers {
			if !yield(prewarm.User{ID: strconv.Itoa(i + 1), LastActive: time.Now()}, nil) {
				return
			}
		}
	}
}

func newPolicy(t *testing.T, seed uint64) *policy {
	redis := redistest.Server(t)
	p := &policy{t: t, rng: rand.New(rand.NewPCG(seed, 0)), truth: new(registry), seen: map[string]int{},
		link: redistest.ProxyTo(t, strings.TrimPrefix(redis.URL(), "redis://"))}
	start := func(url string) *node.Node {
		n, err := node.New(node.Config{RedisURL: url, Origin: p.truth, Functions: &edge.FunctionsConfig{PushWait: 200 * time.Millisecond},
			Tier: tier.Config{FenceAfter: node.MinFenceAfter, LoadDeadline: 200 * time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() })
		if err := n.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		return n
	}
	p.near, p.node = start(redis.URL()), start("redis://"+p.link.Addr)
	p.s = serve(t, p.node, func(c *Config) {
		withTokens(c)
		c.Functions = &FunctionsConfig{Node: p.node, Roles: map[string]string{"read": "hide"}}
	})
	p.push("as", edge.PushOptions{})
	p.pushOther("avatar", "avatar-size")
	return p
}

// push pushes hide-matricule as a language built it.
func (p *policy) push(language string, o edge.PushOptions) {
	p.t.Helper()
	wasm, err := guests.Modules.ReadFile("prebuilt/hide-matricule." + language + ".wasm")
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.near.Functions().Push(p.t.Context(), "hide", wasm, o); err != nil {
		p.t.Fatal(err)
	}
}

func (p *policy) pushOther(name, example string) {
	p.t.Helper()
	wasm, err := guests.Modules.ReadFile("prebuilt/" + example + ".c.wasm")
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.near.Functions().Push(p.t.Context(), name, wasm, edge.PushOptions{}); err != nil {
		p.t.Fatal(err)
	}
}

// steps are what changes the way of an answer. Each leaves the node connected, and the origin up.
func (p *policy) steps() map[string]func() {
	return map[string]func(){
		"nothing":    func() {},
		"a change":   p.change,
		"forgotten":  func() { p.forget(p.id()) },
		"a trial":    func() { p.push("c", edge.PushOptions{Share: 0.5}) },
		"a bad one":  func() { p.push("c", edge.PushOptions{Share: 0.5, Fuel: 10}) },
		"a failure":  func() { p.push("c", edge.PushOptions{Fuel: 10}) },
		"a swap":     func() { p.push("as", edge.PushOptions{}) },
		"a rollback": func() { _, _ = p.near.Functions().Rollback(p.t.Context(), "hide", 0) },
		"prewarmed":  p.prewarm,
		"joined":     p.join,
		"no origin":  p.withoutOrigin,
		"stale":      p.cut,
	}
}

func (p *policy) id() string { return strconv.Itoa(1 + p.rng.IntN(policyUsers)) }

func (p *policy) forget(id string) {
	if err := p.near.Invalidate(p.t.Context(), id); err != nil {
		p.t.Fatal(err)
	}
}

// change has the truth change a user, and another node tell of it.
func (p *policy) change() {
	p.truth.change()
	user, err := p.truth.Load(p.t.Context(), p.id())
	if err == nil {
		err = p.near.Put(p.t.Context(), user)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// prewarm fills Redis and this node's memory after all was forgotten.
func (p *policy) prewarm() {
	for i := range policyUsers {
		p.forget(strconv.Itoa(i + 1))
	}
	run, err := p.node.BeginPrewarm(p.t.Context(), prewarm.Options{Unlimited: true, Sources: []prewarm.Source{active{}}})
	if err != nil {
		p.t.Fatal(err)
	}
	testkit.Eventually(p.t, 20*time.Second, "the prewarm", func() bool {
		s, err := p.node.PrewarmStatus(p.t.Context())
		return err == nil && s.Run == run && s.State == prewarm.Done
	})
	p.seen["prewarmed"]++
}

// join has readers and writers ask at once for a user that nobody holds.
func (p *policy) join() {
	id := p.id()
	p.forget(id)
	before := p.node.Stats().Cache.Joined
	var group sync.WaitGroup
	for i := range 12 {
		role := []auth.Role{auth.RoleRead, auth.RoleRead, auth.RoleWrite}[i%3]
		group.Go(func() {
			r := as(p.t, p.s, role, "GET", "/v1/users/"+id, "")
			if role == auth.RoleRead && strings.Contains(r.body, secret) {
				p.t.Errorf("a joined load shows %s", r.body)
			}
		})
	}
	group.Wait()
	p.seen["joined"] += int(p.node.Stats().Cache.Joined - before)
}

func (p *policy) withoutOrigin() {
	p.forget(p.id())
	p.truth.set(true)
	p.ask()
	p.truth.set(false)
}

// cut has this node hear nothing, and the origin down, so that what is shown is stale.
func (p *policy) cut() {
	p.ask()
	p.link.BlackHole(true)
	p.truth.set(true)
	testkit.Eventually(p.t, 20*time.Second, "the fence", func() bool { return !p.fresh() })
	for range 3 {
		p.one("GET", "/v1/users/"+p.id(), "")
	}
	p.one("GET", "/v1/users?ids="+p.id()+","+p.id(), "", "Accept: application/msgpack")
	p.link.BlackHole(false)
	p.truth.set(false)
	testkit.Eventually(p.t, 20*time.Second, "a proof", p.fresh)
}

func (p *policy) fresh() bool { return !p.node.Stats().Cache.Fenced }

// ask asks in every way once, in any order, for any users.
func (p *policy) ask() {
	a, b := p.id(), p.id()
	many := fmt.Sprintf(`{"ids":[%q,%q,"900","bad id"]}`, a, b)
	tag := `"none"`
	if len(p.tags) > 0 {
		tag = p.tags[p.rng.IntN(len(p.tags))]
	}
	ways := [][]string{
		{"GET", "/v1/users/" + a, ""}, {"GET", "/v1/users/" + a, "", "Accept: application/msgpack"},
		{"GET", "/v1/users/" + a, "", "If-None-Match: " + tag}, {"GET", "/v1/users/" + a, "", "Cache-Control: no-cache"},
		{"HEAD", "/v1/users/" + a, ""}, {"GET", "/v1/users/" + a + "?fn=avatar&arg.size=64", ""},
		{"GET", "/v1/users/" + a + "?fn=avatar&arg.size=1", ""}, {"GET", "/v1/users/" + a + "?fn=hide", ""},
		{"GET", "/v1/users/" + a + "?minVersion=" + fmt.Sprint(1+p.rng.IntN(3)), ""}, {"GET", "/v1/users/900", ""},
		{"GET", "/v1/users/bad%20id", ""}, {"GET", "/v1/users?ids=" + a + "," + b + ",900", ""}, {"GET", "/v1/users?sources=1&ids=" + a + "," + b, "", "Accept: application/msgpack"},
		{"POST", "/v1/users/batch", many}, {"POST", "/v1/users/batch?fn=avatar&arg.size=64", many, "Accept: application/msgpack"},
		{"GET", "/v1/lookups", ""}, {"GET", "/v1/stats", ""}, {"GET", "/metrics", ""}, {"GET", "/health", ""}, {"GET", "/v1/cluster", ""},
		{"GET", "/v1/prewarm", ""}, {"GET", "/v1/users/" + a + "/why", ""},
	}
	p.forget(a)
	for _, i := range p.rng.Perm(len(ways)) {
		p.one(ways[i][0], ways[i][1], ways[i][2], ways[i][3:]...)
	}
	if tag := as(p.t, p.s, auth.RoleRead, "GET", "/v1/users/"+a, "").Header.Get("ETag"); tag != "" {
		p.one("GET", "/v1/users/"+a, "", "If-None-Match: "+tag)
	}
	// who may see all leaves it in memory
	if r := as(p.t, p.s, auth.RoleWrite, "GET", "/v1/users/"+b, ""); r.StatusCode == 200 {
		p.tags = append(p.tags, r.Header.Get("ETag"))
		p.seen["shown to others"] += strings.Count(r.body, secret)
	}
}

// one asks as a reader, and looks that nothing of the answer holds what is hidden.
func (p *policy) one(method, path, body string, headers ...string) {
	r := as(p.t, p.s, auth.RoleRead, method, path, body, headers...)
	if strings.Contains(r.body, secret) || strings.Contains(fmt.Sprint(r.Header), secret) {
		p.t.Errorf("%s %s %q: %d %v %q holds %s", method, path, headers, r.StatusCode, r.Header, r.body, secret)
	}
	if tag := r.Header.Get("ETag"); tag != "" {
		p.tags = append(p.tags, tag)
	}
	p.seen[strconv.Itoa(r.StatusCode)]++
	_, detail, _ := strings.Cut(r.Header.Get("Cache-Status"), "detail=")
	if detail != "" && detail[0] != '"' { // of one user
		p.seen[detail]++
	}
}

// TestNoAnswerHoldsWhatIsHidden has a node go through whatever changes the way of an answer, in any
// order, and asks for users in every way after each. No answer to a reader holds a registration
// number, in its body or in its headers.
func TestNoAnswerHoldsWhatIsHidden(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	p := newPolicy(t, seed)
	testkit.Eventually(t, 10*time.Second, "both functions", func() bool {
		return as(t, p.s, auth.RoleRead, "GET", "/v1/users/1?fn=avatar&arg.size=64", "").StatusCode == 200
	})
	steps := p.steps()
	names := make([]string, 0, len(steps))
	for name := range steps {
		names = append(names, name)
	}
	for range 2 {
		for _, i := range p.rng.Perm(len(names)) {
			steps[names[i]]()
			p.ask()
			if t.Failed() {
				t.Fatalf("after: %s", names[i])
			}
		}
		p.push("as", edge.PushOptions{})
		p.ask()
		p.cut() // with a version that works there is something stale
	}
	t.Logf("seen: %v", p.seen)
	for _, what := range []string{"L1", "L2", "origin", "stale", "200", "304", "400", "403", "404", "502", "joined", "prewarmed", "shown to others"} {
		if p.seen[what] == 0 {
			t.Errorf("no answer was of the kind %q: %v", what, p.seen)
		}
	}
}
