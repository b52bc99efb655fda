package tier

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// slowReads is a hook of the Redis client. It leads the first reads of profiles through their
// steps, so that one may overtake another.
type slowReads struct {
	calls chan *step
	left  atomic.Int32
}

func (h *slowReads) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *slowReads) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		return h.lead([]redis.Cmder{cmd}, func() error { return next(ctx, cmd) })
	}
}

func (h *slowReads) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return h.lead(cmds, func() error { return next(ctx, cmds) })
	}
}

func (h *slowReads) lead(cmds []redis.Cmder, run func() error) error {
	isRead := func(cmd redis.Cmder) bool { return cmd.Name() == "hgetall" }
	if !slices.ContainsFunc(cmds, isRead) || h.left.Add(-1) < 0 {
		return run()
	}
	s := &step{make(chan struct{}), make(chan struct{}), make(chan struct{})}
	h.calls <- s
	<-s.read
	err := run()
	close(s.done)
	<-s.answer
	return err
}

// rivals is a cache over a Redis that holds version 1 of user 1, and whose next two reads of
// profiles are led by the test.
type rivals struct {
	*testing.T
	*Cache
	origin *truth
	reads  *slowReads
}

func newRivals(t *testing.T) rivals {
	origin, url := newTruth(1), redistest.Server(t).URL()
	o, err := redis.ParseURL(url)
	check(t, err)
	// or one waits for another
	o.Protocol, o.AutoPipelineOptions = 2, &redis.AutoPipelineOptions{Unordered: true, MaxConcurrentBatches: 10}
	client := redis.NewClient(o)
	t.Cleanup(func() { _ = client.Close() })
	reads := &slowReads{calls: make(chan *step)}
	client.AddHook(reads)
	lower, err := l2.New(l2.Config{Client: client})
	check(t, err)
	c := newCache(t, url, origin, func(conf *Config) { conf.L2 = lower })
	_, err = lower.Apply(t.Context(), user("1", 1))
	check(t, err)
	reads.left.Store(2)
	return rivals{t, c, origin, reads}
}

// outcome is what a reader got: a version, or 0 for a user who is absent.
func (r rivals) outcome(got Result, err error) int64 {
	if err != nil {
		if !errors.Is(err, profile.ErrNotFound) {
			r.Errorf("get: %v", err)
		}
		return 0
	}
	return got.Version()
}

func (r rivals) read(w Want) func() int64 {
	return func() int64 { return r.outcome(r.GetWith(context.Background(), "1", w)) }
}

func (r rivals) readBatch() int64 {
	b, err := r.BatchGet(context.Background(), []string{"1"}, Want{})
	if err == nil && len(b.Missing) > 0 {
		err = profile.ErrNotFound
	}
	return r.outcome(b.Found["1"], err)
}

// begin starts what reads Redis, and returns its read and what it will answer.
func (r rivals) begin(read func() int64) (*step, chan int64) {
	answered := make(chan int64, 1)
	go func() { answered <- read() }()
	return <-r.reads.calls, answered
}

// change makes version 2 known to Redis, and not yet to the node.
func (r rivals) change() {
	r.origin.set(user("1", 2))
	_, err := r.l2.Apply(r.Context(), user("1", 2))
	check(r.T, err)
}

func (r rivals) delete() {
	_, err := r.l2.Remove(r.Context(), "1", 2)
	check(r.T, err)
}

// settled waits until the engine shows what it was given.
func (r rivals) settled() {
	eventually(r.T, "the ends of loads", func() bool { r.l1.drain(); return !r.flights.lingering() })
}

// Two loads of a user overtake each other, because what one of them began under has ended:
//
//	load A begins · an invalidation · load B begins, reads 1 · change to 2 · A reads and answers 2 · B answers 1
//
// B is the one that later readers join, and the one that L1 keeps. Who begins after 2 was answered
// gets nothing older all the same, neither from B nor from L1.
func TestOvertakenLoadDoesNotTakeBack(t *testing.T) {
	read := func(r rivals) func() int64 { return r.read(Want{}) }
	batch := func(r rivals) func() int64 { return r.readBatch }
	forget := func(r rivals) { r.Forget("1", 0) }
	change := func(r rivals) { r.change() }
	for name, c := range map[string]struct {
		first, second func(rivals) func() int64
		between       func(rivals)
		change        func(rivals)
		want          int64
	}{
		"an invalidation between":           {read, read, forget, change, 2},
		"one with a version":                {read, read, func(r rivals) { r.Forget("1", 1) }, change, 2},
		"an event":                          {read, read, func(r rivals) { r.Refresh(user("1", 1)) }, change, 2},
		"a flush":                           {read, read, func(r rivals) { r.Flush() }, change, 2},
		"two invalidations":                 {read, read, func(r rivals) { forget(r); forget(r) }, change, 2},
		"batches":                           {batch, batch, forget, change, 2},
		"a batch first":                     {batch, read, forget, change, 2},
		"a demand for a version":            {read, func(r rivals) func() int64 { return r.read(Want{MinVersion: 1}) }, forget, change, 2},
		"a demand for an age, no pair ends": {read, func(r rivals) func() int64 { return r.read(Want{MaxAge: 1}) }, func(r rivals) { r.clock.tick() }, change, 2},
		"the user is deleted":               {read, read, forget, func(r rivals) { r.delete() }, 0},
		"L1 is warmed":                      {read, warmed, forget, change, 2},
		"L1 is loaded ahead of its end":     {read, ahead, func(r rivals) { r.Forget("1", 0); r.hold() }, change, 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRivals(t)
			a, first := r.begin(c.first(r))
			c.between(r)
			b, second := r.begin(c.second(r))
			close(b.read)
			<-b.done
			c.change(r)
			close(a.read)
			close(a.answer)
			if got := <-first; got != c.want {
				t.Fatalf("load A answered %d; want %d", got, c.want)
			}
			joined := r.Stats().Joined
			third := make(chan int64, 1)
			go func() { third <- r.read(Want{})() }()
			eventually(t, "a reader of after the answer", func() bool { return len(third) > 0 || r.Stats().Joined > joined })
			close(b.answer)
			if got := <-third; got != c.want {
				t.Errorf("who began after the answer of %d got %d", c.want, got)
			}
			<-second
			for range 2 {
				if got := r.read(Want{})(); got != c.want {
					t.Errorf("later %d, after %d was answered", got, c.want)
				}
				r.settled()
			}
		})
	}
}

// warmed fills L1 from Redis, of which nobody is an answered reader.
func warmed(r rivals) func() int64 {
	return func() int64 {
		_, err := r.Warm(context.Background(), []string{"1"})
		if err != nil {
			r.Errorf("warm: %v", err)
		}
		return 0
	}
}

// The load that counts has ended first, and L1 holds what it brought.
func TestLateAnswerEndsWhatIsHeld(t *testing.T) {
	for name, c := range map[string]struct {
		hold   func(rivals)
		change func(rivals)
		want   int64
	}{
		"of a load":           {func(r rivals) { r.read(Want{})() }, func(r rivals) { r.change() }, 2},
		"of a batch":          {func(r rivals) { r.readBatch() }, func(r rivals) { r.change() }, 2},
		"warmed":              {func(r rivals) { warmed(r)() }, func(r rivals) { r.change() }, 2},
		"of a load, deleted":  {func(r rivals) { r.read(Want{})() }, func(r rivals) { r.delete() }, 0},
		"warmed, deleted":     {func(r rivals) { warmed(r)() }, func(r rivals) { r.delete() }, 0},
		"put there by events": {func(r rivals) { r.hold(); r.Refresh(user("1", 1)) }, func(r rivals) { r.change() }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRivals(t)
			r.reads.left.Store(1)
			a, first := r.begin(r.read(Want{}))
			r.Forget("1", 0)
			c.hold(r)
			c.change(r)
			close(a.read)
			close(a.answer)
			if got := <-first; got != c.want {
				t.Fatalf("the late load answered %d; want %d", got, c.want)
			}
			for range 2 {
				if got := r.read(Want{})(); got != c.want {
					t.Errorf("then %d from L1", got)
				}
				r.settled()
			}
		})
	}
}

// hold has L1 hold version 1, while another load is under way.
func (r rivals) hold() {
	left := r.reads.left.Swap(0)
	r.read(Want{})()
	h := r.l1.hash("1")
	eventually(r.T, "L1 to hold it", func() bool {
		s := r.flights.shard(h)
		s.mu.Lock()
		defer s.mu.Unlock()
		valid := r.l1.stamps.of(h)
		return s.openLocked(flightKey{h, valid}) == nil && r.l1.valid(r.l1.peek(h), h, valid)
	})
	r.reads.left.Store(left)
}

// ahead loads what L1 holds once more.
func ahead(r rivals) func() int64 {
	return func() int64 {
		h := r.l1.hash("1")
		r.refreshAhead(r.l1.peek(h), h)
		return 0
	}
}

// A reader who demands a version gets it from the origin; what Redis then refuses is not kept, and
// ends what is held.
func TestAnswerThatIsNotKeptEndsWhatIsHeld(t *testing.T) {
	origin := newTruth(1)
	c := newCache(t, redistest.Server(t).URL(), origin, nil)
	get(t, c, "1", Want{})
	getFrom(t, c, "1", look.FromL1)
	origin.set(user("1", 2))
	// and so its lease is gone
	origin.before = func(ctx context.Context, id string) error { return c.l2.Invalidate(ctx, id) }
	if r := get(t, c, "1", Want{MinVersion: 2}); r.Version() != 2 {
		t.Fatalf("version %d; want 2", r.Version())
	}
	if r := get(t, c, "1", Want{}); r.Version() != 2 {
		t.Errorf("then version %d from %v", r.Version(), r.Tier)
	}
}

// When L1 is full, what is read once is not kept. A warming that read Redis before does not put
// what is older there.
func TestWarmingDoesNotTakeBackWhatWasNotKept(t *testing.T) {
	r := newRivals(t)
	r.reads.left.Store(1)
	r.l1.admission.note(true)
	b, warm := r.begin(warmed(r))
	close(b.read)
	<-b.done
	r.change()
	if got := r.read(Want{})(); got != 2 {
		t.Fatalf("version %d; want 2", got)
	}
	close(b.answer)
	<-warm
	if got := r.read(Want{})(); got != 2 {
		t.Errorf("then version %d", got)
	}
}

// A reader finds nothing in L1, and is held up until L1 has been given what is older than it will
// read.
func TestReaderHeldUpBeforeItsLoadBinds(t *testing.T) {
	r := newRivals(t)
	r.reads.left.Store(0)
	late := &call{id: "1", hash: r.l1.hash("1")}
	r.hold()
	r.change()
	r.l1.admission.note(true) // what it reads is not kept
	got, err := r.miss(t.Context(), late, Want{})
	if v := r.outcome(got, err); v != 2 {
		t.Fatalf("version %d; want 2", v)
	}
	if v := r.read(Want{})(); v != 2 {
		t.Errorf("then %d", v)
	}
}
