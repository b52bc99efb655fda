package source_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/life"
	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/pgtest"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/postgres"
)

// longEnv, when it is not empty, has the tests below do all they claim; without it they do less,
// which suits every run.
const longEnv = "EDGECACHE_LONG"

func unlessLong(short, long int) int {
	if os.Getenv(longEnv) != "" {
		return long
	}
	return short
}

// ledger is what writers were told.
type ledger struct {
	mu     sync.Mutex
	lines  []string // guarded by mu: as crashChild prints them
	failed int      // guarded by mu
}

func (l *ledger) note(c source.Change, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed++
		return
	}
	l.lines = append(l.lines, fmt.Sprintf("%s %d %s", c.ID, c.Version, c.Kind))
}

func (l *ledger) count() (acked, failed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines), l.failed
}

// change changes one user until ctx ends, whatever the database says.
func (l *ledger) change(ctx context.Context, s source.Store, id string) {
	for i := 0; ctx.Err() == nil; i++ {
		c, err := changeSomehow(s, id, i)
		l.note(c, err)
		if err != nil {
			life.Wait(ctx, 5*time.Millisecond)
		}
	}
}

func TestPostgresStoppedLosesNothing(t *testing.T) {
	stops := unlessLong(3, 27) // 21 of the 27 are immediate
	server, place := pgtest.Server(t), t.TempDir()
	s := truth.OpenPostgres(t, postgres.Config{URL: truth.SchemaURL(t, server, place)})
	out, err := openAnnounceLog(place)
	if err != nil {
		t.Fatal(err)
	}
	defer out.file.Close()
	truth.StartRelay(t, source.RelayConfig{Outbox: s, Announcer: out})
	said := new(ledger)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() { said.change(ctx, s, fmt.Sprint("user-", w)) })
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for n := range stops {
		acked, _ := said.count()
		more := 50 + rnd.IntN(400)
		testkit.Eventually(t, 30*time.Second, "changes are acknowledged", func() bool { now, _ := said.count(); return now > acked+more })
		end := server.StopImmediate
		if n%4 == 3 {
			end = server.Kill
		}
		if err := errors.Join(end(), server.Restart()); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	wg.Wait()
	testkit.Eventually(t, 5*time.Second, "the outbox is empty", func() bool {
		b, err := s.Backlog(t.Context())
		return err == nil && b.Rows == 0
	})
	checkAnnounced(t, place, said.lines)
	acked, failed := said.count()
	t.Logf("RESULT | PostgreSQL stopped (-m immediate, each fourth time kill -9), %d times in all: no acknowledged change lost | %d acknowledged, all announced in order; %d were answered with an error | `%s` |",
		stops, acked, failed, t.Name())
}

func TestPostgresTwoProcesses(t *testing.T) {
	const users, writers = 100, 8
	updates := unlessLong(2_000, 20_000)
	at := truth.SchemaURL(t, pgtest.Server(t), t.Name())
	out := truth.NewRecorder(nil)
	var stores []*postgres.Store
	for range 2 {
		s := truth.OpenPostgres(t, postgres.Config{URL: at})
		truth.StartRelay(t, source.RelayConfig{Outbox: s, Announcer: out, Batch: 32})
		stores = append(stores, s)
	}
	for u := range users {
		truth.MustCreate(t, stores[u%2], profile.Profile{ID: fmt.Sprint("u", u)})
	}
	began := time.Now()
	versions := make([]map[string]int64, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() { versions[w] = updateMany(t, stores[w%2], w, updates/writers, users) })
	}
	wg.Wait()
	took := time.Since(began)
	testkit.Eventually(t, 30*time.Second, "both outboxes are empty", func() bool {
		b, err := stores[0].Backlog(t.Context())
		return err == nil && b.Rows == 0
	})
	t.Logf("%d updates by two processes in %v, announced after %v", updates, took, time.Since(began))
	ids := make([]string, users)
	for u := range ids {
		ids[u] = fmt.Sprint("u", u)
		last := truth.MustGet(t, stores[0], ids[u]).UpdatedAt
		out.Mu.Lock()
		if got := out.Got[ids[u]]; got[len(got)-1] != last {
			t.Errorf("%s: announced up to version %d, stored %d", ids[u], got[len(got)-1], last)
		}
		out.Mu.Unlock()
		for _, seen := range versions {
			if seen[ids[u]] > last {
				t.Errorf("%s: a writer was told version %d, stored is %d", ids[u], seen[ids[u]], last)
			}
		}
	}
	out.Check(t, 1+updates/users, ids...)
}

// updateMany has one writer update users in turn, and checks that what it is told rises. It returns
// the last versions.
func updateMany(t *testing.T, s source.Store, writer, n, users int) map[string]int64 {
	last := map[string]int64{}
	for i := range n {
		id := fmt.Sprint("u", (writer*n+i)%users)
		c, err := s.Update(t.Context(), id, origin.Update{Nom: testkit.Ptr(strconv.Itoa(i))})
		if err != nil {
			t.Errorf("update: %v", err)
			return last
		}
		if c.Version <= last[id] {
			t.Errorf("%s: version %d after %d", id, c.Version, last[id])
		}
		last[id] = c.Version
	}
	return last
}
