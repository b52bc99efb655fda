package outage

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/pgtest"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/sample"
)

// relayWait is how long the answer to a change waits for its announcement.
const relayWait = 250 * time.Millisecond

// stuckUsers sample users are enough to find a thousand whose keys are on one shard.
const stuckUsers = 4000

// trouble keeps some users from being announced while others can be.
type trouble struct {
	url    string
	stream *redis.Client // the server with the stream
	stuck  []string      // users who cannot be announced between begin and end
	others []string
	begin  func(n int) // only the first n of them
	end    func(n int)
}

// guardsForbidden is one Redis, which lets nobody touch the guards of some users.
func guardsForbidden(t *testing.T) *trouble {
	server := redistest.Server(t)
	tr := &trouble{url: server.URL(), stream: server.Client()}
	for u := 1; u <= stuckUsers; u++ {
		if id := strconv.Itoa(u); strings.Contains("369", id[len(id)-1:]) {
			tr.stuck = append(tr.stuck, id)
		} else {
			tr.others = append(tr.others, id)
		}
	}
	may := func(rules ...any) {
		check(t, tr.stream.Do(t.Context(), append([]any{"ACL", "SETUSER", "default", "resetkeys"}, rules...)...).Err())
	}
	tr.begin = func(int) {
		may("~{user:profile:*[^369]}:guard", "~{user:profile:*}:lease", "~user:profile:*", "~events:users*")
	}
	tr.end = func(int) { may("allkeys") }
	return tr
}

// shardAway is a cluster of three that goes on without one of them, which does not have the stream:
// killed, or stopped.
func shardAway(t *testing.T, leave, back func(*redistest.Proc) error) *trouble {
	c, err := redistest.StartCluster(t.Context(), redistest.Options{Lines: []string{"cluster-require-full-coverage no"}})
	check(t, err)
	closing(t, c)
	shard := func(key string) int {
		slot, err := c.Nodes[0].Client().ClusterKeySlot(t.Context(), key).Result()
		check(t, err)
		return int(slot) * len(c.Nodes) / 16384
	}
	keeps := shard("events:users")
	away := (keeps + 1) % len(c.Nodes)
	tr := &trouble{url: c.URL(), stream: c.Nodes[keeps].Client()}
	for u := 1; u <= stuckUsers; u++ {
		if id := strconv.Itoa(u); shard(profile.Key(id)) == away {
			tr.stuck = append(tr.stuck, id)
		} else {
			tr.others = append(tr.others, id)
		}
	}
	tr.begin = func(int) {
		check(t, leave(c.Nodes[away]))
		// while they agree on that, they hold up everybody for some 100 ms
		for i, p := range c.Nodes {
			eventually(t, 20*time.Second, "the shard to be missed by the others", func() bool { return i == away || misses(t, p.Client()) })
		}
	}
	tr.end = func(int) { check(t, back(c.Nodes[away])) }
	return tr
}

// misses reports whether a node of a cluster takes another one for dead.
func misses(t *testing.T, node *redis.Client) bool {
	nodes, err := node.ClusterNodes(t.Context()).Result()
	check(t, err)
	return strings.Contains(nodes, "master,fail ")
}

// TestStuckUsersHoldUpNobodyElse changes users who cannot be announced, and then others: these are
// announced as on a calm day, the first ones soon after the cause has ended, all of them, in order.
func TestStuckUsersHoldUpNobodyElse(t *testing.T) {
	causes := map[string]func(*testing.T) *trouble{
		"guards that nobody may touch": guardsForbidden,
		"a shard that was killed": func(t *testing.T) *trouble {
			return shardAway(t, (*redistest.Proc).Kill, (*redistest.Proc).Restart)
		},
		"a shard that hangs": func(t *testing.T) *trouble { return shardAway(t, (*redistest.Proc).Pause, (*redistest.Proc).Resume) },
	}
	counts := pick([]int{40}, []int{1, 10, 100, 1000})
	for cause, make := range causes {
		t.Run(cause, func(t *testing.T) {
			for _, n := range counts {
				t.Run(fmt.Sprint(n), func(t *testing.T) {
					canary.Judge(t, func(t *testing.T, bird *canary.Canary) {
						tr := make(t)
						truth := startTruth(t, newTruthStore(t, t.TempDir()), tr.url)
						stickAndHeal(t, bird, tr, n, []*origin.Client{clientOf(t, truth)})
					})
				})
			}
		})
	}
	t.Run("two processes on one PostgreSQL", func(t *testing.T) {
		for _, n := range counts {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				canary.Judge(t, func(t *testing.T, bird *canary.Canary) {
					tr, db := guardsForbidden(t), pgtest.Server(t).URL()
					fillTruth(t, db)
					clients := []*origin.Client{clientOf(t, serveOrigin(t, db, tr.url)), clientOf(t, serveOrigin(t, db, tr.url))}
					stickAndHeal(t, bird, tr, n, clients)
				})
			})
		}
	})
}

func fillTruth(t *testing.T, db string) {
	t.Helper()
	check(t, newTruthStore(t, db).Close())
}

func newTruthStore(t *testing.T, db string) source.Store {
	t.Helper()
	store, err := newStore(db)
	check(t, err)
	check(t, store.Start(t.Context()))
	closing(t, store)
	_, err = store.BulkLoad(t.Context(), sample.Users(1, stuckUsers))
	check(t, err)
	return store
}

func clientOf(t *testing.T, addr string) *origin.Client {
	t.Helper()
	c, err := origin.NewClient(origin.ClientConfig{URL: "http://" + addr, Timeout: 20 * time.Second})
	check(t, err)
	closing(t, c)
	return c
}

// stickAndHeal changes n users who cannot be announced twice each, then others, and ends the
// trouble.
func stickAndHeal(t *testing.T, bird *canary.Canary, tr *trouble, n int, clients []*origin.Client) {
	t.Helper()
	// a client that first connects while a shard is away takes half a second
	putAll(t, bird, clients, tr.others[:100], 4)
	tr.begin(n)
	said := newTold(tr.stream)
	first := putAll(t, bird, clients, tr.stuck[:n], 64)
	second := putAll(t, bird, clients, tr.stuck[:n], 64)
	if got := first.late + second.late; got != 2*n {
		t.Errorf("%d of %d changes of users who cannot be announced are late", got, 2*n)
	}
	ids := tr.others[:pick(200, 1000)]
	others := putAll(t, bird, clients, ids, 4)
	if most := pick(len(ids)/20, 0); others.late-others.excused > most {
		t.Errorf("beside %d stuck users %d of %d changes of others are late, %d by the machine; want at most %d", n, others.late, len(ids),
			others.excused, most)
	}
	within(t, bird, time.Second, "the changes of others to be told", func() bool {
		said.read(t)
		return said.missing(others.changes) == 0
	})
	tr.end(n)
	ended := time.Now()
	all := slices.Concat(first.changes, second.changes, others.changes)
	within(t, bird, 10*time.Second, "the changes of stuck users to be told", func() bool {
		said.read(t)
		return said.missing(all) == 0
	})
	result(t, fmt.Sprintf("%d users who cannot be announced: changes of others are announced as on a calm day", n),
		"%d changes, %d of them late, p50 %v, p99 %v, the longest %v; the stuck ones told %v after the cause ended", len(ids), others.late,
		quantile(others.took, 0.5).Round(time.Microsecond), quantile(others.took, 0.99).Round(time.Microsecond),
		quantile(others.took, 1).Round(time.Microsecond), time.Since(ended).Round(time.Millisecond))
}

// puts is what became of some changes.
type puts struct {
	changes []string // "id version"
	took    []time.Duration
	// late are those whose answer came before they were announced, excused those of them that the
	// machine held up.
	late, excused int
}

// putAll changes each user once, by some writers at a time.
func putAll(t *testing.T, bird *canary.Canary, clients []*origin.Client, ids []string, writers int) (all puts) {
	t.Helper()
	var mu sync.Mutex
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := w; i < len(ids); i += writers {
				nom, began := fmt.Sprint("n", time.Now().UnixNano()), time.Now()
				change, err := clients[i%len(clients)].Put(t.Context(), ids[i], origin.Update{Nom: &nom})
				mu.Lock()
				if err != nil {
					t.Errorf("put %s: %v", ids[i], err)
				}
				all.changes = append(all.changes, fmt.Sprintf("%s %d", ids[i], change.Version))
				all.took = append(all.took, time.Since(began))
				if !change.Relayed {
					all.late++
					if bird.Stall(began, time.Now()) > relayWait/5 {
						all.excused++
					}
				}
				mu.Unlock()
			}
		})
	}
	writing.Wait()
	return all
}
