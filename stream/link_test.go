package stream

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

// TestARestartedServerIsAnotherOne: what it acknowledged last may be lost even if it kept all else.
func TestARestartedServerIsAnotherOne(t *testing.T) {
	for name, o := range map[string]redistest.Options{"that keeps everything": {AOF: true}, "that keeps nothing": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.ServerWith(t, o)
			r := &recorder{}
			tail := startTail(t, server.URL(), r)
			var want []string
			for round := range int64(3) {
				add(t, server.Client(), round)
				want = append(want, fmt.Sprintf("7@%d", round))
				await(t, "an entry", func() bool { return r.has(want[len(want)-1]) })
				must(t, server.Restart())
				want = append(want, "flush failover")
				await(t, "a flush", func() bool { return len(r.flushes()) == int(round)+1 })
				r.awaitAlive(t, 2)
			}
			if got := r.list(); !slices.Equal(got, want) {
				t.Errorf("calls %v, want %v", got, want)
			}
			if s := tail.Stats(); s.Reconnects < 3 || s.Gaps[gapFailover] != 3 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

func TestADeadServerIsAskedAgainWithPauses(t *testing.T) { canary.Judge(t, askADeadServerAgain) }

func askADeadServerAgain(t *testing.T, bird *canary.Canary) {
	server := redistest.Server(t)
	log, book := testLogbook(t)
	r := &recorder{}
	startTailWith(t, TailConfig{Client: tailClient(t, server.URL()), Handler: r, Logger: log})
	r.awaitAlive(t, 1)
	must(t, server.Kill())
	await(t, "the sixth attempt", func() bool { return strings.Contains(book.String(), "attempt=6") })
	alive := r.aliveCount()
	must(t, server.Restart())
	back := time.Now()
	await(t, "the server's return", func() bool { return r.aliveCount() > alive })
	bird.Within(t, "the server's return", back, 2*time.Second)
	for n := range 6 {
		line := fmt.Sprintf("attempt=%d error=", n+1)
		if got := strings.Count(book.String(), line); got != 1 {
			t.Errorf("%d lines of attempt %d", got, n+1)
		}
	}
	if !strings.Contains(book.String(), "pause=") {
		t.Error("no pause in the log")
	}
}

// TestABrokenLinkLosesNothing: entries that were added while the link was down are read afterwards,
// without a flush.
func TestABrokenLinkLosesNothing(t *testing.T) {
	server := redistest.Server(t)
	proxy := redistest.ProxyTo(t, server.Addr)
	r := &recorder{}
	tail := startTail(t, "redis://"+proxy.Addr, r)
	const total = 2000
	for v := int64(1); v <= total; v++ {
		add(t, server.Client(), v)
		switch {
		case v%400 == 0:
			proxy.Reset()
		case v%400 == 200:
			proxy.CutReply("xread", 700) // in the middle of an entry
		}
	}
	await(t, "the last entry", func() bool { return r.has(fmt.Sprintf("7@%d", total)) })
	for i, call := range r.list() {
		if call != fmt.Sprintf("7@%d", i+1) {
			t.Fatalf("call %d is %q", i, call)
		}
	}
	if s := tail.Stats(); s.Reconnects < 2 || s.Lost < 2 {
		t.Errorf("stats %+v", s)
	}
}

// TestAReplyThatWasHeldBackProvesOldNews: what a reply tells is as old as the time that it may have
// been under way.
func TestAReplyThatWasHeldBackProvesOldNews(t *testing.T) {
	const held = 150 * time.Millisecond
	server := redistest.Server(t)
	proxy := redistest.ProxyTo(t, server.Addr)
	r := &recorder{}
	startTailWith(t, TailConfig{Client: tailClient(t, "redis://"+proxy.Addr), Handler: r, Replay: -1, Block: 100 * time.Millisecond})
	age := func() time.Duration {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.age
	}
	proxy.Delay(held)
	await(t, "a read that found nothing, held back", func() bool { return age() >= held && age() < 400*time.Millisecond })
	proxy.Delay(0)
	await(t, "one that was not", func() bool { return age() < held/2 })
}

// TestABlackHole: a link on which nothing comes and nothing fails is given up, and tried again
// until it heals.
func TestABlackHole(t *testing.T) { canary.Judge(t, blackHole) }

func blackHole(t *testing.T, bird *canary.Canary) {
	server := redistest.Server(t)
	proxy := redistest.ProxyTo(t, server.Addr)
	r := &recorder{}
	tail := startTailWith(t, TailConfig{Client: tailClient(t, "redis://"+proxy.Addr), Handler: r, Replay: -1})
	r.awaitAlive(t, 2)
	proxy.BlackHole(true)
	began := time.Now()
	await(t, "the link to be given up", func() bool { return tail.Stats().Lost == 1 })
	bird.Within(t, "the link's end", began, 1500*time.Millisecond)
	alive := r.aliveCount()
	add(t, server.Client(), 1)
	await(t, "some attempts", func() bool { return proxy.Accepted() >= 4 })
	if r.aliveCount() != alive {
		t.Error("alive without a link")
	}
	proxy.BlackHole(false)
	began = time.Now()
	await(t, "life", func() bool { return r.aliveCount() > alive })
	bird.Within(t, "the link's return", began, 2*time.Second)
	if got := r.list(); !slices.Equal(got, []string{"7@1"}) {
		t.Errorf("calls %v", got)
	}
}

func TestCloseOnABlackHole(t *testing.T) { canary.Judge(t, closeOnABlackHole) }

func closeOnABlackHole(t *testing.T, bird *canary.Canary) {
	server := redistest.Server(t)
	proxy := redistest.ProxyTo(t, server.Addr)
	r := &recorder{}
	tail := startTailWith(t, TailConfig{Client: tailClient(t, "redis://"+proxy.Addr), Handler: r})
	r.awaitAlive(t, 1)
	proxy.BlackHole(true)
	began := time.Now()
	must(t, tail.Close())
	bird.Within(t, "Close", began, maxBlock+linkGrace+time.Second)
}

func TestASentinelFailoverFlushesOnce(t *testing.T) {
	s := redistest.Sentinel(t, redistest.Options{})
	r := &recorder{}
	startTail(t, s.URL(), r)
	add(t, s.Client(), 1)
	await(t, "the first entry", func() bool { return r.has("7@1") })
	old, err := s.MasterAddr(t.Context())
	must(t, err)
	must(t, s.Master.Kill())
	_, err = s.AwaitFailover(t.Context(), old)
	must(t, err)
	await(t, "the flush", func() bool { return len(r.flushes()) > 0 })
	await(t, "an entry of the new master", func() bool {
		values, _ := Encode(updated("7", 2))
		return s.Client().XAdd(t.Context(), &redis.XAddArgs{Stream: Name, Values: values}).Err() == nil
	})
	await(t, "the second entry", func() bool { return r.has("7@2") })
	r.awaitAlive(t, 2)
	if got := r.flushes(); !slices.Equal(got, []string{gapFailover}) {
		t.Errorf("flushes %v", got)
	}
}

// TestADemotedMasterIsNotBelieved: it goes on answering reads, of a stream that is no longer its
// own.
func TestADemotedMasterIsNotBelieved(t *testing.T) {
	server, other := redistest.Server(t), redistest.Server(t)
	log, book := testLogbook(t)
	r := &recorder{}
	startTailWith(t, TailConfig{Client: tailClient(t, server.URL()), Handler: r, Replay: -1, Logger: log, Block: 50 * time.Millisecond})
	add(t, server.Client(), 1)
	await(t, "the entry", func() bool { return r.has("7@1") })
	// A first replica gives the master a new replication id. That is no failover.
	host, port, _ := net.SplitHostPort(server.Addr)
	must(t, other.Client().ReplicaOf(t.Context(), host, port).Err())
	await(t, "a replica", func() bool {
		return strings.Contains(server.Client().Info(t.Context(), "replication").Val(), "connected_slaves:1")
	})
	r.awaitAlive(t, 25) // about two seconds: longer than identifyEvery
	if got := r.flushes(); len(got) > 0 {
		t.Fatalf("flushes %v for a replica that attached", got)
	}
	must(t, other.Client().ReplicaOf(t.Context(), "no", "one").Err())
	otherHost, otherPort, _ := net.SplitHostPort(other.Addr)
	must(t, server.Client().ReplicaOf(t.Context(), otherHost, otherPort).Err())
	await(t, "doubt", func() bool { return strings.Contains(book.String(), errNotMaster.Error()) })
	must(t, server.Client().ReplicaOf(t.Context(), "no", "one").Err())
	await(t, "the flush", func() bool { return len(r.flushes()) > 0 })
	r.awaitAlive(t, 2)
	if got := r.flushes(); !slices.Equal(got, []string{gapFailover}) {
		t.Errorf("flushes %v", got)
	}
}

func TestLostHistory(t *testing.T) {
	const none = "0000000000000000000000000000000000000000"
	was := identity{runID: "a", replID: "r", replID2: none}
	for name, tc := range map[string]struct {
		now         identity
		seen, blind bool // lost if the link held, and if it was down in between
	}{
		"the same":              {was, false, false},
		"a restart":             {identity{runID: "b", replID: "r", replID2: none}, true, true},
		"a first replica":       {identity{runID: "a", replID: "s", replID2: none}, false, true},
		"demoted and promoted":  {identity{runID: "a", replID: "s", replID2: "t"}, true, true},
		"promoted, then backed": {identity{runID: "a", replID: "r", replID2: "t"}, false, false},
	} {
		if seen, blind := tc.now.lostHistory(was, false), tc.now.lostHistory(was, true); seen != tc.seen || blind != tc.blind {
			t.Errorf("%s: %v and after a broken link %v", name, seen, blind)
		}
	}
}

func TestATailOfACluster(t *testing.T) {
	cluster := redistest.Cluster(t)
	r := &recorder{}
	startTail(t, cluster.URL(), r)
	add(t, cluster.Client(), 1)
	await(t, "the entry", func() bool { return r.has("7@1") })
	master, err := cluster.Client().MasterForKey(t.Context(), Name)
	must(t, err)
	for _, node := range cluster.Nodes {
		if node.Addr == master.Options().Addr {
			must(t, node.Restart())
		}
	}
	must(t, cluster.AwaitOK(t.Context()))
	await(t, "the flush", func() bool { return len(r.flushes()) > 0 })
	await(t, "an entry", func() bool {
		values, _ := Encode(updated("7", 2))
		return cluster.Client().XAdd(t.Context(), &redis.XAddArgs{Stream: Name, Values: values}).Err() == nil
	})
	await(t, "the second entry", func() bool { return r.has("7@2") })
	if got := r.flushes(); !slices.Equal(got, []string{gapFailover}) {
		t.Errorf("flushes %v", got)
	}
}

// TestTheEmbeddedServer tells neither how many entries there were nor who it is.
func TestTheEmbeddedServer(t *testing.T) {
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	g := newGate()
	r := &recorder{onHandle: g.pass}
	startTail(t, "redis://"+server.Addr(), r)
	r.awaitAlive(t, 2)
	for v := int64(1); v <= 50; v++ {
		add(t, client, v, withMaxLen(20))
		await(t, "an entry", func() bool { return r.has(fmt.Sprintf("7@%d", v)) })
	}
	if got := r.flushes(); len(got) > 0 {
		t.Fatalf("flushes %v, and nothing was missed", got)
	}
	g.shut()
	for v := int64(51); v <= 100; v++ {
		add(t, client, v, withMaxLen(20))
	}
	g.release()
	await(t, "the last entry", func() bool { return r.has("7@100") })
	must(t, client.Del(t.Context(), Name).Err())
	await(t, "the second flush", func() bool { return len(r.flushes()) > 1 })
	r.awaitAlive(t, 2)
	if got := r.flushes(); !slices.Equal(got, []string{gapUnproven, gapDeleted}) {
		t.Errorf("flushes %v", got)
	}
}

// TestAServerThatForbidsInfo: nobody can tell that it is the same after a broken link.
func TestAServerThatForbidsInfo(t *testing.T) {
	server := redistest.Server(t)
	must(t, server.Client().Do(t.Context(), "ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@read", "+@connection").Err())
	proxy := redistest.ProxyTo(t, server.Addr)
	log, book := testLogbook(t)
	r := &recorder{}
	startTailWith(t, TailConfig{Client: tailClient(t, "redis://reader:pw@"+proxy.Addr), Handler: r, Replay: -1, Logger: log, Block: 20 * time.Millisecond})
	add(t, server.Client(), 1)
	await(t, "the entry", func() bool { return r.has("7@1") })
	r.awaitAlive(t, 25) // about two seconds: longer than identifyEvery
	if got := r.flushes(); len(got) > 0 {
		t.Fatalf("flushes %v while the link held", got)
	}
	proxy.Reset()
	await(t, "the flush", func() bool { return len(r.flushes()) > 0 })
	add(t, server.Client(), 2)
	await(t, "the second entry", func() bool { return r.has("7@2") })
	if got := r.flushes(); !slices.Equal(got, []string{gapUnproven}) || strings.Count(book.String(), "does not say who it is") != 1 {
		t.Errorf("flushes %v; log %s", got, book)
	}
}

// everywhere starts and closes a tail from several goroutines at once.
func everywhere(t *testing.T, tail *Tail) {
	var group sync.WaitGroup
	for i := range 6 {
		group.Go(func() {
			if i%2 == 0 {
				_ = tail.Start(t.Context())
			} else {
				_ = tail.Close()
			}
			_ = tail.Stats()
		})
	}
	group.Wait()
}

func TestTheLifeOfATail(t *testing.T) { canary.Judge(t, lifeOfATail) }

func lifeOfATail(t *testing.T, bird *canary.Canary) {
	server := redistest.Server(t)
	fresh := func() *Tail {
		tail, err := NewTail(TailConfig{Client: tailClient(t, server.URL()), Handler: &recorder{}, Block: 5 * time.Millisecond})
		must(t, err)
		return tail
	}
	t.Run("may be closed before it starts, and never starts then", func(t *testing.T) {
		tail := fresh()
		must(t, tail.Close())
		must(t, tail.Close())
		if err := tail.Start(t.Context()); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	t.Run("starts once and closes twice", func(t *testing.T) {
		tail := fresh()
		must(t, tail.Start(t.Context()))
		if err := tail.Start(t.Context()); err != nil {
			t.Error(err)
		}
		must(t, tail.Close())
		must(t, tail.Close())
	})
	t.Run("says why it cannot start, and may start later", func(t *testing.T) {
		tail := fresh()
		must(t, server.Kill())
		if err := tail.Start(t.Context()); err == nil {
			t.Error("started without a server")
		}
		must(t, server.Restart())
		await(t, "a start", func() bool { return tail.Start(t.Context()) == nil })
		must(t, tail.Close())
	})
	t.Run("survives starts and closes from everywhere", func(t *testing.T) {
		for range 30 {
			tail := fresh()
			everywhere(t, tail)
			must(t, tail.Close())
		}
	})
	t.Run("closes within a block", func(t *testing.T) {
		r := &recorder{}
		tail := startTailWith(t, TailConfig{Client: tailClient(t, server.URL()), Handler: r})
		r.awaitAlive(t, 1)
		began := time.Now()
		must(t, tail.Close())
		bird.Within(t, "Close", began, maxBlock+200*time.Millisecond)
	})
}

// TestAnEntryThatDoesNotArriveInTime: whatever others put into the stream must not hold the tail
// up.
func TestAnEntryThatDoesNotArriveInTime(t *testing.T) {
	server := redistest.Server(t)
	proxy := redistest.ProxyTo(t, server.Addr)
	r := &recorder{}
	tail := startTail(t, "redis://"+proxy.Addr, r)
	add(t, server.Client(), 1)
	await(t, "the first entry", func() bool { return r.has("7@1") })
	// for 32 KiB: the entry takes 3 s, and the link allows half a second
	proxy.Delay(4 * time.Millisecond)
	put(t, server.Client(), "*", "payload", strings.Repeat("x", 24<<20))
	add(t, server.Client(), 2)
	await(t, "the entry after it", func() bool { return r.has("7@2") })
	if got := r.list(); !slices.Equal(got, []string{"7@1", "7@2"}) || tail.Stats().Refused[refusedTooLarge] != 1 {
		t.Errorf("calls %v, stats %+v", got, tail.Stats())
	}
}
