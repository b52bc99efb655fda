package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// memory is an Applier that notes its calls, such as "apply 7@5", and the versions that it holds.
type memory struct {
	mu       sync.Mutex
	calls    []string
	versions map[string]int64
	fail     func(call string) error
}

func newMemory() *memory { return &memory{versions: make(map[string]int64)} }

func (m *memory) note(verb, id string, version int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	call := fmt.Sprintf("%s %s@%d", verb, id, version)
	m.calls = append(m.calls, call)
	if m.fail != nil {
		return m.fail(call)
	}
	return nil
}

func (m *memory) raise(id string, version int64, create bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	held, there := m.versions[id]
	if held >= version || !there && !create {
		return false
	}
	m.versions[id] = version
	return true
}

func (m *memory) Apply(_ context.Context, p *profile.Profile) (bool, error) {
	err := m.note("apply", p.ID, p.UpdatedAt)
	return err == nil && m.raise(p.ID, p.UpdatedAt, true), err
}

func (m *memory) Replace(_ context.Context, p *profile.Profile) (bool, error) {
	err := m.note("replace", p.ID, p.UpdatedAt)
	return err == nil && m.raise(p.ID, p.UpdatedAt, false), err
}

func (m *memory) Remove(_ context.Context, id string, version int64) (bool, error) {
	err := m.note("remove", id, version)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.versions, id)
	return true, err
}

func (m *memory) Hint(_ context.Context, id, order string, says *profile.Patch) (bool, error) {
	call := "forget"
	if says != nil {
		call = "hint"
	}
	err := m.note(call, id, int64(len(order)))
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.versions, id)
	return true, err
}

func (m *memory) list() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.calls)
}

func (m *memory) count(call string) (n int) {
	for _, c := range m.list() {
		if c == call {
			n++
		}
	}
	return n
}

func (m *memory) snapshot() map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.versions)
}

func startWorker(t testing.TB, url string, a Applier, set ...func(*WorkerConfig)) *Worker {
	t.Helper()
	cfg := WorkerConfig{Client: tailClient(t, url), Applier: a, Block: 20 * time.Millisecond, Logger: testLogger(t)}
	for _, s := range set {
		s(&cfg)
	}
	w, err := NewWorker(cfg)
	must(t, err)
	// it may be loading after a restart
	for err = w.Start(t.Context()); isReply(err); err = w.Start(t.Context()) {
	}
	must(t, err)
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func claimAfter(d time.Duration) func(*WorkerConfig) {
	return func(c *WorkerConfig) { c.ClaimAfter = d }
}

// put adds an entry with the given fields.
func put(t testing.TB, c redis.UniversalClient, id string, pairs ...any) string {
	t.Helper()
	got, err := c.XAdd(t.Context(), &redis.XAddArgs{Stream: Name, ID: id, Values: pairs}).Result()
	must(t, err)
	return got
}

func deadOf(t testing.TB, c redis.UniversalClient) *DeadLetters {
	t.Helper()
	d, err := NewDeadLetters(DeadConfig{Client: c})
	must(t, err)
	return d
}

func TestAWorkerAppliesEachKindOfEvent(t *testing.T) {
	server := redistest.Server(t)
	c := server.Client()
	m := newMemory()
	m.versions["old"], m.versions["part"], m.versions["late"] = 1, 1, 9
	startWorker(t, server.URL(), m)
	now := time.Now()
	minutesAgo := func(n time.Duration) string { return fmt.Sprintf("%d-1", now.Add(-n*time.Minute).UnixMilli()) }
	whole := func(id string, version int64) []any {
		values, err := Encode(updated(id, version))
		must(t, err)
		return values
	}
	put(t, c, minutesAgo(9), whole("old", 5)...)
	put(t, c, minutesAgo(8), whole("none", 5)...)
	put(t, c, "*", whole("new", 5)...)
	put(t, c, "*", append(whole("older", 5), fieldReplayOf, minutesAgo(7))...)
	put(t, c, "*", "payload", `{"event":"user.profile.updated","userId":"part","avatar":"x","timestamp":5}`)
	put(t, c, "*", "payload", `{"event":"user.profile.updated","userId":"late","avatar":"x","timestamp":5}`)
	put(t, c, "*", "payload", `{"event":"user.profile.created","userId":"nobody","avatar":"x","timestamp":5}`)
	put(t, c, "*", "payload", `{"event":"user.profile.updated","userId":"vague","timestamp":5}`)
	put(t, c, "*", "payload", `{"event":"user.profile.updated","userId":"when","avatar":"x"}`)
	put(t, c, "*", "payload", `{"event":"user.profile.deleted","userId":"theirs","timestamp":5}`)
	put(t, c, "*", "payload", `{"event":"user.profile.deleted","userId":"gone","timestamp":5}`, "version", "5")
	put(t, c, "*", "payload", `{"event":"user.profile.deleted","userId":"gone2"}`)
	put(t, c, "*", "payload", `{"event":"user.profile.invalidated","userId":"doubt","timestamp":5}`)
	want := []string{"replace old@5", "replace none@5", "apply new@5", "replace older@5", "hint part@32", "hint late@32",
		"hint nobody@32", "forget vague@32", "hint when@32", "forget theirs@32", "remove gone@5", "forget gone2@32", "forget doubt@32"}
	await(t, "the last call", func() bool { return len(m.list()) >= len(want) })
	if got := m.list(); !slices.Equal(got, want) {
		t.Errorf("calls\n%v, want\n%v", got, want)
	}
	if got, want := m.snapshot(), map[string]int64{"old": 5, "new": 5}; !maps.Equal(got, want) {
		t.Errorf("it holds %v, want %v", got, want)
	}
	await(t, "acknowledgement", func() bool {
		b, err := Inspect(t.Context(), c, "", "")
		return err == nil && b.Pending == 0 && b.Delivered == b.LastID && b.Length == 13 && b.Dead == 0
	})
}

func TestAnEntryThatFailsGoesToTheDeadLetters(t *testing.T) {
	server := redistest.Server(t)
	c := server.Client()
	m := newMemory()
	m.fail = func(call string) error {
		switch call {
		case "apply 7@666":
			return errors.New("broken")
		case "apply 7@667":
			panic("broken too")
		}
		return nil
	}
	w := startWorker(t, server.URL(), m, claimAfter(30*time.Millisecond))
	var ids []string
	for _, v := range []int64{1, 666, 667, 1000} {
		ids = append(ids, add(t, c, v))
	}
	dead := deadOf(t, c)
	var letters []DeadLetter
	await(t, "two dead letters", func() bool {
		letters, _ = dead.List(t.Context(), "", 10)
		return len(letters) == 2
	})
	slices.SortFunc(letters, func(a, b DeadLetter) int { return strings.Compare(a.Entry, b.Entry) })
	for i, want := range []struct{ entry, reason string }{{ids[1], "broken"}, {ids[2], "broken too"}} {
		l := letters[i]
		if l.Entry != want.entry || l.Deliveries != 5 || !strings.Contains(l.Reason, want.reason) || l.Fields["payload"] == "" || l.Fields["profile"] == "" || l.Cut {
			t.Errorf("letter %+v, want %+v", l, want)
		}
	}
	if n := m.count("apply 7@666"); n != 5 {
		t.Errorf("tried %d times", n)
	}
	await(t, "a clean group", func() bool {
		b, err := Inspect(t.Context(), c, "", "")
		return err == nil && b.Pending == 0 && b.Dead == 2
	})
	if s := w.Stats(); s.Dead["failed"] != 2 || s.Failed != 10 || m.snapshot()["7"] != 1000 {
		t.Errorf("stats %+v", s)
	}
}

func TestADeadLetterCanBePutBack(t *testing.T) {
	server := redistest.Server(t)
	c := server.Client()
	m := newMemory()
	broken := true
	m.fail = func(string) error {
		if broken { // under the memory's lock
			return errors.New("broken")
		}
		return nil
	}
	startWorker(t, server.URL(), m, claimAfter(20*time.Millisecond))
	old := fmt.Sprintf("%d-3", time.Now().Add(-5*time.Minute).UnixMilli())
	values, err := Encode(updated("7", 5))
	must(t, err)
	put(t, c, old, append(values, "reason", "theirs", "source", "test")...)
	dead := deadOf(t, c)
	var letters []DeadLetter
	await(t, "the dead letter", func() bool {
		letters, _ = dead.List(t.Context(), "", 10)
		return len(letters) == 1
	})
	if l := letters[0]; l.Entry != old || l.Fields["reason"] != "theirs" || l.Fields["source"] != "test" || len(l.Fields) != 4 {
		t.Fatalf("letter %+v", l)
	}
	for round := range 2 { // the second time it has been a dead letter before
		id, err := dead.Replay(t.Context(), letters[0].ID)
		must(t, err)
		if entries := c.XRange(t.Context(), Name, id, id).Val(); len(entries) != 1 || entries[0].Values["reason"] != "theirs" || entries[0].Values[fieldReplayOf] != old {
			t.Fatalf("round %d put back %v", round, entries)
		}
		if round == 0 {
			await(t, "the dead letter once more", func() bool {
				letters, _ = dead.List(t.Context(), "", 10)
				return len(letters) == 1
			})
			m.mu.Lock()
			broken, m.calls = false, nil
			m.mu.Unlock()
		}
	}
	await(t, "the event", func() bool { return len(m.list()) > 0 })
	if got := m.list(); got[0] != "replace 7@5" {
		t.Errorf("calls %v: an event of five minutes ago may create nothing", got)
	}
	if _, err := dead.Replay(t.Context(), letters[0].ID); !errors.Is(err, ErrNoEntry) {
		t.Errorf("put back twice: %v", err)
	}
}

func TestDeadLettersRefuse(t *testing.T) {
	server := redistest.Server(t)
	dead := deadOf(t, server.Client())
	for _, after := range []string{"x", "5-x"} {
		if _, err := dead.List(t.Context(), after, 1); !errors.Is(err, ErrMalformed) {
			t.Errorf("list after %q: %v", after, err)
		}
		if _, err := dead.Replay(t.Context(), after); !errors.Is(err, ErrMalformed) {
			t.Errorf("replay %q: %v", after, err)
		}
	}
	if _, err := dead.List(t.Context(), "", 0); !errors.Is(err, ErrMalformed) {
		t.Errorf("list of none: %v", err)
	}
	if _, err := NewDeadLetters(DeadConfig{}); !errors.Is(err, errConfig) {
		t.Error(err)
	}
	fields := map[string]any{"payload": strings.Repeat("x", maxPayload+1)}
	for i := range 50 {
		fields[fmt.Sprintf("f%d", i)] = "y"
	}
	must(t, dead.add(t.Context(), redis.XMessage{ID: "5-5", Values: fields}, strings.Repeat("r", 1000), 1))
	letters, err := dead.List(t.Context(), "", 5000)
	must(t, err)
	l := letters[0]
	if !l.Cut || len(l.Fields) != maxDeadFields || len(l.Fields["payload"]) > maxDeadValue || len(l.Reason) != maxReason {
		t.Errorf("%d fields, payload of %d bytes, reason of %d", len(l.Fields), len(l.Fields["payload"]), len(l.Reason))
	}
	if _, err := dead.Replay(t.Context(), l.ID); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if rest, err := dead.List(t.Context(), l.ID, 10); err != nil || len(rest) != 0 {
		t.Errorf("after the last: %v, %v", rest, err)
	}
}

// TestBadEntriesDoNotStopAWorker: they are dead letters at once; those that name a user invalidate
// him.
func TestBadEntriesDoNotStopAWorker(t *testing.T) {
	server := redistest.Server(t)
	c := server.Client()
	m := newMemory()
	w := startWorker(t, server.URL(), m)
	put(t, c, "*", "payload", "{")
	put(t, c, "*", "payload", strings.Repeat("x", maxPayload+1))
	put(t, c, "*", "payload", `{"userId":"8","event":"user.profile.renamed"}`)
	add(t, c, 1)
	await(t, "the good entry", func() bool { return m.snapshot()["7"] == 1 })
	await(t, "the dead", func() bool { return len(w.Stats().Dead) == 3 })
	if want := map[string]uint64{refusedMalformed: 1, refusedTooLarge: 1, refusedKind: 1}; !maps.Equal(w.Stats().Dead, want) {
		t.Errorf("dead %v, want %v", w.Stats().Dead, want)
	}
	if m.count("forget 8@32") == 0 {
		t.Errorf("calls %v", m.list())
	}
}

// TestADeadWorkersEntriesAreTakenOver also shows that a part that comes after a later one is not
// lost.
func TestADeadWorkersEntriesAreTakenOver(t *testing.T) {
	server := redistest.Server(t)
	c := server.Client()
	m := newMemory()
	m.versions["7"] = 1
	must(t, c.XGroupCreateMkStream(t.Context(), Name, defaultGroup, "0").Err())
	put(t, c, "*", "payload", `{"event":"user.profile.updated","userId":"7","avatar":"x","timestamp":5}`)
	_, err := c.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: defaultGroup, Consumer: "dead", Streams: []string{Name, ">"}}).Result()
	must(t, err)
	// nothing to read again
	must(t, c.Set(t.Context(), Name+":worker:servers", runID(t, c), 0).Err())
	put(t, c, "*", "payload", `{"event":"user.profile.updated","userId":"7","matricule":"m","timestamp":6}`)
	w := startWorker(t, server.URL(), m, claimAfter(300*time.Millisecond))
	await(t, "both", func() bool { return m.count("hint 7@32") > 1 })
	await(t, "an empty backlog", func() bool {
		b, err := Inspect(t.Context(), c, "", "")
		return err == nil && b.Pending == 0
	})
	if got, want := m.list(), []string{"hint 7@32", "hint 7@32"}; !slices.Equal(got, want) {
		t.Errorf("calls %v, want %v", got, want)
	}
	if s := w.Stats(); s.Claimed != 1 || s.Rereads != 0 {
		t.Errorf("stats %+v", s)
	}
}

func runID(t testing.TB, c *redis.Client) string {
	var who identity
	who.parse(c.Info(t.Context(), "server").Val())
	return who.runID
}

// TestAnEntryThatNeverFinishesIsBuriedUntried: the worker that takes it may be killed by it.
func TestAnEntryThatNeverFinishesIsBuriedUntried(t *testing.T) {
	server := redistest.Server(t)
	c := server.Client()
	must(t, c.XGroupCreateMkStream(t.Context(), Name, defaultGroup, "0").Err())
	must(t, c.Set(t.Context(), Name+":worker:servers", runID(t, c), 0).Err())
	id := add(t, c, 5)
	must(t, c.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: defaultGroup, Consumer: "dead", Streams: []string{Name, ">"}}).Err())
	for range 4 {
		must(t, c.XClaim(t.Context(), &redis.XClaimArgs{Stream: Name, Group: defaultGroup, Consumer: "dead", Messages: []string{id}}).Err())
	}
	m := newMemory()
	w := startWorker(t, server.URL(), m, claimAfter(time.Millisecond))
	await(t, "the dead letter", func() bool { return w.Stats().Dead["failed"] == 1 })
	if len(m.list()) != 0 {
		t.Errorf("calls %v", m.list())
	}
}

// TestWorkersShareTheGroup: with one of them dying all the time, every event is applied.
func TestWorkersShareTheGroup(t *testing.T) {
	server := redistest.Server(t)
	c := server.Client()
	m := newMemory()
	stop := make(chan struct{})
	var group sync.WaitGroup
	for range 2 {
		startWorker(t, server.URL(), m, claimAfter(100*time.Millisecond))
	}
	group.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				w := startWorker(t, server.URL(), m, claimAfter(100*time.Millisecond))
				_ = w.Close()
			}
		}
	})
	const users = 1500
	for i := range users {
		values, err := Encode(updated(fmt.Sprint("u", i), int64(i+1)))
		must(t, err)
		put(t, c, "*", values...)
	}
	await(t, "all users", func() bool { return len(m.snapshot()) == users })
	close(stop)
	group.Wait()
	await(t, "an empty backlog", func() bool {
		b, err := Inspect(t.Context(), c, "", "")
		return err == nil && b.Pending == 0 && b.Delivered == b.LastID
	})
}

// TestAfterAFailoverTheLastMinutesAreAppliedAgain, by a worker that saw it and by one that was
// started after it.
func TestAfterAFailoverTheLastMinutesAreAppliedAgain(t *testing.T) {
	server := redistest.ServerWith(t, redistest.Options{AOF: true})
	c := server.Client()
	m := newMemory()
	w := startWorker(t, server.URL(), m)
	add(t, c, 1)
	await(t, "the event", func() bool { return m.snapshot()["7"] == 1 })
	forget := func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		clear(m.versions)
	}
	forget()
	must(t, server.Restart())
	await(t, "the event again", func() bool { return m.snapshot()["7"] == 1 })
	must(t, w.Close())
	forget()
	must(t, server.Restart())
	startWorker(t, server.URL(), m)
	await(t, "the event once more", func() bool { return m.snapshot()["7"] == 1 })
	startWorker(t, server.URL(), m)
	add(t, c, 2)
	await(t, "the next event", func() bool { return m.snapshot()["7"] == 2 })
	if ttl := c.TTL(t.Context(), Name+":worker:servers").Val(); ttl <= 0 || ttl > serversTTL {
		t.Errorf("the servers are remembered for %v", ttl)
	}
}

func TestAWorkerOfACluster(t *testing.T) {
	cluster := redistest.Cluster(t)
	m := newMemory()
	w := startWorker(t, cluster.URL(), m)
	add(t, cluster.Client(), 1)
	put(t, cluster.Client(), "*", "payload", "{")
	await(t, "the event", func() bool { return m.snapshot()["7"] == 1 })
	await(t, "the dead letter", func() bool { return w.Stats().Dead[refusedMalformed] == 1 })
	master, err := cluster.Client().MasterForKey(t.Context(), Name)
	must(t, err)
	before := w.Stats().Rereads
	for _, node := range cluster.Nodes {
		if node.Addr != master.Options().Addr {
			must(t, node.Restart()) // it holds none of the stream, but some of the second tier
			break
		}
	}
	must(t, cluster.AwaitOK(t.Context()))
	await(t, "another reading", func() bool { return w.Stats().Rereads > before })
}

func TestAWorkerOfTheEmbeddedServer(t *testing.T) {
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	m := newMemory()
	m.fail = func(call string) error {
		if call == "apply 7@666" {
			return errors.New("broken")
		}
		return nil
	}
	w := startWorker(t, "redis://"+server.Addr(), m, claimAfter(10*time.Millisecond))
	add(t, client, 1)
	add(t, client, 666)
	add(t, client, 1000)
	await(t, "the events", func() bool { return m.snapshot()["7"] == 1000 })
	await(t, "the dead letter", func() bool { return w.Stats().Dead["failed"] == 1 })
}

func TestAGroupThatIsGoneIsCreatedAgain(t *testing.T) {
	server := redistest.Server(t)
	c := server.Client()
	m := newMemory()
	startWorker(t, server.URL(), m)
	add(t, c, 1)
	await(t, "the event", func() bool { return m.snapshot()["7"] == 1 })
	must(t, c.Del(t.Context(), Name).Err())
	add(t, c, 2)
	await(t, "the next event", func() bool { return m.snapshot()["7"] == 2 })
}

func TestTidying(t *testing.T) {
	server := redistest.Server(t)
	c := server.Client()
	pipe := c.Pipeline()
	for v := range int64(1000) {
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: Name, Values: []any{"payload", fmt.Sprintf(`{"event":"user.profile.deleted","userId":"7","timestamp":%d}`, v+1)}})
	}
	_, err := pipe.Exec(t.Context())
	must(t, err)
	w := startWorker(t, server.URL(), newMemory(), func(c *WorkerConfig) { c.MaxLen = 100; c.Consumer = "one" })
	await(t, "a shorter stream", func() bool { return c.XLen(t.Context(), Name).Val() < 300 })
	must(t, w.Close())
	must(t, c.XGroupCreateConsumer(t.Context(), Name, defaultGroup, "idle").Err())
	add(t, c, 2000)
	must(t, c.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: defaultGroup, Consumer: "holder", Streams: []string{Name, ">"}}).Err())
	must(t, retireScript.Eval(t.Context(), c, []string{Name}, defaultGroup, -1, "one").Err())
	var names []string
	for _, consumer := range c.XInfoConsumers(t.Context(), Name, defaultGroup).Val() {
		names = append(names, consumer.Name)
	}
	if slices.Sort(names); !slices.Equal(names, []string{"holder", "one"}) {
		t.Errorf("consumers %v", names)
	}
}

func TestWorkerConfigs(t *testing.T) {
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	good := WorkerConfig{Client: client, Applier: newMemory()}
	for name, set := range map[string]func(*WorkerConfig){
		"no client":           func(c *WorkerConfig) { c.Client = nil },
		"no applier":          func(c *WorkerConfig) { c.Applier = nil },
		"block too long":      func(c *WorkerConfig) { c.Block = time.Second },
		"negative deliveries": func(c *WorkerConfig) { c.MaxDeliveries = -1 },
		"claim at once":       func(c *WorkerConfig) { c.ClaimAfter = 1 },
		"negative length":     func(c *WorkerConfig) { c.MaxLen = -1 },
		"negative dead":       func(c *WorkerConfig) { c.MaxDead = -1 },
	} {
		cfg := good
		set(&cfg)
		if _, err := NewWorker(cfg); !errors.Is(err, errConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w, err := NewWorker(good)
	must(t, err)
	must(t, w.Close())
	must(t, w.Close())
	if err := w.Start(t.Context()); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := Inspect(t.Context(), redistest.Server(t).Client(), "", ""); !errors.Is(err, ErrNoEntry) {
		t.Errorf("backlog of nothing: %v", err)
	}
}
