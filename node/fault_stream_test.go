package node

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// A node whose link to the stream falls silent, while all else works, stops to trust L1 in time.
func TestSilentStreamFencesOneNode(t *testing.T) {
	canary.Judge(t, silentStream)
}

func silentStream(t *testing.T, c *canary.Canary) {
	server := redistest.Server(t)
	r := newRig(t, server.URL(), rigConfig{links: true, bare: true, canary: c})
	stop := r.blow(4, 6)
	defer stop()
	wait(t.Context(), 500*time.Millisecond)

	r.bind(cutBound, 0)
	silent := time.Now()
	r.links[0].BlackHole(true)
	eventually(t, "the fence", func() bool { return r.nodes[0].Stats().Cache.Fenced })
	fenced := time.Since(silent)
	wait(t.Context(), pick(5*time.Second, 30*time.Second)-fenced)
	if !r.nodes[0].Stats().Cache.Fenced || r.nodes[1].Stats().Cache.Fenced || r.nodes[2].Stats().Cache.Fenced {
		t.Error("want the first node fenced, and no other")
	}
	healed := time.Now()
	r.links[0].BlackHole(false)
	eventually(t, "the end of the fence", func() bool { return !r.nodes[0].Stats().Cache.Fenced })
	unfenced := time.Since(healed)
	r.bind(bound, 0) // a node that trusts L1 again has caught up
	wait(t.Context(), time.Second)
	stop()
	t.Logf("result: stream link of one node black-holed %v | fenced within 3s, unfenced within 2s | %v, %v",
		pick(5*time.Second, 30*time.Second), fenced.Round(time.Millisecond), unfenced.Round(time.Millisecond))
	t.Logf("fenced after %v, unfenced %v after it healed", fenced.Round(time.Millisecond), unfenced.Round(time.Millisecond))
	if !c.Excuses("the fence", silent, silent.Add(fenced), fence+100*time.Millisecond) ||
		!c.Excuses("the end of the fence", healed, healed.Add(unfenced), 2*time.Second) {
		t.Errorf("fenced after %v, unfenced after %v; want %v and 2s", fenced, unfenced, fence)
	}
	r.lookAtAll()
	r.verdict()
}

// damages are what may happen to a stream while a node does not read it.
var damages = map[string]func(r *rig, c *redis.Client){
	"trimmed": func(r *rig, c *redis.Client) {
		check(r.T, c.XTrimMaxLen(r.Context(), stream.Name, 0).Err())
	},
	"deleted": func(r *rig, c *redis.Client) {
		check(r.T, c.Del(r.Context(), stream.Name).Err())
	},
	"recreated": func(r *rig, c *redis.Client) {
		check(r.T, c.Del(r.Context(), stream.Name).Err())
		r.source.update(r.Context(), "9")
	},
	"behind the cursor": func(r *rig, c *redis.Client) {
		check(r.T, c.Del(r.Context(), stream.Name).Err())
		r.tellAs(c, "9", "1-1")
	},
	"rolled back": func(r *rig, c *redis.Client) {
		check(r.T, c.RestoreReplace(r.Context(), stream.Name, 0, r.backup).Err())
	},
}

// tellAs changes a user and puts the event on the stream under an id of the caller's choice.
func (r *rig) tellAs(c *redis.Client, id, entry string) {
	r.Helper()
	v := r.source.next(id)
	p := person(id, v)
	r.source.set(p)
	_, err := r.source.announcer.L2.Apply(r.Context(), p)
	check(r.T, err)
	values, err := stream.Encode(stream.Event{Kind: profile.Updated, UserID: id, Version: v, Profile: p})
	check(r.T, err)
	check(r.T, c.XAdd(r.Context(), &redis.XAddArgs{Stream: stream.Name, ID: entry, Values: values}).Err())
	r.oracle.Acked(id, v, time.Now())
}

// A node that could not read while the stream became another one flushes before it trusts L1 again.
func TestDamagedStreamIsNoticed(t *testing.T) {
	const quick = 600 * time.Millisecond
	trials := pick(1, 20)
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			server := redistest.Server(t)
			var books books
			r := newRig(t, server.URL(), rigConfig{links: true, bare: true, users: 10, fence: quick, block: 100 * time.Millisecond, wrap: books.wrap})
			r.renew(server.Client())
			stop := r.blow(0, 6)
			defer stop()
			var slowest time.Duration
			for trial := range trials {
				slowest = max(slowest, r.sever(server.Client(), quick, damage))
				next := "2"
				// ids by the clock would hide a cursor that waits in the future
				if name == "behind the cursor" {
					r.tellAs(server.Client(), next, fmt.Sprint(2+trial, "-1"))
				} else {
					r.source.update(t.Context(), next)
				}
				eventually(t, "the next event", func() bool { return books[0].has(map[string]int{fmt.Sprint(next, "@", r.source.version(next)): 1}) })
				wait(t.Context(), bound)
				r.lookAtAll()
				check(t, r.oracle.Err())
				r.renew(server.Client())
			}
			stop()
			t.Logf("result: stream %s, %d times | each noticed within 1s, the next event received | %d, within %v",
				name, trials, trials, slowest.Round(time.Millisecond))
			t.Logf("noticed %v after the link was whole at the latest", slowest.Round(time.Millisecond))
			if slowest > time.Second {
				t.Errorf("noticed after %v, want 1s", slowest)
			}
		})
	}
}

// sever cuts the first node off until it is fenced, while residents of its L1 change and the stream
// is damaged. It returns how long after the link was whole again the flush came.
func (r *rig) sever(c *redis.Client, fence time.Duration, damage func(*rig, *redis.Client)) time.Duration {
	r.Helper()
	var err error
	r.backup, err = c.Dump(r.Context(), stream.Name).Result()
	check(r.T, err)
	r.source.update(r.Context(), "8") // after the backup
	// or the backup's end is where the first node stands, and nothing went backwards for it
	r.allRead(c)
	for id := 1; id <= 10; id++ {
		resident(r.T, r.nodes[0], strconv.Itoa(id))
	}
	before := r.nodes[0].Stats()
	r.bind(fence+bound, 0)
	r.links[0].BlackHole(true)
	r.links[0].Reset()
	for id := 1; id <= 5; id++ {
		r.source.update(r.Context(), strconv.Itoa(id))
	}
	damage(r, c)
	eventually(r.T, "the fence", func() bool { return r.nodes[0].Stats().Cache.Fenced })
	wait(r.Context(), 2*bound) // so that all that was acknowledged binds
	healed := time.Now()
	r.links[0].BlackHole(false)
	eventually(r.T, "the flush", func() bool { return r.nodes[0].Stats().Cache.Flushes > before.Cache.Flushes })
	noticed := time.Since(healed)
	eventually(r.T, "the end of the fence", func() bool { return !r.nodes[0].Stats().Cache.Fenced })
	r.bind(bound, 0)
	return noticed
}

// renew gives the stream a present again, which all nodes read.
func (r *rig) renew(c *redis.Client) {
	r.Helper()
	check(r.T, c.Del(r.Context(), stream.Name).Err())
	r.source.update(r.Context(), "10")
	r.allRead(c)
}

// allRead waits until every node has read the stream to its end.
func (r *rig) allRead(c *redis.Client) {
	r.Helper()
	for i, n := range r.nodes {
		eventually(r.T, fmt.Sprintf("node %d to read all of the stream", i+1), func() bool {
			last, _ := c.XInfoStream(r.Context(), stream.Name).Result()
			return last != nil && n.tail.Stats().LastID == last.LastGeneratedID
		})
	}
}

// record is a handler that notes which versions came.
type record struct {
	stream.Handler
	mu  sync.Mutex
	got map[string]int
}

// books are the records of three nodes.
type books [3]*record

func (b *books) wrap(i int, h stream.Handler) stream.Handler {
	b[i] = &record{Handler: h, got: map[string]int{}}
	return b[i]
}

func (r *record) Handle(e stream.Event) {
	r.mu.Lock()
	r.got[fmt.Sprint(e.UserID, "@", e.Version)]++
	r.mu.Unlock()
	r.Handler.Handle(e)
}

// When the reply to XADD is lost nobody knows whether the entry is there, so that some come twice
// or late. Every change arrives on every node all the same, and no node goes back.
func TestLostRepliesOfXADD(t *testing.T) {
	server := redistest.Server(t)
	link := redistest.ProxyTo(t, server.Addr)
	var books books
	r := newRig(t, server.URL(), rigConfig{
		publisher: func(t *testing.T) redis.UniversalClient {
			client, err := redisconn.Open("redis://" + link.Addr)
			check(t, err)
			t.Cleanup(func() { _ = client.Close() })
			return client
		},
		wrap: books.wrap,
	})
	stop := r.blow(0, 6)
	defer stop()
	rnd := rand.New(rand.NewPCG(r.seed, 0))
	lost := 0
	want := map[string]int{}
	for i := range pick(250, 5000) {
		if i%10 < 3 {
			link.CutReply("xadd", 0)
			lost++
		}
		id := strconv.Itoa(1 + rnd.IntN(r.users))
		want[fmt.Sprint(id, "@", r.source.update(t.Context(), id))] = 1
	}
	duplicates := 0
	for i, b := range books {
		eventually(t, fmt.Sprintf("all versions on node %d", i+1), func() bool { return b.has(want) })
		for _, n := range b.got {
			duplicates += n - 1
		}
	}
	wait(t.Context(), bound)
	r.lookAtAll()
	stop()
	t.Logf("result: replies of XADD lost | 30 %% of 5,000; every version arrives, none goes back | %d of %d lost, all arrived, %d violations",
		lost, len(want), r.oracle.Stats().Violations)
	t.Logf("%d of %d replies lost; %d versions came twice on three nodes", lost, len(want), duplicates)
	if duplicates == 0 {
		t.Error("no entry came twice: no reply was lost")
	}
}

func (r *record) has(want map[string]int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key := range want {
		if r.got[key] == 0 {
			return false
		}
	}
	return true
}

// badEntry returns the n-th of many entries that are no good event. Some name a user, most do not.
func badEntry(n int, user string) map[string]any {
	switch n % 100 {
	case 0:
		return map[string]any{"payload": `{"event":"user.profile.updated","userId":"` + user + `","fullName":"` + strings.Repeat("x", 64<<10) + `"}`}
	case 1:
		return map[string]any{"payload": "{", "profile": strings.Repeat("\xdd", profile.MaxSize+1)}
	}
	return [...]map[string]any{
		{"payload": `{"event":"user.profile.renamed","userId":"` + user + `","timestamp":1}`},
		{"payload": `not JSON`},
		{"payload": strings.Repeat("[", 5000)},
		{"other": "field"},
		{"payload": `{"event":"user.profile.updated","userId":"../../etc/passwd","timestamp":5}`},
		{"payload": `{"event":"user.profile.updated","timestamp":-1}`},
		{"payload": `{"event":"user.profile.updated","userId":"no such","timestamp":99999999999999999999}`},
	}[n%7]
}

// badAmongGood adds as many bad entries as good ones to the stream, and returns the last version of
// each user.
func badAmongGood(ctx context.Context, r *rig, client redis.UniversalClient, entries int) map[string]int64 {
	last := map[string]int64{}
	for i := 0; i < entries; i += 100 {
		pipe := client.Pipeline()
		for j := i; j < i+100; j++ {
			id := strconv.Itoa(1 + j%r.users)
			v := r.source.next(id)
			r.source.set(person(id, v))
			last[id] = v
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: stream.Name, Values: badEntry(j, id)})
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: stream.Name, Values: foreign(r.T, id, v)})
		}
		_, err := pipe.Exec(ctx)
		check(r.T, err)
	}
	return last
}

// Entries that nobody understands stand in nobody's way.
func TestBadEntriesAmongGoodOnes(t *testing.T) {
	entries := pick(2000, 10_000)
	server := redistest.Server(t)
	r := newRig(t, server.URL(), rigConfig{})
	// entries without an origin that told Redis first are acknowledged by nobody: only going back
	// counts
	r.bind(unjudged)
	stop := r.blow(0, 3)
	defer stop()
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	var longest [3]time.Duration
	for i, n := range r.nodes {
		watching.Go(func() { longest[i] = standstill(ctx, server.Client(), n) })
	}
	last := badAmongGood(ctx, r, server.Client(), entries)
	for id, v := range last {
		eventually(t, fmt.Sprintf("version %d of %q on every node and in Redis", v, id), func() bool {
			got, err := server.Client().HGet(ctx, profile.KeyPrefix+id, "updatedAt").Int64()
			// a bad entry that names the user made Redis forget him
			ok := err == nil && got == v || err == redis.Nil
			for i := range r.nodes {
				a, err := r.look(ctx, i, id)
				ok = ok && err == nil && a.Version() == v
			}
			return ok
		})
	}
	eventually(t, "the workers to be done", func() bool {
		b, err := stream.Inspect(ctx, server.Client(), "", "")
		return err == nil && b.Pending == 0 && b.Delivered == b.LastID
	})
	cancel()
	watching.Wait()
	stop()
	var applied uint64
	for i, n := range r.nodes {
		s := n.Stats()
		refused := 0
		for v := range maps.Values(s.Stream.Refused) {
			refused += int(v)
		}
		t.Logf("node %d: %d entries, %d refused, cursor stood still for %v at most; worker %+v", i+1, s.Stream.Entries, refused, longest[i], *s.Worker)
		applied += s.Worker.Applied + s.Worker.Unchanged
		if refused < entries || longest[i] > time.Second || s.Cache.Flushes > 0 {
			t.Errorf("node %d: want %d refused, no standstill of 1s, no flush; %d flushes", i+1, entries, s.Cache.Flushes)
		}
	}
	t.Logf("result: bad entries among as many good ones | 10,000 and 10,000; the cursor never stands still for 1s | %d, %d applied, %v at most",
		entries, applied, max(longest[0], longest[1], longest[2]).Round(time.Millisecond))
	if applied < uint64(entries) {
		t.Errorf("the workers applied %d events, want %d", applied, entries)
	}
}

// foreign is an entry as another service writes it: only XADD, the contract's fields.
func foreign(t *testing.T, id string, v int64) map[string]any {
	payload, err := json.Marshal(map[string]any{"event": "user.profile.updated", "userId": id, "fullName": person(id, v).FullName, "timestamp": v})
	check(t, err)
	return map[string]any{"payload": string(payload)}
}

// standstill returns the longest time for which a node's tail did not move although there were
// entries to read.
func standstill(ctx context.Context, c *redis.Client, n *Node) (longest time.Duration) {
	var before string
	since := time.Now()
	for ctx.Err() == nil {
		last := ""
		if info, err := c.XInfoStream(ctx, stream.Name).Result(); err == nil {
			last = info.LastGeneratedID
		}
		at := n.tail.Stats().LastID
		if at != before || at == last {
			before, since = at, time.Now()
		}
		longest = max(longest, time.Since(since))
		wait(ctx, 5*time.Millisecond)
	}
	return longest
}

// A failover to a replica that lacks the last changes. With min-replicas-to-write a change is not
// acknowledged before it is safe; without, the nodes know what the new master does not.
func TestFailoverThatLosesTheLastChanges(t *testing.T) {
	for name, lines := range map[string][]string{
		"with min-replicas-to-write": {"min-replicas-to-write 1", "min-replicas-max-lag 1"}, "without": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // mostly waiting
			canary.Judge(t, func(t *testing.T, c *canary.Canary) {
				s := redistest.Sentinel(t, redistest.Options{Lines: lines})
				r := newRig(t, s.URL(), rigConfig{users: 600, canary: c})
				r.lookAtAll()
				stop := r.blow(0, 6)
				defer stop()
				r.failOver(s, lines != nil)
				r.lookAtAll()
				stop()
			})
		})
	}
}

// lost counts the answers of all nodes about the users 1 to n that lack the last change, or are
// marked stale.
func (r *rig) lost(n int) (lost int) {
	for id := 1; id <= n; id++ {
		id := strconv.Itoa(id)
		for n := range r.nodes {
			if got, err := r.lookAgain(n, id); err != nil || got.Version() < r.source.version(id) || got.Tier == look.FromStale {
				lost++
			}
		}
	}
	return lost
}

func (r *rig) failOver(s *redistest.SentinelProc, safe bool) {
	ctx := r.Context()
	old, err := s.MasterAddr(ctx)
	check(r.T, err)
	// A password that the master does not know keeps the replica from coming back once its link is
	// cut.
	check(r.T, s.Replica.Client().ConfigSet(ctx, "masterauth", "wrong").Err())
	check(r.T, s.Master.Client().Do(ctx, "CLIENT", "KILL", "TYPE", "replica").Err())
	if safe {
		// it will be alone
		check(r.T, s.Replica.Client().ConfigSet(ctx, "min-replicas-to-write", "0").Err())
	}
	var changes sync.WaitGroup
	for w := range 10 {
		changes.Go(func() {
			for i := range 50 {
				r.source.update(ctx, strconv.Itoa(1+w*50+i))
			}
		})
	}
	if safe {
		eventually(r.T, "the master to refuse changes", func() bool { return r.source.untold.Load() == 10 })
	} else {
		changes.Wait()
	}
	r.Logf("%d changes made, %d of them not told yet", r.source.changes.Load(), r.source.pending.Load())
	flushes := r.flushes()
	r.bind(cutBound)
	r.source.cut.Store(true)
	check(r.T, s.Master.Kill())
	_, err = s.AwaitFailover(ctx, old)
	r.bind(unjudged)
	r.source.cut.Store(false)
	check(r.T, err)
	back := time.Now()
	eventually(r.T, "every node to flush", func() bool {
		now := r.flushes()
		return now[0] > flushes[0] && now[1] > flushes[1] && now[2] > flushes[2]
	})
	r.Logf("every node has flushed %v after the failover", time.Since(back).Round(time.Millisecond))
	flushed := time.Since(back)
	if !r.canary.Excuses("flushes after the failover", back, back.Add(flushed), fence) {
		r.Errorf("the last node flushed after %v, want 3s", flushed)
	}
	changes.Wait()
	eventually(r.T, "all changes to be told", func() bool { return r.source.pending.Load() == 0 })
	wait(ctx, time.Second-time.Since(back))
	r.bind(bound)
	wait(ctx, time.Second)
	lost := r.lost(500)
	r.Logf("result: Sentinel failover with replication held, 500 changes, min-replicas-to-write %t | none lost; every node flushes within 3s | %d of 1500 answers lack one, all flushed within %v",
		safe, lost, flushed.Round(time.Millisecond))
	r.Logf("%d of 1500 answers lack the last change", lost)
	if lost > 0 {
		r.Errorf("%d answers lack the last change", lost)
	}
}

func (r *rig) flushes() (n [3]uint64) {
	for i := range n {
		n[i] = r.nodes[i].Stats().Cache.Flushes
	}
	return n
}
