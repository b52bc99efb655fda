package api

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream/history"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
	"github.com/chatapp-ngomna/edgecache/ui"
)

// fakeNode answers from a map, or for any id when generated is set.
type fakeNode struct {
	mu          sync.Mutex
	users       map[string]tier.Result
	errs        map[string]error
	generated   bool
	wants       []tier.Want
	put         []*profile.Profile
	invalidated []string
	fails       error // of every call
	begun       []prewarm.Options
	statusFails error // of PrewarmStatus
	notReady    error
	blocked     chan struct{} // when set, lookups wait until it is closed or their context ends
	sampled     atomic.Int64  // who have lookups timed
	entered     chan struct{} // when set, told of each lookup that waits
}

func newFake(ids ...string) *fakeNode {
	f := &fakeNode{users: make(map[string]tier.Result), errs: make(map[string]error)}
	for _, id := range ids {
		f.users[id] = result(id, look.FromL1)
	}
	return f
}

// result is a typical answer: some 160 bytes packed.
func result(id string, t look.Tier) tier.Result {
	p := &profile.Profile{ID: id, Nom: "Ngo Bassong", Prenom: "Thérèse", FullName: "Thérèse Ngo Bassong",
		Avatar: "/avatars/" + id + ".webp", Matricule: "MAT-" + id, Ministere: "Ministère de la Santé publique",
		Sexe: "F", UpdatedAt: 1732406400000}
	return tier.Result{Tier: t, Age: 42 * time.Second}.As(p)
}

func (f *fakeNode) GetWith(ctx context.Context, id string, want tier.Want) (tier.Result, error) {
	if f.generated {
		return result(id, look.FromL1), nil
	}
	if f.blocked != nil {
		f.entered <- struct{}{}
		select {
		case <-f.blocked:
		case <-ctx.Done():
			return tier.Result{}, context.Cause(ctx)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wants = append(f.wants, want)
	if err := f.errs[id]; err != nil {
		return tier.Result{}, err
	}
	if res, ok := f.users[id]; ok {
		return res, f.fails
	}
	return tier.Result{}, fmt.Errorf("tier: load %q: %w", id, profile.ErrNotFound)
}

func (f *fakeNode) BatchGet(ctx context.Context, ids []string, want tier.Want) (tier.Batch, error) {
	f.mu.Lock()
	f.wants = append(f.wants, want)
	f.mu.Unlock()
	b := tier.Batch{Found: make(map[string]tier.Result), Errors: make(map[string]error)}
	if len(ids) > 10_000 {
		return b, fmt.Errorf("%w: %d; at most 10000", tier.ErrTooMany, len(ids))
	}
	missing := make(map[string]bool)
	for _, id := range ids {
		if err := profile.CheckID(id); err != nil {
			b.Errors[id] = err
		} else if err := f.errs[id]; err != nil {
			b.Errors[id] = err
		} else if res, ok := f.users[id]; ok {
			b.Found[id] = res
		} else if f.generated {
			b.Found[id] = result(id, look.FromL2)
		} else if !missing[id] {
			missing[id] = true
			b.Missing = append(b.Missing, id)
		}
	}
	return b, f.fails
}

func (f *fakeNode) Put(_ context.Context, p *profile.Profile) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put = append(f.put, p)
	return f.fails
}

func (f *fakeNode) Invalidate(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.invalidated = append(f.invalidated, id)
	return f.fails
}

// Why knows of the users that GetWith finds.
func (f *fakeNode) Why(_ context.Context, id string) (node.Why, error) {
	w := node.Why{Node: "a", At: time.Now(), Past: history.Past{Events: []history.Line{}}}
	w.ID, w.Read, w.Memory.State = id, look.Reading{Tier: "origin", Missing: true, Because: "nobody has it"}, look.CopyNone
	if res, ok := f.users[id]; ok {
		w.Read = look.Reading{Tier: "L1", Version: res.Version(), Because: "memory holds it"}
		w.Memory = look.Copy{State: look.CopyValid, Profile: res.Profile, Age: 5}
		w.Past.Events = append(w.Past.Events, history.Line{ID: "5-0", At: time.UnixMilli(5), User: id, Form: "bare"})
	}
	return w, f.fails
}

func (f *fakeNode) DeadLetters(context.Context, int) ([]node.DeadLetter, error) {
	return []node.DeadLetter{{ID: "6-0", Entry: "5-0", At: time.UnixMilli(6).UTC(), Reason: "it is no JSON", Deliveries: 1, User: "12"}}, f.fails
}

func (f *fakeNode) Stats() node.Stats {
	return node.Stats{Cache: tier.Stats{TotalCached: 7, L1Hits: 5}, L2TTL: profile.Millis(7 * 24 * time.Hour)}
}

func (f *fakeNode) Times() node.Times { return node.Times{} }

func (f *fakeNode) Ready() error { return f.notReady }

func (f *fakeNode) Cluster() node.Cluster {
	return node.Cluster{Self: "a", Members: []node.Member{{Name: "a", State: "alive", Weight: 1, Ranges: 1024, Warmth: 0.5}}}
}

func (f *fakeNode) BeginPrewarm(_ context.Context, o prewarm.Options) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.begun = append(f.begun, o)
	return "r1", f.fails
}

func (f *fakeNode) CancelPrewarm(context.Context) error { return f.fails }

func (f *fakeNode) PrewarmStatus(context.Context) (prewarm.Status, error) {
	return prewarm.Status{State: prewarm.Running, Planned: 10, Counts: prewarm.Counts{TotalProcessed: 4, Cached: 3}}, f.statusFails
}

func (f *fakeNode) Tick() {}

func (f *fakeNode) SampleLookups() (stop func()) {
	f.sampled.Add(1)
	return func() { f.sampled.Add(-1) }
}

func (f *fakeNode) Lookups() []look.Lookup {
	return []look.Lookup{
		{At: time.UnixMilli(1732406400000), ID: "1", Tier: look.FromL1, Took: 400 * time.Nanosecond},
		{At: time.UnixMilli(1732406401000), ID: "12", Tier: look.FromOrigin, Took: 60 * time.Millisecond},
		{At: time.UnixMilli(1732406402000), ID: "9", Absent: true, Took: 2 * time.Millisecond},
	}
}

func ids(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = strconv.Itoa(i)
	}
	return out
}

// hotNode answers every lookup with the same hit.
type hotNode struct {
	*fakeNode
	res tier.Result
}

func newHot(id string) hotNode { return hotNode{newFake(id), result(id, look.FromL1)} }

func (h hotNode) GetWith(context.Context, string, tier.Want) (tier.Result, error) { return h.res, nil }

// panicking panics where others answer.
type panicking struct{ *fakeNode }

func (panicking) GetWith(context.Context, string, tier.Want) (tier.Result, error) { panic("seeded") }

// fakeDemo knows the fault "redis".
type fakeDemo struct{ on atomic.Bool }

func (d *fakeDemo) State() ui.DemoState {
	return ui.DemoState{Faults: []ui.Fault{{Name: "redis", Title: "Kill Redis", Says: "Memory is fenced.", On: d.on.Load()}},
		Promises: []ui.Promise{{Says: "No answer is older than 3.25 s.", Kept: true, Seen: "0.2 s"}}}
}

func (d *fakeDemo) Break(fault string, on bool) error {
	if fault != "redis" {
		return fmt.Errorf("%w: %q; want redis", ui.ErrFault, fault)
	}
	d.on.Store(on)
	return nil
}
