package tier

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/kv"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// openStore opens a store in dir, which the test closes.
func openStore(t *testing.T, dir string) *kv.Store {
	t.Helper()
	s, err := kv.Open(kv.Config{Dir: dir, Every: 5 * time.Millisecond})
	check(t, err)
	t.Cleanup(func() { check(t, s.Close()) })
	return s
}

// withStore returns a cache that has a store and has caught up.
func withStore(t *testing.T, url string, origin Loader, s *kv.Store, change func(*Config)) *Cache {
	t.Helper()
	c := newCache(t, url, origin, func(conf *Config) {
		conf.Store = s
		if change != nil {
			change(conf)
		}
	})
	c.Alive(0)
	return c
}

// forgetMemory empties L1 and nothing else.
func (c *Cache) forgetMemory() {
	c.l1.open.Lock()
	defer c.l1.open.Unlock()
	c.l1.engine.Clear()
}

func ask(t *testing.T, c *Cache, id string) Result {
	t.Helper()
	r, err := c.Get(t.Context(), id)
	if err != nil {
		t.Fatalf("get %s: %v", id, err)
	}
	return r
}

func settled(t *testing.T, c *Cache) {
	t.Helper()
	eventually(t, "loads to be forgotten", func() bool { return !c.flights.lingering() })
}

// What a process has held, the next one answers at once, with its age, and no call of anybody.
func TestStoreOutlivesTheProcess(t *testing.T) {
	server, origin, dir := redistest.Server(t), newTruth(3), t.TempDir()
	s, err := kv.Open(kv.Config{Dir: dir})
	check(t, err)
	c := withStore(t, server.URL(), origin, s, nil)
	for id := range 3 {
		ask(t, c, strconv.Itoa(id+1))
	}
	s.Checkpoint([]byte("here"))
	check(t, c.Close())
	check(t, s.Close())
	c = withStore(t, server.URL(), origin, openStore(t, dir), nil)
	asked := origin.calls.Load()
	r := ask(t, c, "2")
	if r.Tier != look.FromStore || r.Age <= 0 || r.Age > time.Minute || r.Profile.FullName != user("2", 1).FullName {
		t.Errorf("answered from %v, %v old: %+v", r.Tier, r.Age, r.Profile)
	}
	if r := ask(t, c, "2"); r.Tier != look.FromL1 {
		t.Errorf("then answered from %v", r.Tier)
	}
	if st := c.Stats(); st.StoreHits != 1 || st.L2Hits != 0 || origin.calls.Load() != asked {
		t.Errorf("%+v, origin asked %d times more", st, origin.calls.Load()-asked)
	}
	if got, err := c.Warm(t.Context(), []string{"1", "2", "3"}); err != nil || got != 3 || c.Stats().L2Hits != 0 {
		t.Errorf("warmed %d, %v, Redis was read for %d", got, err, c.Stats().L2Hits)
	}
}

// Each way in which what is held ends, ends it in the store.
func TestWhatEndsAnEntryEndsItInTheStore(t *testing.T) {
	type world struct {
		c      *Cache
		origin *truth
	}
	for name, end := range map[string]func(t *testing.T, w world){
		"an invalidation": func(t *testing.T, w world) { w.origin.set(user("1", 2)); check(t, w.c.Invalidate(t.Context(), "1")) },
		"a change that tells no more than its version": func(t *testing.T, w world) {
			w.origin.set(user("1", 2))
			check(t, w.c.l2.Invalidate(t.Context(), "1"))
			w.c.Forget("1", 2)
		},
		"a hint": func(t *testing.T, w world) {
			w.origin.set(user("1", 2))
			_, err := w.c.l2.Hint(t.Context(), "1", "0001", nil)
			check(t, err)
			w.c.Heed("1", Hint{Order: "0001"})
		},
		"a whole profile": func(t *testing.T, w world) {
			w.origin.set(user("1", 2))
			check(t, w.c.Put(t.Context(), user("1", 2)))
		},
		"a reader who asks for more": func(t *testing.T, w world) {
			w.origin.set(user("1", 2))
			_, err := w.c.l2.Apply(t.Context(), user("1", 2))
			check(t, err)
			r, err := w.c.GetWith(t.Context(), "1", Want{MinVersion: 2})
			if err != nil || r.Version() != 2 {
				t.Fatalf("%+v, %v", r, err)
			}
		},
		"a reader who asks for newer": func(t *testing.T, w world) {
			w.origin.set(user("1", 2))
			_, err := w.c.l2.Apply(t.Context(), user("1", 2))
			check(t, err)
			if r, err := w.c.GetWith(t.Context(), "1", Want{MaxAge: 1}); err != nil || r.Version() != 2 {
				t.Fatalf("%+v, %v", r, err)
			}
		},
	} {
		for _, resident := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, in L1: %v", name, resident), func(t *testing.T) {
				t.Parallel()
				w := world{origin: newTruth(1)}
				w.c = withStore(t, redistest.Server(t).URL(), w.origin, openStore(t, t.TempDir()), nil)
				ask(t, w.c, "1")
				settled(t, w.c)
				if !resident {
					w.c.forgetMemory()
				}
				end(t, w)
				settled(t, w.c)
				w.c.forgetMemory()
				if r := ask(t, w.c, "1"); r.Version() != 2 {
					t.Errorf("version %d from %v", r.Version(), r.Tier)
				}
			})
		}
	}
}

// A whole profile takes the place of an older one in the store, and not that of a newer one.
func TestAChangeRenewsTheStore(t *testing.T) {
	origin := newTruth(1)
	c := withStore(t, redistest.Server(t).URL(), origin, openStore(t, t.TempDir()), nil)
	ask(t, c, "1")
	settled(t, c)
	for _, change := range []struct{ version, want int64 }{{3, 3}, {2, 0}} {
		c.forgetMemory()
		c.Refresh(user("1", change.version))
		r, _ := c.store.Get("1")
		if r.Version != change.want {
			t.Errorf("after a change to %d the store has %d, want %d", change.version, r.Version, change.want)
		}
	}
	c.Refresh(user("2", 5))
	if _, ok := c.store.Get("2"); ok {
		t.Error("a change brought a user into the store that nobody had asked for")
	}
}

// Nothing of the store counts as fresh before the stream was followed to its end, and after the
// fence has fallen.
func TestStoreIsFenced(t *testing.T) {
	server, origin := redistest.Server(t), newTruth(1)
	c := newCache(t, server.URL(), origin, func(conf *Config) {
		conf.Store, conf.FenceAfter = openStore(t, t.TempDir()), time.Second
	})
	answers := func(want look.Tier) {
		t.Helper()
		settled(t, c)
		c.forgetMemory()
		if r := ask(t, c, "1"); r.Tier != want {
			t.Errorf("answered from %v, want %v", r.Tier, want)
		}
	}
	answers(look.FromOrigin)
	answers(look.FromL2)
	c.Alive(0)
	answers(look.FromStore)
	c.fence.until.Store(1)
	answers(look.FromL2)
}

// After a gap an entry counts again when Redis has its version; the others are gone.
func TestAfterAGapVersionsAreCompared(t *testing.T) {
	server, origin := redistest.Server(t), newTruth(5)
	c := withStore(t, server.URL(), origin, openStore(t, t.TempDir()), nil)
	for id := 1; id <= 5; id++ {
		ask(t, c, strconv.Itoa(id))
	}
	settled(t, c)
	ctx := t.Context()
	eventually(t, "the store to be written", func() bool { st := c.store.Stats(); return st.Entries == 5 && st.Pending == 0 })
	_, err := c.l2.Apply(ctx, user("1", 2)) // nobody is told of these
	check(t, err)
	check(t, c.l2.Invalidate(ctx, "2"))
	_, err = c.l2.Remove(ctx, "3", 2)
	check(t, err)
	c.Flush()
	eventually(t, "the doubts to end", func() bool { return c.Stats().Vouched == 2 && c.store.Stats().Entries == 2 })
	for id, want := range map[string]bool{"1": false, "2": false, "3": false, "4": true, "5": true} {
		if _, ok := c.store.Get(id); ok != want {
			t.Errorf("user %s counts: %v, want %v", id, ok, want)
		}
	}
	if r := ask(t, c, "4"); r.Tier != look.FromStore {
		t.Errorf("answered from %v", r.Tier)
	}
}

// Without Redis and the origin a store answers what it holds, marked, as long as it is young
// enough; not what was deleted or invalidated, nor what is in doubt.
func TestStoreAlone(t *testing.T) {
	server, origin, dir := redistest.Server(t), newTruth(5), t.TempDir()
	s, err := kv.Open(kv.Config{Dir: dir})
	check(t, err)
	c := withStore(t, server.URL(), origin, s, nil)
	for id := 1; id <= 4; id++ {
		ask(t, c, strconv.Itoa(id))
	}
	c.Forget("2", 2)
	c.Heed("3", Hint{Order: "0001"})
	s.Checkpoint([]byte("here"))
	check(t, c.Close())
	check(t, s.Close())
	check(t, server.Kill())
	origin.before = func(context.Context, string) error { return errors.New("down") }
	lower, err := l2.New(l2.Config{Client: open(t, server.URL())})
	check(t, err)
	c, err = New(Config{L2: lower, Origin: origin, Store: openStore(t, dir)})
	check(t, err)
	t.Cleanup(func() { check(t, c.Close()) })
	check(t, c.StartAlone())
	for id, want := range map[string]bool{"1": true, "2": false, "3": false, "4": true, "5": false} {
		r, err := c.Get(t.Context(), id)
		if want && (err != nil || r.Tier != look.FromStale || r.Age <= 0) || !want && !errors.Is(err, profile.ErrUnavailable) {
			t.Errorf("user %s: from %v, %v old, %v; want an answer: %v", id, r.Tier, r.Age, err, want)
		}
	}
	c.Flush()
	if r, err := c.Get(t.Context(), "1"); !errors.Is(err, profile.ErrUnavailable) {
		t.Errorf("after a gap: %v from %v", err, r.Tier)
	}
	c.conf.MaxStale = time.Nanosecond
	if r, err := c.Get(t.Context(), "4"); !errors.Is(err, profile.ErrUnavailable) {
		t.Errorf("too old: %v from %v", err, r.Tier)
	}
}

// What was written to Redis beside the stream while the node was down is seen after the first read.
func TestWritesWhileTheNodeWasDown(t *testing.T) {
	for name, write := range map[string]func(context.Context, *Cache) error{
		"DEL": func(ctx context.Context, c *Cache) error { return c.l2.Invalidate(ctx, "1") },
		"a change": func(ctx context.Context, c *Cache) error {
			_, err := c.l2.Apply(ctx, user("1", 2))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			server, origin, dir := redistest.Server(t), newTruth(2), t.TempDir()
			s, err := kv.Open(kv.Config{Dir: dir})
			check(t, err)
			c := withStore(t, server.URL(), origin, s, nil)
			ask(t, c, "1")
			ask(t, c, "2")
			s.Checkpoint([]byte("here"))
			check(t, c.Close())
			check(t, s.Close())
			origin.set(user("1", 2))
			check(t, write(t.Context(), c))
			c = withStore(t, server.URL(), origin, openStore(t, dir), func(conf *Config) { conf.Watched = true })
			ask(t, c, "1")
			ask(t, c, "2")
			eventually(t, "version 2", func() bool { c.Compare(t.Context(), nil); return ask(t, c, "1").Version() == 2 })
			eventually(t, "the other to be this session's", func() bool {
				c.Compare(t.Context(), nil)
				r, ok := c.store.Get("2")
				return ok && !r.Inherited
			})
			if st := c.Stats(); st.StoreHits < 2 {
				t.Errorf("the store answered %d times", st.StoreHits)
			}
		})
	}
}

// A store many times larger than L1.
func TestStoreLargerThanMemory(t *testing.T) {
	const users = 20_000
	server, origin := redistest.Server(t), newTruth(users)
	c := withStore(t, server.URL(), origin, openStore(t, t.TempDir()), func(conf *Config) { conf.L1Bytes = 1 << 20 })
	ids := make([]string, users)
	for i := range ids {
		ids[i] = strconv.Itoa(i + 1)
	}
	for range 2 {
		for rest := ids; len(rest) > 0; rest = rest[min(MaxBatch, len(rest)):] {
			b, err := c.BatchGet(t.Context(), rest[:min(MaxBatch, len(rest))], Want{})
			if err != nil || len(b.Errors)+len(b.Missing) > 0 {
				t.Fatalf("%d errors, %d missing, %v", len(b.Errors), len(b.Missing), err)
			}
		}
		settled(t, c)
	}
	if st := c.Stats(); st.L2Hits+st.OriginLoads > users+users/20 || st.StoreHits < users*8/10 {
		t.Errorf("%d from L1, %d from the store, %d from Redis, %d from the origin", st.L1Hits, st.StoreHits, st.L2Hits, st.OriginLoads)
	}
}

// What the store has is older than what another load is about to show: a load that began in between
// does not take it.
func TestStoreIsNotOlderThanAnAnswer(t *testing.T) {
	c := withStore(t, redistest.Server(t).URL(), newTruth(1), openStore(t, t.TempDir()), nil)
	ask(t, c, "1")
	settled(t, c)
	h := c.l1.hash("1")
	load := func() *call { return &call{id: "1", hash: h, pair: c.l1.stamps.of(h), began: c.clock.tick()} }
	newer, later := load(), load()
	c.flights.join(newer, 0, false)
	c.l1.stamps.bump(h) // the pair of newer has ended
	c.flights.bind(newer, newEntry(user("1", 2)), c.l1.stamps)
	later.pair = c.l1.stamps.of(h)
	c.flights.join(later, 0, false)
	if e := c.freshStored(later); e != nil {
		t.Errorf("the store answers version %d, while 2 is about to be shown", e.profile.UpdatedAt)
	}
	c.flights.finish(newer, nil, look.FromNone, profile.ErrUnavailable, false)
	c.flights.finish(later, nil, look.FromNone, profile.ErrUnavailable, false)
	if e := c.freshStored(load()); e == nil {
		t.Error("the store has nothing")
	}
}

// TestStormWithStores is TestStorm over nodes that have a store, and lose their memory all the
// time.
func TestStormWithStores(t *testing.T) {
	s := newStorm(t)
	for i, c := range s.nodes {
		check(t, c.Close())
		s.nodes[i] = withStore(t, s.url, s.origin, openStore(t, t.TempDir()), nil)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, c := range s.nodes {
		c.background.Go(func() {
			for id := 1; ctx.Err() == nil; id = id%stormUsers + 1 {
				c.l1.free(c.l1.hash(strconv.Itoa(id))) // as an eviction would
				pause(ctx, 100*time.Microsecond)
			}
		})
	}
	s.run(t, *stormFor/2, false)
	cancel()
	var hits uint64
	for _, c := range s.nodes {
		hits += c.Stats().StoreHits
		if st := c.store.Stats(); st.Off != "" || st.Damaged > 0 {
			t.Errorf("%+v", st)
		}
	}
	t.Logf("%v; store hits %d", s.oracle.Stats(), hits)
	if err := s.oracle.Err(); err != nil {
		t.Error(err)
	}
	if hits == 0 {
		t.Errorf("the store has answered nothing: the storm did not blow")
	}
}

// A damaged value, and one under another id, is a miss.
func TestStoreThatLies(t *testing.T) {
	s := openStore(t, t.TempDir())
	c := withStore(t, redistest.Server(t).URL(), newTruth(3), s, nil)
	always := func() bool { return true }
	s.Put("1", kv.Record{Version: 9, Loaded: time.Now(), Packed: []byte{1, 2, 3}}, always)
	s.Put("2", kv.Record{Version: 9, Loaded: time.Now(), Packed: profile.AppendMsgpack(nil, user("3", 9))}, always)
	s.Put("3", kv.Record{Version: 9, Loaded: time.Now().Add(time.Hour), Packed: profile.AppendMsgpack(nil, user("3", 9))}, always)
	for id := 1; id <= 3; id++ {
		if r := ask(t, c, strconv.Itoa(id)); r.Version() != 1 || r.Tier != look.FromOrigin {
			t.Errorf("user %d: version %d from %v", id, r.Version(), r.Tier)
		}
	}
}
