package stream

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what has to happen. Generous: the machine may be busy with
// other tests.
const patience = 20 * time.Second

// await polls until ok.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
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

// recorder is a Handler that remembers its calls as text: "7@5" for an event, "flush trimmed" for a
// flush.
type recorder struct {
	mu     sync.Mutex
	calls  []string
	alive  int
	age    time.Duration // of the last proof of life
	events int

	onHandle func(Event) // called before the event is noted
	onFlush  func()
}

func (r *recorder) Handle(e Event) {
	if r.onHandle != nil {
		r.onHandle(e)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events++
	r.calls = append(r.calls, fmt.Sprintf("%s@%d", e.UserID, e.Version))
}

func (r *recorder) Flush(reason string) {
	if r.onFlush != nil {
		r.onFlush()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, "flush "+reason)
}

func (r *recorder) Alive(age time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.alive++
	r.age = age
}

func (r *recorder) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

func (r *recorder) flushes() (reasons []string) {
	for _, c := range r.list() {
		if reason, ok := strings.CutPrefix(c, "flush "); ok {
			reasons = append(reasons, reason)
		}
	}
	return reasons
}

func (r *recorder) has(call string) bool { return slices.Contains(r.list(), call) }

func (r *recorder) aliveCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.alive
}

// awaitAlive waits for n more proofs of life: two, for whatever was under way when it was called to
// be over.
func (r *recorder) awaitAlive(t testing.TB, n int) {
	t.Helper()
	from := r.aliveCount()
	await(t, "proof of life", func() bool { return r.aliveCount() >= from+n })
}

// tailClient is a client for one tail of url.
func tailClient(t testing.TB, url string) redis.UniversalClient {
	t.Helper()
	c, err := redisconn.OpenTail(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// startTail starts a tail of url that hands no old entries over. Blocks are short, so that tests
// are.
func startTail(t testing.TB, url string, h Handler) *Tail {
	t.Helper()
	return startTailWith(t, TailConfig{Client: tailClient(t, url), Handler: h, Replay: -1, Block: 50 * time.Millisecond})
}

func startTailWith(t testing.TB, cfg TailConfig) *Tail {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = testLogger(t)
	}
	tail, err := NewTail(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := tail.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tail.Close() })
	return tail
}

// add adds an entry that updates user 7 to version, trimmed to maxLen if that is not 0.
func add(t testing.TB, c redis.UniversalClient, version int64, args ...func(*redis.XAddArgs)) string {
	t.Helper()
	values, err := Encode(Event{Kind: profile.Updated, UserID: "7", Version: version, Profile: whole("7", version)})
	if err != nil {
		t.Fatal(err)
	}
	a := &redis.XAddArgs{Stream: Name, Values: values}
	for _, set := range args {
		set(a)
	}
	id, err := c.XAdd(t.Context(), a).Result()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func withID(id string) func(*redis.XAddArgs) { return func(a *redis.XAddArgs) { a.ID = id } }

func withMaxLen(n int64) func(*redis.XAddArgs) { return func(a *redis.XAddArgs) { a.MaxLen = n } }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// gate is a handler's brake: while it is shut, Handle waits.
type gate struct {
	mu      sync.Mutex
	waiting chan struct{}
	open    chan struct{}
}

func newGate() *gate {
	g := &gate{waiting: make(chan struct{}, 1), open: make(chan struct{})}
	close(g.open)
	return g
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
}

func (g *gate) pass(Event) {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-open:
	default:
		select {
		case g.waiting <- struct{}{}:
		default:
		}
		<-open
	}
}

// stopped is a server with a tail that has handled version 1 and stands still in the middle of
// version 2, so that a test can do to the stream what it likes before the tail looks again.
func stopped(t *testing.T) (*redistest.Proc, *recorder, *Tail, *gate) {
	t.Helper()
	server := redistest.Server(t)
	g := newGate()
	r := &recorder{onHandle: g.pass}
	tail := startTail(t, server.URL(), r)
	t.Cleanup(func() { // before the tail is closed, which waits for its handler
		select {
		case <-g.open:
		default:
			g.release()
		}
	})
	add(t, server.Client(), 1)
	await(t, "the first entry", func() bool { return r.has("7@1") })
	g.shut()
	add(t, server.Client(), 2)
	select {
	case <-g.waiting:
	case <-time.After(patience):
		t.Fatal("the tail did not read the second entry")
	}
	return server, r, tail, g
}
