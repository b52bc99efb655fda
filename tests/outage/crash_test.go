package outage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/pgtest"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream"
)

// told is what the stream has said, checked entry by entry: the first time that a change of a user
// comes, it is newer than all of that user before.
type told struct {
	client *redis.Client
	cursor string
	seen   map[string]bool // "id version"
	last   map[string]int64
}

func newTold(client *redis.Client) *told {
	return &told{client: client, cursor: "-", seen: map[string]bool{}, last: map[string]int64{}}
}

// read takes what was added since.
func (s *told) read(t *testing.T) {
	t.Helper()
	entries, err := s.client.XRange(t.Context(), "events:users", s.cursor, "+").Result()
	check(t, err)
	for _, e := range entries {
		s.cursor = "(" + e.ID
		event, err := stream.Decode(e.Values)
		check(t, err)
		change := fmt.Sprintf("%s %d", event.UserID, event.Version)
		if s.seen[change] {
			continue // once more after a kill
		}
		s.seen[change] = true
		if event.Version <= s.last[event.UserID] {
			t.Errorf("entry %s: %s came after version %d", e.ID, change, s.last[event.UserID])
		}
		s.last[event.UserID] = event.Version
	}
}

// missing returns how many of the changes were not told.
func (s *told) missing(changes []string) (n int) {
	for _, c := range changes {
		if !s.seen[c] {
			n++
		}
	}
	return n
}

// TestKilledOriginTellsTheStream kills a process with its store and relay at random points between
// commit and XADD, and starts the relay again: each change that was acknowledged is on the stream
// of a real Redis within 5 s.
func TestKilledOriginTellsTheStream(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		canary.Judge(t, func(t *testing.T, bird *canary.Canary) { killAndRestart(t, bird, pick(8, 200), t.TempDir()) })
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		canary.Judge(t, func(t *testing.T, bird *canary.Canary) { killAndRestart(t, bird, pick(4, 200), pgtest.Server(t).URL()) })
	})
}

func killAndRestart(t *testing.T, bird *canary.Canary, kills int, db string) {
	server := redistest.Server(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	said := newTold(server.Client())
	acked, arrived, slowest := 0, 0, time.Duration(0)
	for kill := range kills {
		changes := runUntilKilled(t, 1+rnd.IntN(400), db, server.URL())
		restarted := time.Now()
		stop := restart(t, db, server.URL())
		within(t, bird, 5*time.Second, fmt.Sprintf("kill %d: %d changes to be told", kill+1, len(changes)), func() bool {
			said.read(t)
			return said.missing(changes) == 0
		})
		slowest = max(slowest, time.Since(restarted))
		stop()
		acked += len(changes)
		if arrived++; t.Failed() {
			return
		}
	}
	result(t, fmt.Sprintf("kill -9 of the origin between commit and XADD, %d times: all changes arrive within 5 s of restart", kills),
		"%d of %d kills, %d acknowledged changes, all arrived, the slowest %v after the restart", arrived, kills, acked, slowest.Round(time.Millisecond))
}

// restart opens the store and starts a source of truth on it until stop.
func restart(t *testing.T, db, redisURL string) (stop func()) {
	t.Helper()
	store, err := newStore(db)
	check(t, err)
	check(t, store.Start(t.Context()))
	truth, client, err := newTruth(store, redisURL)
	check(t, err)
	check(t, truth.Start(t.Context()))
	return func() { check(t, errors.Join(truth.Close(), store.Close(), client.Close())) }
}

// TestTwoOriginProcesses has two processes on one PostgreSQL take concurrent changes of the same
// users while three nodes follow: versions rise, the stream has each user's in order, and the last
// one is what every node serves.
func TestTwoOriginProcesses(t *testing.T) { canary.Judge(t, twoOriginProcesses) }

// threeNodes starts three nodes, which ask the origins in turn.
func threeNodes(t *testing.T, redisURL string, clients []*origin.Client) (nodes []*node.Node) {
	t.Helper()
	for i := range 3 {
		n, err := node.New(node.Config{RedisURL: redisURL, Origin: clients[i%len(clients)]})
		check(t, err)
		closing(t, n)
		check(t, n.Start(t.Context()))
		nodes = append(nodes, n)
	}
	return nodes
}

func twoOriginProcesses(t *testing.T, bird *canary.Canary) {
	const users, writers = 100, 16
	updates := pick(800, 20_000)
	db, server := pgtest.Server(t).URL(), redistest.Server(t)
	var clients []*origin.Client
	for range 2 {
		c, err := origin.NewClient(origin.ClientConfig{URL: "http://" + serveOrigin(t, db, server.URL()), Timeout: 20 * time.Second})
		check(t, err)
		closing(t, c)
		clients = append(clients, c)
	}
	nodes := threeNodes(t, server.URL(), clients)
	for u := range users {
		_, err := clients[u%2].Create(t.Context(), &profile.Profile{ID: fmt.Sprint("u", u)})
		check(t, err)
	}
	began := time.Now()
	var writing sync.WaitGroup
	late := make([]int, writers)
	for w := range writers {
		writing.Go(func() { late[w] = updateAll(t, clients[w%2], w, updates/writers, users) })
	}
	reading, stop := context.WithCancel(t.Context())
	var looking sync.WaitGroup
	for _, n := range nodes { // they have something to refresh
		looking.Go(func() { readAll(reading, n, users) })
	}
	said := newTold(server.Client())
	writing.Wait()
	stop()
	looking.Wait()
	took := time.Since(began)
	for u := range users {
		id := fmt.Sprint("u", u)
		p, err := clients[0].Load(t.Context(), id)
		check(t, err)
		within(t, bird, 5*time.Second, id+" to be told and served in its last version", func() bool {
			said.read(t)
			for _, n := range nodes {
				if r, err := n.Get(t.Context(), id); err != nil || r.Version() != p.UpdatedAt {
					return false
				}
			}
			return said.last[id] == p.UpdatedAt
		})
	}
	if got, want := said.count(), users+updates; got != want {
		t.Errorf("%d changes on the stream; want %d", got, want)
	}
	sum := 0
	for _, n := range late {
		sum += n
	}
	result(t, fmt.Sprintf("two origin processes, %d concurrent updates to %d users: versions strictly increase, events of each user in order, the last version is what every node serves", updates, users),
		"so it is on three nodes; %d events in order; %.0f updates/s, %d answered 202", said.count(), float64(updates)/took.Seconds(), sum)
}

func (s *told) count() int { return len(s.seen) }

// updateAll has one writer change all users in turn, each writer at the same time the same ones,
// and wants rising versions.
func updateAll(t *testing.T, c *origin.Client, writer, n, users int) (late int) {
	last := map[string]int64{}
	for i := range n {
		id, nom := fmt.Sprint("u", i%users), strconv.Itoa(writer*n+i)
		w, err := c.Put(t.Context(), id, origin.Update{Nom: &nom})
		if err != nil {
			t.Errorf("put %s: %v", id, err)
			return late
		}
		if w.Version <= last[id] {
			t.Errorf("%s: version %d after %d", id, w.Version, last[id])
		}
		last[id] = w.Version
		if !w.Relayed {
			late++
		}
	}
	return late
}

func readAll(ctx context.Context, n *node.Node, users int) {
	for i := 0; ctx.Err() == nil; i++ {
		_, _ = n.Get(ctx, fmt.Sprint("u", i%users))
		wait(ctx, time.Millisecond)
	}
}
