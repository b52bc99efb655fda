package rehearsal

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/chatapp-ngomna/edgecache/internal/oracle"
	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/pgtest"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/postgres"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

var each = flag.Duration("each", time.Second, "how long users are changed in each step of the rehearsal")

const (
	users = 20
	nodes = 2
	// boundOld is how old an answer may be after a change of the old service, boundOwn after one at
	// the origin of edgecache.
	boundOld = time.Second
	boundOwn = 250 * time.Millisecond
)

type mute struct{}

func (mute) Printf(context.Context, string, ...any) {}

func TestMain(m *testing.M) {
	redis.SetLogger(mute{})
	// fasthttp keeps one goroutine for the Date of all servers, and one a server sleeps up to 10 s
	// longer
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// step is where the migration stands.
type step struct {
	name string
	// ownOrigin has nodes ask the origin of edgecache, else they ask the old service.
	ownOrigin bool
	// oldWrites and ownWrites say who changes users.
	oldWrites, ownWrites bool
}

// steps are the five of the guide, and the way back.
var steps = []step{
	{"1, 2: nodes beside, readers move", false, true, false},
	{"3: the origin beside the old writer", true, true, false},
	{"4: writers move", true, true, true},
	{"5: the old service ends", true, false, true},
	{"back to 4: it writes again", true, true, true},
	{"back to 3: it alone writes", true, true, false},
	{"back to 1: it alone is asked", false, true, false},
}

// TestMigrationThereAndBack plays every step, readers and the oracle running, beside a service
// whose clock is five minutes ahead, or behind: no answer is older than promised, none has blank
// fields, and what was acknowledged is there at the end of each step.
func TestMigrationThereAndBack(t *testing.T) {
	for name, skew := range map[string]time.Duration{"5 minutes ahead": 5 * time.Minute, "5 minutes behind": -5 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			canary.Judge(t, func(t *testing.T, bird *canary.Canary) { play(t, bird, skew) })
		})
	}
}

func play(t *testing.T, bird *canary.Canary, skew time.Duration) {
	m := newMigration(t, skew)
	for _, s := range steps {
		m.to(s)
		m.judge = oracle.New(oracle.Config{Bound: m.bound(s), Excuses: bird.Excuses})
		m.run(s)
		m.settled(s)
		stats := m.judge.Stats()
		t.Logf("RESULT | %s, clock %s | none too old, blank or lost | %d changes, %d answers, %d marked stale, %d too old, %d blank, %d lost |",
			s.name, signed(skew), m.changes.Swap(0), stats.Reads, stats.Stale, stats.Violations, m.blank.Load(), m.lost)
		check(t, m.judge.Err())
	}
}

// bound is what is promised of changes in a step.
func (m *migration) bound(s step) time.Duration {
	if s.oldWrites {
		return boundOld
	}
	return boundOwn
}

// migration is a database, a Redis, the old service, nodes and an origin.
type migration struct {
	*testing.T
	redis    *redistest.Proc
	db       string
	old      *old
	source   *source.Source // the origin of edgecache; nil while there is none
	own      *origin.Client // asks it
	stop     func()         // ends both
	nodes    [nodes]*node.Node
	asks     [nodes]*origin.Client
	ownAsked bool // by the nodes
	judge    *oracle.Oracle
	last     [users + 1]int64
	changes  atomic.Int64
	blank    atomic.Int64
	flaw     sync.Once
	lost     int
}

func newMigration(t *testing.T, skew time.Duration) *migration {
	t.Helper()
	m := &migration{T: t, redis: redistest.Server(t)}
	m.db = pgtest.ServerWith(t, pgtest.Options{NoSync: true}).URL()
	db, err := pgxpool.New(t.Context(), m.db)
	check(t, err)
	t.Cleanup(db.Close)
	m.old = newOld(t, db, m.redis.Client(), skew)
	t.Cleanup(func() {
		m.endNodes()
		if m.stop != nil {
			m.stop()
		}
	})
	return m
}

// to moves what a step moves: the origin of edgecache starts with the first step that needs it, and
// nodes are started anew with another origin.
func (m *migration) to(s step) {
	m.Helper()
	if (s.ownOrigin || s.ownWrites) && m.own == nil {
		m.startOrigin()
	}
	if m.nodes[0] != nil && s.ownOrigin == m.ownAsked {
		return
	}
	m.endNodes()
	m.ownAsked = s.ownOrigin
	for i := range m.nodes {
		url := m.old.url
		if s.ownOrigin {
			url = m.ownURL()
		}
		var err error
		m.asks[i], err = origin.NewClient(origin.ClientConfig{URL: url})
		check(m.T, err)
		check(m.T, m.asks[i].Start(m.Context()))
		m.nodes[i], err = node.New(node.Config{RedisURL: m.redis.URL(), Origin: m.asks[i]})
		check(m.T, err)
		check(m.T, m.nodes[i].Start(m.Context()))
	}
}

func (m *migration) endNodes() {
	for i, n := range m.nodes {
		if n == nil {
			continue
		}
		if err := n.Close(); err != nil {
			m.Error(err)
		}
		if err := m.asks[i].Close(); err != nil {
			m.Error(err)
		}
		m.nodes[i] = nil
	}
}

// ownURL is where the origin of edgecache is.
func (m *migration) ownURL() string { return "http://" + m.source.Addr() }

// startOrigin runs the origin of edgecache on the old table, with triggers for what others write
// there.
func (m *migration) startOrigin() {
	m.Helper()
	store, err := postgres.New(postgres.Config{URL: m.db, Capture: postgres.CaptureTriggers,
		Users: postgres.Table{Name: "agents", FullName: postgres.NoColumn, Attrs: postgres.NoColumn}})
	check(m.T, err)
	check(m.T, store.Start(m.Context()))
	client, err := redisconn.Open(m.redis.URL())
	check(m.T, err)
	m.source, err = source.New(source.Config{Store: store, Redis: client, Service: source.ServiceConfig{Listen: "127.0.0.1:0"}})
	check(m.T, err)
	check(m.T, m.source.Start(m.Context()))
	m.own, err = origin.NewClient(origin.ClientConfig{URL: m.ownURL()})
	check(m.T, err)
	check(m.T, m.own.Start(m.Context()))
	m.stop = func() {
		for _, c := range []interface{ Close() error }{m.own, m.source, client, store} {
			if err := c.Close(); err != nil {
				m.Error(err)
			}
		}
	}
}

// run has users changed and read for a while.
func (m *migration) run(s step) {
	ctx, cancel := context.WithCancel(m.Context())
	var readers, writers sync.WaitGroup
	for _, n := range m.nodes {
		seen := m.judge.Node("a node")
		readers.Go(func() { m.read(ctx, n, seen) })
	}
	end := time.Now().Add(*each)
	for first := 1; first <= 4; first++ {
		writers.Go(func() {
			for id := first; time.Now().Before(end); id = id%users + 4 {
				if id > users {
					id = first
				}
				m.write(s, id)
			}
		})
	}
	writers.Wait()
	wait(m.Context(), m.bound(s)) // what was written last is read, too
	cancel()
	readers.Wait()
}

// write changes a user once; each user has one writer at a time, and where both services write they
// take turns.
func (m *migration) write(s step, id int) {
	n, key := m.last[id]+1, strconv.Itoa(id)
	var err error
	if s.oldWrites && (!s.ownWrites || n%2 == 0) {
		err = m.old.write(m.Context(), key, n)
	} else {
		text := ministry(n)
		var w origin.Written
		if w, err = m.own.Put(m.Context(), key, origin.Update{Ministere: &text}); err == nil && !w.Relayed {
			wait(m.Context(), boundOwn) // acknowledged, and announced as soon as it can be
		}
	}
	if err != nil {
		m.Errorf("%s: change %d of user %d: %v", s.name, n, id, err)
		return
	}
	m.last[id] = n
	m.judge.Acked(key, n+1, time.Now())
	m.changes.Add(1)
}

// read asks a node for users and has the answers judged.
func (m *migration) read(ctx context.Context, n *node.Node, seen *oracle.Node) {
	for ctx.Err() == nil {
		key := strconv.Itoa(1 + rand.IntN(users))
		r := seen.Begin(key)
		got, err := n.Get(ctx, key)
		if err != nil {
			if ctx.Err() == nil {
				m.flaw.Do(func() { m.Errorf("user %s: %v", key, err) })
			}
			continue
		}
		stale := got.Tier == look.FromStale
		if p := got.Profile; !stale && (p.Nom == "" || p.Prenom == "" || p.Matricule == "" || p.Sexe == "") {
			m.blank.Add(1)
			m.flaw.Do(func() { m.Errorf("blank fields from %v: %+v", got.Tier, p) })
		}
		r.End(version(got.Profile.Ministere), stale)
		wait(ctx, time.Millisecond)
	}
}

// version is that of an answer by what it says.
func version(ministere string) int64 {
	n, err := strconv.ParseInt(strings.TrimPrefix(ministere, "M-"), 10, 64)
	if err != nil {
		panic(fmt.Sprintf("ministere is %q", ministere))
	}
	return n + 1
}

// settled looks whether all nodes show what was acknowledged last.
func (m *migration) settled(s step) {
	m.Helper()
	for id := 1; id <= users; id++ {
		for i, n := range m.nodes {
			got, err := n.Get(m.Context(), strconv.Itoa(id))
			if err != nil || version(got.Profile.Ministere) != m.last[id]+1 {
				m.lost++
				m.Errorf("%s: node %d shows %+v of user %d, %v; want change %d", s.name, i+1, got.Profile, id, err, m.last[id])
			}
		}
	}
}

// signed writes a skew with its sign.
func signed(d time.Duration) string {
	if d > 0 {
		return "+" + d.String()
	}
	return d.String()
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
