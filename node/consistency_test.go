package node

import (
	"context"
	"errors"
	"flag"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/oracle"
	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/sqlite"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

var puts = flag.Int("puts", 1_000, "how many changes the consistency test makes at the origin")

// bound is what docs/guarantees.md promises: once a change's answer is that old, no node returns an
// older version.
const bound = 250 * time.Millisecond

// startOrigin starts a source of truth with users "1".."n" over HTTP, whose relay tells Redis at
// redisURL, and returns a client of it.
func startOrigin(t *testing.T, redisURL string, n int) *origin.Client {
	t.Helper()
	client, err := redisconn.Open(redisURL)
	check(t, err)
	t.Cleanup(func() { _ = client.Close() })
	store, err := sqlite.New(sqlite.Config{Path: filepath.Join(t.TempDir(), "users.db"), NoSync: true})
	check(t, err)
	check(t, store.Start(t.Context()))
	t.Cleanup(func() { _ = store.Close() })
	_, err = store.BulkLoad(t.Context(), persons(n))
	check(t, err)
	truth, err := source.New(source.Config{Store: store, Redis: client, Service: source.ServiceConfig{Listen: "127.0.0.1:0"}})
	check(t, err)
	t.Cleanup(func() { _ = truth.Close() })
	check(t, truth.Start(t.Context()))
	c, err := origin.NewClient(origin.ClientConfig{URL: "http://" + truth.Addr()})
	check(t, err)
	check(t, c.Start(t.Context()))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func persons(n int) iter.Seq[*profile.Profile] {
	return func(yield func(*profile.Profile) bool) {
		for i := 1; i <= n; i++ {
			if !yield(person(strconv.Itoa(i), 1)) {
				return
			}
		}
	}
}

// TestNoNodeIsOlderThanTheBound changes users at the origin while 16 readers ask all three nodes.
// Every answer is judged: a read that starts more than the bound after a change was acknowledged
// returns that change or a newer one, and no node ever goes back.
func TestNoNodeIsOlderThanTheBound(t *testing.T) {
	canary.Judge(t, noNodeIsOlderThanTheBound)
}

func noNodeIsOlderThanTheBound(t *testing.T, c *canary.Canary) {
	const users, readers, writers = 200, 16, 4
	url := redistest.Server(t).URL()
	truth := startOrigin(t, url, users)
	o := oracle.New(oracle.Config{Bound: bound, Excuses: c.Excuses})
	var nodes []*Node
	var judges []*oracle.Node
	for i := range 3 {
		nodes = append(nodes, start(t, url, truth))
		judges = append(judges, o.Node("node "+strconv.Itoa(i+1)))
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var reading, writing sync.WaitGroup
	var late, failed atomic.Int64
	for r := range readers {
		reading.Go(func() { failed.Add(readAll(ctx, t, nodes[r%3], judges[r%3], users)) })
	}
	for w := range writers {
		writing.Go(func() {
			for i := range *puts / writers {
				id := strconv.Itoa(1 + w + writers*(i%(users/writers)))
				avatar := "v" + strconv.Itoa(i)
				written, err := truth.Put(ctx, id, origin.Update{Avatar: &avatar})
				if err != nil { // not acknowledged: it binds nobody
					failed.Add(1)
					t.Logf("put %q: %v", id, err)
					continue
				}
				o.Acked(id, written.Version, time.Now())
				if !written.Relayed {
					late.Add(1)
				}
			}
		})
	}
	writing.Wait()
	// Every change is old news by the end of this last look at all users on all nodes.
	<-time.After(bound)
	for i, n := range nodes {
		for id := 1; id <= users; id++ {
			if !lookOnce(ctx, t, n, judges[i], strconv.Itoa(id)) {
				t.Errorf("node %d does not answer for %d", i, id)
			}
		}
	}
	stop()
	reading.Wait()
	t.Logf("%d puts, %d not relayed at their answer, %d calls failed; %v", *puts, late.Load(), failed.Load(), o.Stats())
	check(t, o.Err())
	// A machine that is busy with other things may hold everything up for a second; more than that
	// is a fault.
	if n := int64(*puts / 100); late.Load() > n || failed.Load() > n {
		t.Errorf("%d answers came before their change was relayed and %d calls failed, want at most %d", late.Load(), failed.Load(), n)
	}
}

func readAll(ctx context.Context, t *testing.T, n *Node, judge *oracle.Node, users int) (failed int64) {
	for ctx.Err() == nil {
		if !lookOnce(ctx, t, n, judge, strconv.Itoa(1+rand.IntN(users))) {
			failed++
		}
		select { // 16 readers that never wait would leave the origin no processor
		case <-time.After(500 * time.Microsecond):
		case <-ctx.Done():
		}
	}
	return failed
}

// lookOnce has one answer judged and reports whether there was one.
func lookOnce(ctx context.Context, t *testing.T, n *Node, judge *oracle.Node, id string) bool {
	read := judge.Begin(id)
	r, err := n.Get(ctx, id)
	if err != nil {
		if !errors.Is(err, profile.ErrUnavailable) && ctx.Err() == nil {
			t.Errorf("get %q: %v", id, err)
		}
		return ctx.Err() != nil
	}
	read.End(r.Version(), r.Tier == look.FromStale)
	return true
}

// A node sees what was written at the origin at its next read, because a write is answered when it
// was relayed.
func TestWriteIsVisibleAtTheNextRead(t *testing.T) {
	url := redistest.Server(t).URL()
	truth := startOrigin(t, url, 10)
	n := start(t, url, truth)
	resident(t, n, "7")
	name := "Amina"
	written, err := truth.Put(t.Context(), "7", origin.Update{Prenom: &name})
	check(t, err)
	r, err := n.GetWith(t.Context(), "7", tier.Want{MinVersion: written.Version})
	check(t, err)
	if r.Profile.FullName != "Amina Diop 7" || r.Version() != written.Version {
		t.Errorf("read %+v, want version %d", r.Profile, written.Version)
	}
	_, err = truth.Delete(t.Context(), "7", nil)
	check(t, err)
	eventually(t, "the deletion to be seen", func() bool {
		_, err := n.Get(t.Context(), "7")
		return errors.Is(err, profile.ErrNotFound)
	})
}
