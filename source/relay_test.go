package source_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
)

// memOutbox is an Outbox in memory, whose claims can be made to fail.
type memOutbox struct {
	wake chan struct{}

	mu       sync.Mutex
	rows     []source.Change // guarded by mu: undone
	seq      int64           // guarded by mu
	failing  int             // guarded by mu: claims that will fail
	prunes   []time.Time
	versions map[string]int64
}

func newMemOutbox() *memOutbox {
	return &memOutbox{wake: make(chan struct{}, 1), versions: map[string]int64{}}
}

func (o *memOutbox) commit(id string) source.Change {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seq++
	o.versions[id]++
	c := source.Change{Seq: o.seq, Kind: profile.Updated, ID: id, Version: o.versions[id]}
	o.rows = append(o.rows, c)
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return c
}

func (o *memOutbox) Wake() <-chan struct{} { return o.wake }

func (o *memOutbox) Claim(_ context.Context, w source.Want) (source.Claim, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failing > 0 {
		o.failing--
		return nil, errors.New("database is away")
	}
	c := &memClaim{outbox: o}
	newest := map[string]bool{}
	for i := len(o.rows) - 1; w.Newest && i >= 0 && len(newest) < w.Limit; i-- {
		newest[o.rows[i].ID] = !slices.Contains(w.Except, o.rows[i].ID)
	}
	for _, row := range o.rows {
		switch {
		case w.Users != nil && !slices.Contains(w.Users, row.ID), w.Users == nil && slices.Contains(w.Except, row.ID):
		case w.Newest && !newest[row.ID]:
		case len(c.rows) < w.Limit:
			c.rows = append(c.rows, row)
		}
	}
	return c, nil
}

func (o *memOutbox) Backlog(context.Context) (source.Backlog, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return source.Backlog{Rows: int64(len(o.rows))}, nil
}

func (o *memOutbox) Prune(_ context.Context, t time.Time) (int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.prunes = append(o.prunes, t)
	return 0, nil
}

type memClaim struct {
	outbox *memOutbox
	rows   []source.Change
}

func (c *memClaim) Changes() []source.Change { return c.rows }
func (c *memClaim) Close() error             { return nil }
func (c *memClaim) Done(ctx context.Context, seqs []int64) error {
	c.outbox.mu.Lock()
	defer c.outbox.mu.Unlock()
	c.outbox.rows = slices.DeleteFunc(c.outbox.rows, func(row source.Change) bool { return slices.Contains(seqs, row.Seq) })
	return ctx.Err()
}

// pass lets fake time go by.
func pass(d time.Duration) { <-time.After(d) }

// inBubble runs a test in fake time.
func inBubble(t *testing.T, name string, test func(*testing.T)) {
	t.Run(name, func(t *testing.T) {
		// Timers of a bubble that fire on two processors at once crash the race detector's runtime.
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
		synctest.Test(t, test)
	})
}

func TestRelayOrder(t *testing.T) {
	inBubble(t, "users go side by side, each in version order, whatever fails on the way", func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(1, 2))
		var mu sync.Mutex
		out := truth.NewRecorder(func(source.Change) error {
			mu.Lock()
			slow, broken := time.Duration(rnd.IntN(int(3*time.Millisecond))), rnd.IntN(5) == 0
			mu.Unlock()
			pass(slow) // fake time: lets others in between
			if broken {
				return errors.New("redis is moody")
			}
			return nil
		})
		box := newMemOutbox()
		var users []string
		for u := range 20 {
			users = append(users, fmt.Sprint("u", u))
		}
		for range 10 {
			for _, id := range users {
				box.commit(id)
			}
		}
		r := truth.StartRelay(t, source.RelayConfig{Outbox: box, Announcer: out, Batch: 37, Concurrency: 5})
		for range 20 {
			for _, id := range users {
				box.commit(id)
			}
			pass(7 * time.Millisecond)
		}
		pass(2 * time.Minute)
		out.Check(t, 30, users...)
		if st := r.Stats(); st.Announced != 600 || st.Failures == 0 || st.Blocked != 0 || st.Down {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestRelayFailures(t *testing.T) {
	inBubble(t, "a user who always fails holds up nobody else", func(t *testing.T) {
		out := truth.NewRecorder(func(c source.Change) error {
			if c.ID == "bad" {
				return errors.New("refused")
			}
			return nil
		})
		box := newMemOutbox()
		r := truth.StartRelay(t, source.RelayConfig{Outbox: box, Announcer: out, Batch: 8})
		for range 100 { // many times more than a batch, all before the others
			box.commit("bad")
		}
		pass(time.Minute)
		for range 50 {
			c := box.commit("good")
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			if !r.Wait(ctx, c) {
				t.Error("a good user's change waits behind a bad one's")
			}
			cancel()
		}
		out.Check(t, 50, "good")
		if st := r.Stats(); st.Blocked != 1 || st.Down || st.Failures > 60 {
			t.Errorf("stats %+v", st)
		}
	})
	inBubble(t, "an outage is tried at a measured pace, logged in a few lines, and loses nothing", func(t *testing.T) {
		var log bytes.Buffer
		up := make(chan struct{})
		out := truth.NewRecorder(func(source.Change) error {
			select {
			case <-up:
				return nil
			default:
				return errors.New("redis is down")
			}
		})
		box := newMemOutbox()
		var users []string
		for u := range 500 {
			users = append(users, fmt.Sprint("u", u))
			box.commit(users[u])
		}
		r := truth.StartRelay(t, source.RelayConfig{Outbox: box, Announcer: out, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		pass(time.Minute)
		synctest.Wait()
		st := r.Stats()
		if lines := strings.Count(log.String(), "level=WARN"); !st.Down || lines < 2 || lines > 7 || st.Failures > 700 {
			t.Errorf("%d lines for a minute of outage, stats %+v", lines, st)
		}
		close(up)
		pass(1100 * time.Millisecond)
		out.Check(t, 1, users...)
		if st := r.Stats(); st.Down || st.Blocked != 0 {
			t.Errorf("after the outage: %+v", st)
		}
	})
}

func TestRelayOddFailures(t *testing.T) {
	inBubble(t, "a panic of the announcer is a failure like others", func(t *testing.T) {
		tries := 0
		box := newMemOutbox()
		r := truth.StartRelay(t, source.RelayConfig{Outbox: box, Announcer: source.AnnouncerFunc(func(context.Context, source.Change) error {
			if tries++; tries == 1 {
				panic("nil map")
			}
			return nil
		})})
		box.commit("u")
		pass(time.Second)
		if st := r.Stats(); st.Announced != 1 || st.Failures != 1 {
			t.Errorf("stats %+v", st)
		}
	})
	inBubble(t, "an announcement that hangs is cut off", func(t *testing.T) {
		tries := 0
		box := newMemOutbox()
		r := truth.StartRelay(t, source.RelayConfig{Outbox: box, Timeout: time.Second, Announcer: source.AnnouncerFunc(func(ctx context.Context, _ source.Change) error {
			if tries++; tries == 1 {
				<-ctx.Done()
			}
			return ctx.Err()
		})})
		box.commit("u")
		pass(2 * time.Second)
		if st := r.Stats(); st.Announced != 1 || st.Failures != 1 {
			t.Errorf("stats %+v", st)
		}
	})
	inBubble(t, "an outbox that cannot be read is read again", func(t *testing.T) {
		out, box := truth.NewRecorder(nil), newMemOutbox()
		box.failing = 5
		truth.StartRelay(t, source.RelayConfig{Outbox: box, Announcer: out})
		box.commit("u")
		pass(10 * time.Second)
		out.Check(t, 1, "u")
	})
	inBubble(t, "a row that cannot be decoded holds up its user only", func(t *testing.T) {
		out, box := truth.NewRecorder(nil), newMemOutbox()
		box.commit("broken")
		box.rows[0].Fault = profile.ErrMalformed
		box.commit("broken")
		box.commit("u")
		r := truth.StartRelay(t, source.RelayConfig{Outbox: box, Announcer: out})
		pass(time.Minute)
		out.Check(t, 1, "u")
		out.Check(t, 0, "broken")
		if st := r.Stats(); st.Blocked != 1 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestRelayWait(t *testing.T) {
	inBubble(t, "a writer learns that its row was announced, before or after it asks", func(t *testing.T) {
		box := newMemOutbox()
		r := truth.StartRelay(t, source.RelayConfig{Outbox: box, Announcer: source.AnnouncerFunc(func(context.Context, source.Change) error {
			pass(50 * time.Millisecond)
			return nil
		})})
		c := box.commit("u")
		for range 2 {
			if !r.Wait(t.Context(), c) {
				t.Error("waited for nothing")
			}
		}
		c = box.commit("u")
		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if r.Wait(short, c) {
			t.Error("told too early")
		}
		if !r.Wait(t.Context(), c) {
			t.Error("never told")
		}
		if n := r.Waiting(); n != 0 {
			t.Errorf("left behind: %d", n)
		}
	})
	inBubble(t, "closing ends the wait and lets what is being announced end", func(t *testing.T) {
		box := newMemOutbox()
		r := truth.StartRelay(t, source.RelayConfig{Outbox: box, Concurrency: 1, Announcer: source.AnnouncerFunc(func(ctx context.Context, c source.Change) error {
			pass(50 * time.Millisecond)
			return ctx.Err()
		})})
		box.commit("u")
		box.commit("u")
		last := box.commit("v")
		go func() {
			pass(10 * time.Millisecond)
			_ = r.Close()
		}()
		if r.Wait(t.Context(), last) {
			t.Error("announced after Close")
		}
		_ = r.Close()
		if b, _ := box.Backlog(t.Context()); b.Rows != 2 {
			t.Errorf("%d rows left, want 2: the first was being announced", b.Rows)
		}
	})
}

func TestRelayLifeCycle(t *testing.T) {
	if _, err := source.NewRelay(source.RelayConfig{}); err == nil {
		t.Error("a relay without outbox and announcer")
	}
	cfg := source.RelayConfig{Outbox: newMemOutbox(), Announcer: truth.NewRecorder(nil)}
	r, err := source.NewRelay(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); !errors.Is(err, origin.ErrClosed) {
		t.Errorf("Start after Close: %v", err)
	}
	r = truth.StartRelay(t, cfg)
	if err := r.Start(t.Context()); !errors.Is(err, origin.ErrClosed) {
		t.Errorf("second Start: %v", err)
	}
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Fatal(err)
	}
	inBubble(t, "old rows are pruned every minute", func(t *testing.T) {
		box := newMemOutbox()
		truth.StartRelay(t, source.RelayConfig{Outbox: box, Announcer: truth.NewRecorder(nil), Keep: time.Hour})
		start := time.Now()
		pass(3*time.Minute + time.Second)
		box.mu.Lock()
		defer box.mu.Unlock()
		if len(box.prunes) != 3 || !box.prunes[0].Equal(start.Add(time.Minute-time.Hour)) {
			t.Errorf("prunes %v", box.prunes)
		}
	})
}

func TestRelayThroughput(t *testing.T) {
	const users, writers, each = 100, 16, 625
	s := truth.MakeSQLite(t, t.TempDir(), time.Now)
	for u := range users {
		truth.MustCreate(t, s, profile.Profile{ID: fmt.Sprint("u", u)})
	}
	out := truth.NewRecorder(nil)
	r := truth.StartRelay(t, source.RelayConfig{Outbox: s, Announcer: out})
	began := time.Now()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				c, err := s.Update(t.Context(), fmt.Sprint("u", (w*each+i)%users), origin.Update{Nom: testkit.Ptr(fmt.Sprint(i))})
				if err != nil {
					t.Errorf("update: %v", err)
					return
				}
				if !r.Wait(t.Context(), c) {
					t.Error("not relayed")
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	t.Logf("%d changes committed and relayed in %v", writers*each, took)
	for u := range users {
		out.Check(t, 1+writers*each/users, fmt.Sprint("u", u))
	}
	if took > time.Minute {
		t.Errorf("%d changes took %v", writers*each, took)
	}
}
