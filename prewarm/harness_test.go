package prewarm

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"iter"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

var long = flag.Bool("long", false, "run the fault tests in full instead of in seconds")

// pick returns the short or the long form of a figure.
func pick[T any](short, full T) T {
	if *long {
		return full
	}
	return short
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what has to happen. Generous: the machine may be busy with
// other tests.
const patience = 60 * time.Second

// await polls until ok.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open returns a client that the test closes.
func open(t testing.TB, url string) redis.UniversalClient {
	t.Helper()
	c, err := redisconn.Open(url)
	check(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// truth is an origin in memory that counts who was asked for, and when.
type truth struct {
	mu    sync.Mutex
	asked map[string]int
	times []asking
	// unknown says who does not exist, fail which ids, and failBatch which calls are answered with
	// an error.
	unknown   func(id string) bool
	fail      func(id string, time int) error
	failBatch func(call int) error
	calls     int
	// takes is how long an answer takes.
	takes time.Duration
}

// asking is one call of the origin.
type asking struct {
	at time.Time
	n  int
}

func newTruth() *truth { return &truth{asked: map[string]int{}} }

func (o *truth) Load(ctx context.Context, id string) (*profile.Profile, error) {
	b, err := o.LoadBatch(ctx, []string{id})
	switch {
	case err != nil:
		return nil, err
	case b.Errors[id] != nil:
		return nil, b.Errors[id]
	case b.Found[id] == nil:
		return nil, profile.ErrNotFound
	}
	return b.Found[id], nil
}

func (o *truth) LoadBatch(ctx context.Context, ids []string) (profile.Batch, error) {
	b, err := o.answer(ids)
	if o.takes > 0 {
		select {
		case <-time.After(o.takes):
		case <-ctx.Done():
			return b, context.Cause(ctx)
		}
	}
	return b, err
}

func (o *truth) answer(ids []string) (profile.Batch, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls++
	o.times = append(o.times, asking{time.Now(), len(ids)})
	b := profile.Batch{Found: map[string]*profile.Profile{}, Errors: map[string]error{}}
	for _, id := range ids {
		o.asked[id]++
		if o.fail != nil {
			if err := o.fail(id, o.asked[id]); err != nil {
				b.Errors[id] = err
				continue
			}
		}
		if o.unknown != nil && o.unknown(id) {
			b.Missing = append(b.Missing, id)
			continue
		}
		b.Found[id] = person(id)
	}
	if o.failBatch != nil {
		if err := o.failBatch(o.calls); err != nil {
			return profile.Batch{}, err
		}
	}
	return b, nil
}

func person(id string) *profile.Profile {
	return &profile.Profile{ID: id, Nom: "Ngo Mbé", Prenom: "Amélie", FullName: "Amélie Ngo Mbé " + id, Avatar: "/avatars/" + id + ".webp",
		Matricule: "623456-K", Ministere: "MINSANTE", Sexe: "F", UpdatedAt: 1_700_000_000_000}
}

// total returns how many users were asked for, and how many of them more than once.
func (o *truth) total() (asked, again int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, n := range o.asked {
		asked += n
		if n > 1 {
			again++
		}
	}
	return asked, again
}

// busiest returns the most users asked for within any second, and when that second ended.
func (o *truth) busiest() (most int, end time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	times := slices.Clone(o.times)
	slices.SortFunc(times, func(a, b asking) int { return a.at.Compare(b.at) })
	sum, first := 0, 0
	for _, a := range times {
		for sum += a.n; a.at.Sub(times[first].at) >= time.Second; first++ {
			sum -= times[first].n
		}
		if sum > most {
			most, end = sum, a.at
		}
	}
	return most, end
}

// keeps fails the test if any second had more than rate users, and a tenth. Users who were asked
// for on time may reach the origin late and all at once, if the machine stands still in between.
func (o *truth) keeps(t *testing.T, bird *canary.Canary, rate float64) {
	t.Helper()
	most, end := o.busiest()
	takes := time.Duration(float64(most) / (rate * excess) * float64(time.Second))
	t.Logf("%d users in the busiest second", most)
	if !bird.Excuses("the users of one second", end.Add(-takes), end, time.Second) {
		t.Errorf("%d users in a second; want at most %.0f", most, rate*excess)
	}
}

// town is a cluster of nodes in this process over one Redis and one origin, whose membership the
// test controls.
type town struct {
	testing.TB
	url    string
	origin *truth
	change func(*Config)
	// deadline of a load: long, because the machine may be busy, and a load given up is asked for
	// again.
	deadline time.Duration
	l1       int64 // bytes; 0 for the default

	mu      sync.Mutex
	living  []*citizen
	changed chan struct{}
	born    int
}

// citizen is one node, and its Membership.
type citizen struct {
	*Runner
	town  *town
	name  string
	cache *tier.Cache
	stop  func()
}

func newTown(t testing.TB, url string, change func(*Config)) *town {
	return &town{TB: t, url: url, origin: newTruth(), change: change, deadline: 20 * time.Second, changed: make(chan struct{})}
}

// onRedis is a town over a Redis of its own, with so many nodes that have long settled.
func onRedis(t testing.TB, nodes int, change func(*Config)) *town {
	w := newTown(t, redistest.Server(t).URL(), change)
	for range nodes {
		w.found()
	}
	return w
}

// found is join long ago.
func (w *town) found() *citizen {
	w.Helper()
	c := w.join()
	c.Runner.mu.Lock()
	defer c.Runner.mu.Unlock()
	c.started = c.started.Add(-time.Hour)
	return c
}

// Owned implements Membership by rendezvous hashing.
func (c *citizen) Owned() (*[profile.Ranges]bool, int) {
	c.town.mu.Lock()
	defer c.town.mu.Unlock()
	owned := new([profile.Ranges]bool)
	if !slices.Contains(c.town.living, c) {
		return owned, len(c.town.living) + 1
	}
	for n := range owned {
		owned[n] = c.town.ownerLocked(n) == c
	}
	return owned, len(c.town.living)
}

func (w *town) ownerLocked(n int) (owner *citizen) {
	var most uint64
	for _, c := range w.living {
		h := fnv.New64a()
		_, _ = fmt.Fprintf(h, "%d %s", n, c.name)
		if s := h.Sum64() * 0x9e3779b97f4a7c15; owner == nil || s > most {
			owner, most = c, s
		}
	}
	return owner
}

// Changed implements Membership.
func (c *citizen) Changed() <-chan struct{} {
	c.town.mu.Lock()
	defer c.town.mu.Unlock()
	return c.town.changed
}

func (w *town) tellLocked() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// join starts a node and makes it a member.
func (w *town) join() *citizen {
	w.Helper()
	w.mu.Lock()
	w.born++
	c := &citizen{town: w, name: "node" + strconv.Itoa(w.born)}
	w.mu.Unlock()
	client, err := redisconn.Open(w.url)
	check(w, err)
	lower, err := l2.New(l2.Config{Client: client})
	check(w, err)
	c.cache, err = tier.New(tier.Config{L2: lower, Origin: w.origin, FenceAfter: -1, LoadDeadline: w.deadline, L1Bytes: w.l1})
	check(w, err)
	check(w, c.cache.Start(w.Context()))
	conf := Config{Client: client, Cache: c.cache, Members: c, Node: c.name, Logger: logger(w)}
	if w.change != nil {
		w.change(&conf)
	}
	c.Runner, err = New(conf)
	check(w, err)
	if w.deadline > 2*time.Second { // no second try has to outlast a lease
		c.again = 100 * time.Millisecond
	}
	c.stop = sync.OnceFunc(func() {
		_ = c.Close()
		_ = c.cache.Close()
		_ = client.Close()
	})
	w.Cleanup(c.stop)
	check(w, c.Start(w.Context()))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.living = append(w.living, c)
	w.tellLocked()
	return c
}

// bury takes a node out of the membership.
func (w *town) bury(c *citizen) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.living = slices.DeleteFunc(w.living, func(o *citizen) bool { return o == c })
	w.tellLocked()
}

// kill ends a node as if its process were gone: what it had under way is cut, nobody is told by it.
func (w *town) kill(c *citizen) {
	_ = c.store.client.Close() // its last words do not get through
	c.stop()
	w.bury(c)
}

// run begins a run on the first node, and waits for its end.
func (w *town) run(o Options) Status {
	w.Helper()
	return w.wait(w.begin(o))
}

func (w *town) begin(o Options) string {
	w.Helper()
	id, err := w.living[0].Begin(w.Context(), o)
	check(w, err)
	return id
}

func (w *town) wait(id string) Status {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	s, err := w.living[0].Wait(ctx, id)
	check(w, err)
	return s
}

// warm fails the test unless every user is in the memory of every node.
func (w *town) warm(users []User) {
	w.Helper()
	before, _ := w.origin.total()
	for _, c := range w.living {
		cold := 0
		for _, u := range users {
			r, err := c.cache.Get(w.Context(), u.ID)
			if err != nil || r.Tier != look.FromL1 {
				cold++
			}
		}
		if cold > 0 {
			w.Errorf("%d of %d users are not in the memory of %s", cold, len(users), c.name)
		}
	}
	if after, _ := w.origin.total(); after != before {
		w.Errorf("%d users were still not in Redis", after-before)
	}
}

func logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// list is a Source in memory.
type list struct {
	name   string
	users  []User
	err    error
	panics bool
	gate   chan struct{} // closed when it may end; nil for at once
}

func (l list) Name() string { return cmp.Or(l.name, "list") }

func (l list) Active(ctx context.Context, _ time.Time) iter.Seq2[User, error] {
	return func(yield func(User, error) bool) {
		for _, u := range l.users {
			if !yield(u, nil) {
				return
			}
		}
		if l.panics {
			panic("a source of foreign code")
		}
		if l.gate != nil {
			select {
			case <-l.gate:
			case <-ctx.Done():
			}
		}
		if l.err != nil {
			yield(User{}, l.err)
		}
	}
}

// people returns n users, the first of them the newest.
func people(n int) []User {
	now := time.Now()
	users := make([]User, n)
	for i := range users {
		users[i] = User{ID: "u" + strconv.Itoa(i+1), LastActive: now.Add(-time.Duration(i) * time.Millisecond)}
	}
	return users
}

func from(users []User) []Source { return []Source{list{users: users}} }

var errDown = errors.New("the origin is down")

// lines joins lines of text.
func lines(l ...string) string { return strings.Join(l, "\n") }
