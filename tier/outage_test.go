package tier

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// What the origin answered while Redis was down is not taken back when Redis returns with the
// record that it had before.
func TestRedisThatReturnsDoesNotTakeBack(t *testing.T) {
	server := redistest.ServerWith(t, redistest.Options{AOF: true})
	origin := newTruth(1)
	c := newCache(t, server.URL(), origin, nil)
	get := func() Result {
		r, err := c.Get(t.Context(), "1")
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	get()
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	origin.set(user("1", 2))
	c.Forget("1", 0)
	if r := get(); r.Version() != 2 || r.Tier != look.FromOrigin {
		t.Fatalf("without Redis: version %d from %v", r.Version(), r.Tier)
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for from := look.FromNone; from != look.FromL2; {
		c.Flush()
		r := get()
		if from = r.Tier; r.Version() != 2 || ctx.Err() != nil {
			t.Fatalf("version %d from %v; want 2, and from L2 in the end", r.Version(), from)
		}
	}
}

// stepwise is an origin whose first two calls are led through their steps by the test.
type stepwise struct {
	*truth
	calls chan *step
	led   atomic.Int32
}

// step is one call: it reads when read is closed, says so, and answers when answer is closed.
type step struct{ read, done, answer chan struct{} }

func (o *stepwise) Load(ctx context.Context, id string) (*profile.Profile, error) {
	if o.led.Add(1) > 2 {
		return o.truth.Load(ctx, id)
	}
	s := &step{make(chan struct{}), make(chan struct{}), make(chan struct{})}
	o.calls <- s
	<-s.read
	p, err := o.truth.Load(ctx, id)
	close(s.done)
	<-s.answer
	return p, err
}

// lingering reports whether a load is under way or has ended and is not forgotten.
func (f *flights) lingering() bool {
	for i := range f.shards {
		s := &f.shards[i]
		s.mu.Lock()
		n := len(s.calls)
		s.mu.Unlock()
		if n > 0 {
			return true
		}
	}
	return false
}

// Without Redis between them two loads of a user ask the origin at once. The one that began first
// is answered what is newer:
//
//	load A begins · invalidation · load B begins, reads 1 · change to 2 · A reads and answers 2 · B answers 1
//
// B is the load that counts, but what it brings does not take the place of what readers have seen.
func TestSlowAnswerOfTheOriginDoesNotTakeBack(t *testing.T) {
	server, origin := redistest.Server(t), &stepwise{truth: newTruth(1), calls: make(chan *step)}
	c := newCache(t, server.URL(), origin, nil)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	begin := func() (*step, chan Result) {
		answered := make(chan Result, 1)
		go func() {
			r, err := c.Get(context.Background(), "1")
			if err != nil {
				t.Error(err)
			}
			answered <- r
		}()
		return <-origin.calls, answered
	}
	a, first := begin()
	c.Forget("1", 0)
	b, second := begin()
	close(b.read)
	<-b.done
	origin.set(user("1", 2))
	close(a.read)
	close(a.answer)
	if r := <-first; r.Version() != 2 {
		t.Fatalf("the first reader got version %d; want 2", r.Version())
	}
	c.l1.drain()
	close(b.answer)
	<-second
	for c.flights.lingering() { // until the engine shows what it was given
		c.l1.drain()
	}
	if r := get(t, c, "1", Want{}); r.Version() != 2 {
		t.Errorf("version %d from %v after 2 was answered", r.Version(), r.Tier)
	}
}

// A Redis that hangs is known as such before the fence sends every reader there, even if no reader
// has asked it meanwhile, and none has to wait to find out that it is back.
func TestRedisThatHangsIsNoticedBeforeReadersDo(t *testing.T) {
	canary.Judge(t, hangingRedisIsNoticedBeforeReadersDo)
}

func hangingRedisIsNoticedBeforeReadersDo(t *testing.T, bird *canary.Canary) {
	server, origin := redistest.Server(t), newTruth(50)
	c := newCache(t, server.URL(), origin, func(conf *Config) { conf.FenceAfter = 3 * time.Second })
	c.Alive(0)
	for i := 1; i <= 50; i++ {
		get(t, c, strconv.Itoa(i), Want{})
	}
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Redis to count as down", func() bool { return c.l2.Down() })
	if !c.alive(c.clock.tick()) {
		t.Error("the fence had fallen before that")
	}
	eventually(t, "the fence to fall", func() bool { return !c.alive(c.clock.tick()) })
	for i := 1; i <= 50; i++ {
		began := time.Now()
		if r := get(t, c, strconv.Itoa(i), Want{MaxAge: 1}); r.Tier != look.FromOrigin {
			t.Fatalf("user %d: from %v; want the origin", i, r.Tier)
		}
		bird.Within(t, "a load", began, time.Second)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Redis to be asked again", func() bool { return !c.l2.Down() })
	if r := get(t, c, "1", Want{MaxAge: 1}); r.Tier != look.FromL2 {
		t.Errorf("from %v; want L2", r.Tier)
	}
}

// Readers who miss while Redis hangs make it count as down without its timeout.
func TestSilenceOfRedisIsNoticed(t *testing.T) { canary.Judge(t, silenceOfRedisIsNoticed) }

func silenceOfRedisIsNoticed(t *testing.T, bird *canary.Canary) {
	server, origin := redistest.Server(t), newTruth(2)
	c := newCache(t, server.URL(), origin, nil)
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	waiting := make(chan error, 1)
	go func() { _, err := c.Get(t.Context(), "1"); waiting <- err }()
	eventually(t, "Redis to count as down", func() bool { return c.l2.Down() })
	bird.Within(t, "noticing the silence", began, 900*time.Millisecond)
	if r := get(t, c, "2", Want{}); r.Tier != look.FromOrigin {
		t.Errorf("from %v; want the origin", r.Tier)
	}
	if err := <-waiting; err != nil {
		t.Error(err)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
}

// TestFullRedisLeavesNoLeases fills a Redis that evicts nothing, over which another node then finds
// the origin at once.
func TestFullRedisLeavesNoLeases(t *testing.T) {
	server := redistest.Server(t)
	const users = 12000
	origin := newTruth(users + 1)
	a, b := newCache(t, server.URL(), origin, nil), newCache(t, server.URL(), origin, nil)
	check(t, server.Client().ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err())
	check(t, server.Client().ConfigSet(t.Context(), "maxmemory", "4mb").Err())
	for _, c := range []*Cache{a, b} {
		for from := 1; from < users; from += 500 {
			var ids []string
			for i := from; i < from+500; i++ {
				ids = append(ids, strconv.Itoa(i))
			}
			got, err := c.BatchGet(t.Context(), ids, Want{})
			if err != nil || len(got.Found) != len(ids) {
				t.Fatalf("%d of %d found, %v, errors %.300v", len(got.Found), len(ids), err, got.Errors)
			}
		}
		left, err := server.Client().Keys(t.Context(), "{user:profile:*}:lease").Result()
		if err != nil || len(left) > 0 {
			t.Errorf("%d leases are left, %v", len(left), err)
		}
	}
	if a.Stats().L2Errors == 0 {
		t.Error("Redis was never full")
	}
}

// An origin that takes all the time of its loads, and a caller who leaves, say nothing about Redis.
// The lease of such a load ends with it.
func TestRedisIsNotBlamedForOthers(t *testing.T) {
	server, origin := redistest.Server(t), newTruth(20)
	var hangs atomic.Bool
	hangs.Store(true)
	c := newCache(t, server.URL(), hanging{origin, &hangs}, func(conf *Config) { conf.LoadDeadline = 300 * time.Millisecond })
	var readers sync.WaitGroup
	for i := range 20 {
		readers.Go(func() { _, _ = c.Get(t.Context(), strconv.Itoa(i+1)) })
	}
	readers.Wait()
	gone, leave := context.WithCancel(t.Context())
	leave()
	for range 10 {
		_, _ = c.Warm(gone, []string{"1"})
	}
	if c.l2.Down() {
		t.Error("Redis counts as down")
	}
	hangs.Store(false)
	began := time.Now()
	for i := range 20 {
		get(t, c, strconv.Itoa(i+1), Want{})
	}
	if n := c.Stats().LeaseWaits; n != 0 {
		t.Errorf("%d loads waited for a lease that nobody uses any more, %v", n, time.Since(began))
	}
}

// hanging is an origin that answers nothing before the end of the load.
type hanging struct {
	*truth
	on *atomic.Bool
}

func (h hanging) Load(ctx context.Context, id string) (*profile.Profile, error) {
	if h.on.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return h.truth.Load(ctx, id)
}
