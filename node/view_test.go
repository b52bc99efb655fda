package node

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/edge/guests"
	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
)

// withFunctions starts nodes that run edge functions.
func withFunctions(t *testing.T, url string, from tier.Loader, n int, change ...func(*edge.FunctionsConfig)) []*Node {
	t.Helper()
	nodes := make([]*Node, n)
	for i := range nodes {
		conf := edge.FunctionsConfig{}
		for _, f := range change {
			f(&conf)
		}
		var err error
		if nodes[i], err = New(Config{RedisURL: url, Origin: from, Functions: &conf}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nodes[i].Close() })
		if err := nodes[i].Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return nodes
}

// example returns a module of the examples.
func example(t testing.TB, name string) []byte {
	t.Helper()
	wasm, err := guests.Modules.ReadFile("prebuilt/" + name + ".c.wasm")
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

func through(role string, names ...string) Through {
	return Through{Functions: names, Request: edge.Request{Claims: edge.Map{"role": role}}}
}

func push(t *testing.T, n *Node, name, module string) edge.Pushed {
	t.Helper()
	p, err := n.Functions().Push(t.Context(), name, example(t, module), edge.PushOptions{})
	if err != nil || len(p.Unready) > 0 {
		t.Fatalf("push: %+v, %v", p, err)
	}
	return p
}

// registered is an origin whose users have what the examples hide and show.
func registered(n int) *people {
	p := newPeople(n)
	for _, q := range p.m {
		q.Matricule, q.Avatar = "M-"+q.ID, "/a/"+q.ID
		q.Attrs = map[string]string{"name.fr": "Mme " + q.Nom}
	}
	return p
}

func TestViewOnThreeNodes(t *testing.T) {
	server := redistest.Server(t)
	from := registered(10)
	nodes := withFunctions(t, server.URL(), from, 3)
	push(t, nodes[0], "hide", "hide-matricule")
	for i, n := range nodes {
		testkit.Eventually(t, time.Second, "the function", func() bool {
			_, err := n.View(t.Context(), "1", through("guest", "hide"), tier.Want{})
			return !errors.Is(err, edge.ErrUnknown)
		})
		for range 3 { // the second is kept
			guest, err := n.View(t.Context(), "1", through("guest", "hide"), tier.Want{})
			if err != nil || guest.Profile.Matricule != "" || guest.Profile.Nom != "Diop 1" || guest.Tag == 0 {
				t.Fatalf("node %d shows a guest %+v, %v", i, guest.Profile, err)
			}
			reader, err := n.View(t.Context(), "1", through("read", "hide"), tier.Want{})
			if err != nil || reader.Profile.Matricule != "M-1" || reader.Tag == guest.Tag {
				t.Fatalf("node %d shows a reader %+v, %v", i, reader.Profile, err)
			}
			if packed, err := profile.DecodeMsgpack(guest.Packed()); err != nil || packed.Matricule != "" {
				t.Fatalf("the packed bytes of a guest: %+v, %v", packed, err)
			}
		}
		if s := n.Stats().Functions; len(s) != 1 || s[0].Calls > 4 || s[0].Calls == 0 || !s[0].Loaded {
			t.Errorf("node %d: %+v", i, s)
		}
	}
	got, err := nodes[1].BatchView(t.Context(), []string{"1", "2", "404"}, through("guest", "hide"), tier.Want{})
	if err != nil || len(got.Found) != 2 || got.Found["2"].Profile.Matricule != "" || len(got.Missing) != 1 {
		t.Errorf("batch: %+v, %v", got, err)
	}
	late := withFunctions(t, server.URL(), from, 1)[0] // a node that starts later has it
	if v, err := late.View(t.Context(), "1", through("", "hide"), tier.Want{}); err != nil || v.Profile.Matricule != "" {
		t.Errorf("a node that starts later: %+v, %v", v.Profile, err)
	}
}

func TestStagesGoOneThroughTheOther(t *testing.T) {
	n := withFunctions(t, redistest.Server(t).URL(), registered(2), 1)[0]
	for _, name := range []string{"hide-matricule", "display-name", "avatar-size"} {
		push(t, n, name, name)
	}
	all := Through{Functions: []string{"hide-matricule", "display-name", "avatar-size"},
		Request: edge.Request{Args: edge.Map{"size": "64"}, Locale: "fr-CM"}}
	for range 2 {
		v, err := n.View(t.Context(), "1", all, tier.Want{})
		if err != nil || v.Profile.Matricule != "" || v.Profile.FullName != "Mme Diop 1" || v.Profile.Avatar != "/a/1?size=64" {
			t.Fatalf("%+v, %v", v.Profile, err)
		}
	}
	all.Args = edge.Map{"size": "1"}
	for range 2 {
		if _, err := n.View(t.Context(), "1", all, tier.Want{}); !errors.Is(err, edge.ErrRefused) {
			t.Errorf("a refusal of the last: %v", err)
		}
	}
	if _, err := n.View(t.Context(), "1", through("", "nobody"), tier.Want{}); !errors.Is(err, edge.ErrUnknown) {
		t.Errorf("a function that is not there: %v", err)
	}
	if _, err := n.View(t.Context(), "404", all, tier.Want{}); !errors.Is(err, profile.ErrNotFound) {
		t.Errorf("a user who is not there: %v", err)
	}
}

// TestAChangeEndsWhatWasKept updates a user, then the function, then removes it.
func TestAChangeEndsWhatWasKept(t *testing.T) {
	from := registered(2)
	nodes := withFunctions(t, redistest.Server(t).URL(), from, 2)
	push(t, nodes[0], "f", "hide-matricule")
	see := func(n *Node) (*profile.Profile, error) {
		v, err := n.View(t.Context(), "1", Through{Functions: []string{"f"}, Request: edge.Request{Locale: "fr"}}, tier.Want{})
		return v.Profile, err
	}
	for _, n := range nodes {
		p, err := see(n)
		check(t, err)
		if p.Matricule != "" || p.FullName != "Awa Diop 1" {
			t.Fatalf("%+v", p)
		}
	}
	changed := person("1", 2)
	changed.FullName, changed.Matricule = "Another", "M-2"
	from.set(changed)
	check(t, nodes[0].Put(t.Context(), changed))
	for _, n := range nodes {
		testkit.Eventually(t, time.Second, "the new profile, shown as before", func() bool {
			p, err := see(n)
			if err != nil || p.Matricule != "" {
				t.Fatalf("%+v, %v", p, err)
			}
			return p.FullName == "Another"
		})
	}
	push(t, nodes[1], "f", "display-name")
	deadline := time.Now().Add(250 * time.Millisecond)
	for _, n := range nodes {
		for {
			p, err := see(n)
			if err != nil {
				t.Fatal(err)
			}
			if p.Matricule == "M-2" {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the old version answers 250 ms after the push")
			}
		}
	}
	if _, err := nodes[0].Functions().Rollback(t.Context(), "f", 0); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, time.Second, "the version before", func() bool {
		p, err := see(nodes[1])
		return err == nil && p.Matricule == ""
	})
	check(t, nodes[0].Functions().Remove(t.Context(), "f"))
	testkit.Eventually(t, time.Second, "no function", func() bool {
		_, err := see(nodes[1])
		return errors.Is(err, edge.ErrUnknown)
	})
	if keys := nodes[0].client.Keys(t.Context(), "{edgecache:fn}:module:*").Val(); len(keys) != 0 {
		t.Errorf("modules are left: %v", keys)
	}
}

// TestFailuresFence has a function that fails: five lookups are told why, further ones that it is
// not called.
func TestFailuresFence(t *testing.T) {
	n := withFunctions(t, redistest.Server(t).URL(), registered(20), 1)[0]
	for _, open := range []bool{false, true} {
		name := fmt.Sprint("starved-", open)
		o := edge.PushOptions{Fuel: 10, Open: open}
		if _, err := n.Functions().Push(t.Context(), name, example(t, "hide-matricule"), o); err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for i := range 8 {
			v, err := n.View(t.Context(), fmt.Sprint(i+1), through("", name), tier.Want{})
			switch failure, _ := errors.AsType[*edge.Failure](err); {
			case err == nil && v.Profile.Matricule != "":
				kinds = append(kinds, "open")
			case errors.Is(err, edge.ErrFuel) && failure.Function == name:
				kinds = append(kinds, "fuel")
			case errors.Is(err, edge.ErrFenced) && failure.Function == name:
				kinds = append(kinds, "fenced")
			default:
				t.Fatalf("%+v, %v", v.Profile, err)
			}
		}
		want := map[bool]string{false: "fuel fuel fuel fuel fuel fenced fenced fenced", true: "fuel fuel fuel fuel fuel open open open"}[open]
		if got := strings.Join(kinds, " "); got != want {
			t.Errorf("open %v: %s", open, got)
		}
	}
	push(t, n, "starved-false", "hide-matricule") // a new version has a fence of its own
	if v, err := n.View(t.Context(), "1", through("", "starved-false"), tier.Want{}); err != nil || v.Profile.Matricule != "" {
		t.Errorf("after a push: %+v, %v", v.Profile, err)
	}
}

// TestOtherNodesAndServicesPassOverFunctions looks at the stream as a node without functions and a
// worker see it.
func TestOtherNodesAndServicesPassOverFunctions(t *testing.T) {
	server := redistest.Server(t)
	plain := start(t, server.URL(), registered(2))
	n := withFunctions(t, server.URL(), registered(2), 1)[0]
	push(t, n, "f", "hide-matricule")
	if _, err := plain.View(t.Context(), "1", through("", "f"), tier.Want{}); !errors.Is(err, ErrNoFunctions) {
		t.Errorf("a node without functions: %v", err)
	}
	entries := server.Client().XRange(t.Context(), "events:users", "-", "+").Val()
	if len(entries) != 2 || entries[0].Values["payload"] != `{"event":"user.profile.invalidated","userId":"edgecache:functions"}` ||
		entries[0].Values["function"] != "f" {
		t.Errorf("entries %+v", entries)
	}
	testkit.Eventually(t, 5*time.Second, "the worker", func() bool {
		return plain.Stats().Worker.Entries+n.Stats().Worker.Entries >= 2
	})
	if dead := server.Client().Exists(t.Context(), "events:users:dead").Val(); dead != 0 {
		t.Error("an entry about a function is a dead letter")
	}
	if s := plain.Stats().Stream; len(s.Refused) != 0 || len(s.Gaps) != 0 {
		t.Errorf("the tail: %+v", s)
	}
}

// TestANodeThatWasCutOffAnswersByNoOldVersion has a node hear nothing while a version is pushed.
// Once it is connected again, the first lookups wait for what serves now.
func TestANodeThatWasCutOffAnswersByNoOldVersion(t *testing.T) {
	server := redistest.Server(t)
	from := registered(5)
	near := withFunctions(t, server.URL(), from, 1, func(c *edge.FunctionsConfig) { c.PushWait = 50 * time.Millisecond })[0]
	proxy := redistest.ProxyTo(t, strings.TrimPrefix(server.URL(), "redis://"))
	far, err := New(Config{RedisURL: "redis://" + proxy.Addr, Origin: from, Functions: &edge.FunctionsConfig{},
		Tier: tier.Config{FenceAfter: MinFenceAfter}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = far.Close() })
	if err := far.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := near.Functions().Push(t.Context(), "f", example(t, "hide-matricule"), edge.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	hides := func() bool {
		t.Helper()
		v, err := far.View(t.Context(), "1", through("", "f"), tier.Want{})
		if err != nil {
			t.Fatal(err)
		}
		return v.Profile.Matricule == ""
	}
	testkit.Eventually(t, 10*time.Second, "the first version", func() bool {
		v, err := far.View(t.Context(), "1", through("", "f"), tier.Want{})
		return err == nil && v.Profile.Matricule == ""
	})
	proxy.BlackHole(true)
	testkit.Eventually(t, 10*time.Second, "the fence", func() bool { return !far.cache.Fresh() })
	p, err := near.Functions().Push(t.Context(), "f", example(t, "display-name"), edge.PushOptions{})
	if err != nil || len(p.Unready) == 0 {
		t.Fatalf("%+v, %v", p, err)
	}
	if !hides() {
		t.Error("a node that is cut off has a version that it cannot know")
	}
	proxy.BlackHole(false)
	testkit.Eventually(t, 10*time.Second, "a proof", func() bool { return far.cache.Fresh() })
	if hides() {
		t.Error("a node that has caught up answers by the version before")
	}
}

// A version on trial serves the users of its share on every node, alone and in batches, with a tag
// of its own; the one before serves the others.
func TestATrialShowsItsShareTheNewVersion(t *testing.T) {
	nodes := withFunctions(t, redistest.Server(t).URL(), registered(40), 2)
	push(t, nodes[0], "shape", "avatar-size")
	if _, err := nodes[0].Functions().Push(t.Context(), "shape", example(t, "hide-matricule"), edge.PushOptions{Share: 0.5}); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for i := range 40 {
		ids = append(ids, fmt.Sprint(i+1))
	}
	tags := map[uint64]int{}
	for _, n := range nodes {
		batch, err := n.BatchView(t.Context(), ids, through("guest", "shape"), tier.Want{})
		if err != nil || len(batch.Found) != len(ids) {
			t.Fatalf("%+v, %v", batch, err)
		}
		for _, id := range ids {
			one, err := n.View(t.Context(), id, through("guest", "shape"), tier.Want{})
			if err != nil || one.Profile.Matricule != batch.Found[id].Profile.Matricule {
				t.Fatalf("user %s: alone %+v, %v, in a batch %+v", id, one.Profile, err, batch.Found[id].Profile)
			}
			if hidden := one.Profile.Matricule == ""; hidden {
				tags[one.Tag]++
			} else {
				tags[one.Tag]--
			}
		}
	}
	// 12 to 28 of 40 are 95 % of the draws; the ids are always the same.
	var onTrial, others int
	for _, n := range tags {
		onTrial, others = onTrial+max(n, 0), others+max(-n, 0)
	}
	if len(tags) != 2 || onTrial+others != 80 || onTrial%2 != 0 || onTrial < 24 || others < 24 {
		t.Errorf("%d lookups on trial, %d others, by tag %v", onTrial, others, tags)
	}
}
