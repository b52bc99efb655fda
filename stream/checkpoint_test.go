package stream

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// keeper keeps the last checkpoint.
type keeper struct {
	mu sync.Mutex
	at []byte
}

func (k *keeper) keep(at []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.at = at
}

func (k *keeper) last() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.at
}

// ended lets a tail handle "7@1" and "7@2", and returns what it leaves.
func ended(t *testing.T, server *redistest.Proc) []byte {
	t.Helper()
	var k keeper
	r := new(recorder)
	tail := startTailWith(t, TailConfig{Client: tailClient(t, server.URL()), Handler: r, Replay: -1,
		Block: 50 * time.Millisecond, Checkpoint: k.keep})
	add(t, server.Client(), 1)
	add(t, server.Client(), 2)
	await(t, "both events", func() bool { return r.has("7@2") })
	r.awaitAlive(t, 2)
	must(t, tail.Close())
	return k.last()
}

// goesOn starts a tail that goes on from at.
func goesOn(t *testing.T, server *redistest.Proc, at []byte, r *recorder) *Tail {
	t.Helper()
	return startTailWith(t, TailConfig{Client: tailClient(t, server.URL()), Handler: r, Replay: -1,
		Block: 50 * time.Millisecond, Resume: at})
}

// A change to the stream while no process reads it: the tail that goes on notices what one would
// that had only looked away.
func TestATailThatResumesNoticesWhatHappenedToTheStream(t *testing.T) {
	for name, tc := range happenings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Server(t)
			at := ended(t, server)
			tc.do(t, server.Client())
			r := new(recorder)
			tail := goesOn(t, server, at, r)
			r.awaitAlive(t, 3)
			add(t, server.Client(), 9)
			await(t, "the next event", func() bool { return r.has("7@9") })
			r.awaitAlive(t, 2)
			want := append(slices.Clone(tc.want), "7@9")
			if got := r.list(); !slices.Equal(got, want) {
				t.Errorf("calls %v, want %v; stats %+v", got, want, tail.Stats())
			}
		})
	}
}

// A server that is another, or has been restarted, may have lost what it acknowledged last.
func TestATailThatResumesOnAnotherServerFlushes(t *testing.T) {
	for name, next := range map[string]func(*redistest.Proc){
		"another":   func(*redistest.Proc) {},
		"restarted": func(p *redistest.Proc) { must(t, p.Restart()) },
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Server(t)
			at := ended(t, server)
			if name == "another" {
				server = redistest.Server(t)
				add(t, server.Client(), 5)
			}
			next(server)
			r := new(recorder)
			goesOn(t, server, at, r)
			r.awaitAlive(t, 2)
			if got := r.flushes(); !slices.Equal(got, []string{gapFailover}) {
				t.Errorf("flushes %v, want one for a failover", got)
			}
		})
	}
}

// A tail that resumes does not wait for its server, and is not alive without it.
func TestATailResumesWithoutItsServer(t *testing.T) {
	server := redistest.Server(t)
	at := ended(t, server)
	must(t, server.Pause())
	r := new(recorder)
	tail := startTailWith(t, TailConfig{Client: tailClient(t, server.URL()), Handler: r, Replay: -1, Resume: at,
		Block: 50 * time.Millisecond})
	if got := tail.Stats(); got.Reads != 0 || !got.LastAlive.IsZero() {
		t.Errorf("%+v; want nothing read", got)
	}
	must(t, server.Resume())
	r.awaitAlive(t, 1)
	if got := r.list(); len(got) != 0 {
		t.Errorf("calls %v, want none", got)
	}
}

// What another service said in the last minute is read once more, and marked as known: whether it
// was answered is not in the checkpoint. Without such an entry nothing is read twice.
func TestHintsAreReadOnceMore(t *testing.T) {
	for _, hinted := range []bool{true, false} {
		server := redistest.Server(t)
		c := server.Client()
		if hinted {
			must(t, c.XAdd(t.Context(), &redis.XAddArgs{Stream: Name, Values: []string{"payload", `{"event":"user.profile.updated","userId":"8"}`}}).Err())
		}
		var k keeper
		first := new(recorder)
		conf := TailConfig{Client: tailClient(t, server.URL()), Handler: first, Block: 50 * time.Millisecond, Checkpoint: k.keep}
		tail := startTailWith(t, conf)
		add(t, c, 1)
		await(t, "the event", func() bool { return first.has("7@1") })
		first.awaitAlive(t, 2)
		must(t, tail.Close())
		add(t, c, 2)
		var known []string
		second := &recorder{}
		second.onHandle = func(e Event) {
			if e.Known {
				known = append(known, e.UserID)
			}
		}
		conf.Handler, conf.Resume, conf.Client = second, k.last(), tailClient(t, server.URL())
		tail = startTailWith(t, conf)
		second.awaitAlive(t, 2)
		must(t, tail.Close())
		want, wantKnown := []string{"7@2"}, []string(nil)
		if hinted {
			want, wantKnown = []string{"8@0", "7@1", "7@2"}, []string{"8", "7"}
		}
		if got := second.list(); !slices.Equal(got, want) || !slices.Equal(known, wantKnown) {
			t.Errorf("hint: %v: calls %v, of which known %v; want %v, %v", hinted, got, known, want, wantKnown)
		}
		if got := tail.Stats().CaughtUp; got != uint64(len(want)) {
			t.Errorf("%d entries until it had caught up, want %d", got, len(want))
		}
	}
}

// A checkpoint never covers what is not handled: the handler is stopped within a batch, and the
// tail closed.
func TestACheckpointIsOfWhatIsHandled(t *testing.T) {
	server := redistest.Server(t)
	var k keeper
	r, g := new(recorder), newGate()
	r.onHandle = g.pass
	tail := startTailWith(t, TailConfig{Client: tailClient(t, server.URL()), Handler: r, Replay: -1,
		Block: 50 * time.Millisecond, Checkpoint: k.keep})
	add(t, server.Client(), 1)
	await(t, "the first event", func() bool { return r.has("7@1") })
	r.awaitAlive(t, 2)
	g.shut()
	// one read brings all
	_, err := server.Client().TxPipelined(t.Context(), func(pipe redis.Pipeliner) error {
		for version := int64(2); version <= 4; version++ {
			values, err := Encode(Event{Kind: profile.Updated, UserID: "7", Version: version, Profile: whole("7", version)})
			must(t, err)
			pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: Name, Values: values})
		}
		return nil
	})
	must(t, err)
	select {
	case <-g.waiting:
	case <-time.After(patience):
		t.Fatal("the tail did not read them")
	}
	closed := make(chan error)
	go func() { closed <- tail.Close() }()
	await(t, "the end to begin", tail.life.Closed)
	g.release()
	must(t, <-closed)
	var again recorder
	goesOn(t, server, k.last(), &again)
	again.awaitAlive(t, 2)
	all := append(r.list(), again.list()...)
	for _, want := range []string{"7@1", "7@2", "7@3", "7@4"} {
		if !slices.Contains(all, want) {
			t.Errorf("%s was handled by neither: %v", want, all)
		}
	}
	if got := again.flushes(); len(got) != 0 {
		t.Errorf("flushes %v", got)
	}
}

func TestWhatIsNoCheckpoint(t *testing.T) {
	good := (&Tail{cfg: TailConfig{Stream: Name}}).checkpoint()
	for name, text := range map[string]string{
		"nothing":           "",
		"another stream":    strings.Replace(string(good), Name, "other", 1),
		"no id of an entry": strings.Replace(string(good), `"0-0"`, `"x"`, 1),
	} {
		_, err := NewTail(TailConfig{Client: tailClient(t, "redis://127.0.0.1:1"), Handler: new(recorder), Resume: []byte(text)})
		if !errors.Is(err, ErrCheckpoint) {
			t.Errorf("%s: %v; want ErrCheckpoint", name, err)
		}
	}
	e, err := Decode(map[string]any{"payload": `{"event":"user.profile.invalidated","userId":"1"}`})
	if err != nil || e.Known || e.Kind != profile.Invalidated {
		t.Errorf("%+v, %v", e, err)
	}
}
