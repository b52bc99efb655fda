package prewarm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
)

func TestCalmRunAsksEachUserOnceAndWarmsAllNodes(t *testing.T) {
	t.Parallel()
	w := onRedis(t, 3, nil)
	users := people(6000)
	s := w.run(Options{Sources: from(append(users, users[:500]...)), Unlimited: true})
	if asked, again := w.origin.total(); asked != len(users) || again != 0 {
		t.Errorf("%d users were asked for, %d of them again; want each of %d once", asked, again, len(users))
	}
	if s.State != Done || s.Planned != 6000 || s.TotalProcessed != 6000 || s.Cached != 6000 || s.Errors != 0 || s.Share != 1 ||
		s.Asked != 6000 || len(s.Nodes) != 3 || s.RangesDone != s.RangesTotal || s.Sources[0].Users != 6500 {
		t.Errorf("status is %+v", s)
	}
	w.warm(users)
	for _, c := range w.living {
		if n := c.Status(); n.State != Done || n.Cached < 1000 || n.Share != 1 || n.Node != c.name {
			t.Errorf("%s did %+v", c.name, n)
		}
	}
	r := s.Result()
	if r.TotalProcessed != 6000 || r.Cached != 6000 || r.Duration <= 0 || len(r.Sources) != 1 {
		t.Errorf("result is %+v", r)
	}
	// A node that starts when all is over finds a plan and a warm Redis.
	late := w.join()
	await(t, "the late node", func() bool { return late.Status().State == Done })
	w.warm(users)
}

// TestKilledNode kills a node in the middle, as often as -long says.
func TestKilledNode(t *testing.T) {
	t.Parallel()
	for i := range pick(2, 20) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			w := newTown(t, redistest.Server(t).URL(), nil)
			w.deadline = 2 * time.Second // the default: a lease outlasts it
			w.origin.takes = 5 * time.Millisecond
			for range 3 {
				w.found()
			}
			users := people(3000)
			id := w.begin(Options{Sources: from(users), Rate: 3000})
			await(t, "the middle of the run", func() bool { asked, _ := w.origin.total(); return asked > 600+i%10*200 })
			victim := w.living[1+i%2]
			w.kill(victim)
			after, _ := w.origin.total()
			s := w.wait(id)
			if s.State != Done || s.Cached != 3000 || s.Errors != 0 {
				t.Errorf("the others ended with %+v", s)
			}
			w.warm(users)
			// What the dead node had under way may be asked for again; what it had brought into
			// Redis may not. Each of those users is asked for three times more at most: twice while
			// the lease lasts, 5 s, in which no answer fills Redis and tries are 3 s apart, and
			// once after it.
			asked, again := w.origin.total()
			more := asked - len(users)
			if again > atOnce*50 || more > 3*again {
				t.Errorf("%d users asked for %d times more, %d of them; killed at %d",
					len(users), more, again, after)
			}
			t.Logf("killed after %d: %d users asked for again, %d times in all", after, again, more)
		})
	}
}

// A node died with the leases of some users. A node that loads them shows them without, which fills
// nothing; a run counts them only once they are in Redis.
func TestLeasesOfTheDeadAreWaitedFor(t *testing.T) {
	t.Parallel()
	w := newTown(t, redistest.Server(t).URL(), nil)
	w.deadline = 2 * time.Second // a lease outlasts it
	w.found()
	users := people(50)
	client := open(t, w.url)
	lower, err := l2.New(l2.Config{Client: client})
	check(t, err)
	asks := make([]l2.Ask, 20)
	for i := range asks {
		asks[i].ID = users[i].ID
	}
	for _, v := range lower.Begin(t.Context(), asks, func(int) *profile.Profile { return new(profile.Profile) }) {
		if v.Kind != l2.Leased {
			t.Fatalf("no lease: %+v", v)
		}
	}
	if s := w.wait(w.begin(Options{Sources: from(users), Unlimited: true})); s.State != Done || s.Cached != 50 {
		t.Errorf("%+v", s)
	}
	for _, u := range users {
		if n, err := client.Exists(t.Context(), profile.Key(u.ID)).Result(); err != nil || n != 1 {
			t.Errorf("user %s counts as cached, and is not in Redis, %v", u.ID, err)
		}
	}
}

func TestJoinerTakesItsShare(t *testing.T) {
	t.Parallel()
	canary.Judge(t, joinerTakesItsShare)
}

func joinerTakesItsShare(t *testing.T, bird *canary.Canary) {
	w := onRedis(t, 2, nil)
	users := people(5000)
	id := w.begin(Options{Sources: from(users), Rate: 1000})
	await(t, "the run", func() bool { asked, _ := w.origin.total(); return asked > 500 })
	joiner := w.join()
	s := w.wait(id)
	if asked, again := w.origin.total(); asked != 5000 || again != 0 || s.Cached != 5000 {
		t.Errorf("%d users were asked for, %d of them again; %+v", asked, again, s)
	}
	if n := joiner.Status(); n.Asked < 50 || n.Cached < 1000 {
		t.Errorf("the joiner did %+v", n)
	}
	w.origin.keeps(t, bird, 1000)
	w.warm(users)
}

func TestRateIsKept(t *testing.T) {
	for _, nodes := range []int{1, 3, 10} {
		t.Run(fmt.Sprint(nodes, " nodes"), func(t *testing.T) {
			t.Parallel()
			canary.Judge(t, func(t *testing.T, bird *canary.Canary) {
				w := onRedis(t, nodes, nil)
				w.origin.takes = 3 * time.Millisecond
				const rate, users = 500, 1500
				if s := w.run(Options{Sources: from(people(users)), Rate: rate}); s.Cached != users {
					t.Errorf("%+v", s)
				}
				w.origin.keeps(t, bird, rate)
			})
		})
	}
}

func TestRateIsKeptWhileMembersComeAndGo(t *testing.T) {
	t.Parallel()
	canary.Judge(t, rateIsKeptWhileMembersComeAndGo)
}

func rateIsKeptWhileMembersComeAndGo(t *testing.T, bird *canary.Canary) {
	w := onRedis(t, 3, nil)
	const rate, users = 500, 2500
	id := w.begin(Options{Sources: from(people(users)), Rate: rate})
	asked := func(n int) func() bool { return func() bool { asked, _ := w.origin.total(); return asked > n } }
	for n := 300; n < 1500; n += 300 {
		await(t, "the run", asked(n))
		if n%600 == 0 {
			w.kill(w.living[1])
		} else {
			w.join()
		}
	}
	s := w.wait(id)
	w.origin.keeps(t, bird, rate)
	if s.State != Done || s.Cached != users {
		t.Errorf("ended with %+v", s)
	}
}

// TestContractsDefaults is what took the old system 47.32 s.
func TestContractsDefaults(t *testing.T) { canary.Judge(t, contractsDefaults) }

func contractsDefaults(t *testing.T, bird *canary.Canary) {
	w := onRedis(t, 1, func(c *Config) { c.Members = nil })
	users := people(2456)
	s := w.run(Options{Sources: from(users)})
	ended, took := time.Now(), time.Duration(s.Duration)*time.Millisecond
	if s.Cached != 2456 || !bird.Excuses("the run", ended.Add(-took), ended, 8*time.Second) {
		t.Errorf("took %v for %+v; want at most 8 s", took, s.Counts)
	}
	w.origin.keeps(t, bird, 1000.0/3)
	w.warm(users)
}

func TestFailingOrigin(t *testing.T) {
	t.Parallel()
	w := newTown(t, redistest.Server(t).URL(), nil)
	broken := func(id string) bool { return strings.HasSuffix(id, "7") }
	w.origin.fail = func(id string, _ int) error {
		if broken(id) {
			return errDown
		}
		return nil
	}
	w.origin.failBatch = func(call int) error {
		if call%20 == 0 {
			return errDown
		}
		return nil
	}
	w.origin.unknown = func(id string) bool { return strings.HasSuffix(id, "13") }
	w.found()
	w.found()
	s := w.run(Options{Sources: from(people(2000)), Rate: 1500})
	// A user whose batch failed is tried again in another, which may be one of the 5 % as well.
	if s.State != Done || s.TotalProcessed != 2000 || s.Errors < 200 || s.Errors > 300 || s.Missing < 10 || s.Missing > 20 {
		t.Errorf("ended with %+v", s)
	}
	if s.TotalProcessed != s.Cached+s.Missing+s.Errors {
		t.Errorf("the counts do not add up: %+v", s.Counts)
	}
	if len(s.Failures) != keptPerRange || !strings.Contains(s.Failures[0].Reason, errDown.Error()) {
		t.Errorf("the first failures are %v", s.Failures)
	}
	kept, err := w.living[0].store.client.LLen(t.Context(), w.living[0].store.key(s.Run, "failures")).Result()
	if check(t, err); kept != 2*s.Errors {
		t.Errorf("%d failures are kept of %d", kept/2, s.Errors)
	}
	for id, n := range w.origin.asked {
		if n > 2 {
			t.Errorf("%q was asked for %d times", id, n)
		}
	}
}

func TestDeadOriginEndsTheRun(t *testing.T) {
	t.Parallel()
	w := newTown(t, redistest.Server(t).URL(), nil)
	w.origin.failBatch = func(int) error { return errDown }
	w.found()
	s := w.run(Options{Sources: from(people(1500)), Unlimited: true})
	if s.State != Done || s.Errors != 1500 || s.Share != 0 || len(s.Failures) == 0 {
		t.Errorf("ended with %+v", s)
	}
}

func TestCancelByAnyNode(t *testing.T) {
	t.Parallel()
	w := onRedis(t, 2, nil)
	if _, err := w.living[1].Cancel(t.Context()); !errors.Is(err, ErrNoRun) {
		t.Errorf("cancel of nothing: %v", err)
	}
	id := w.begin(Options{Sources: from(people(5000)), Rate: 300})
	await(t, "both in the run", func() bool { return w.living[0].Status().Asked > 20 && w.living[1].Status().Asked > 20 })
	if got, err := w.living[1].Cancel(t.Context()); err != nil || got != id {
		t.Fatalf("cancelled %q, %v; want %q", got, err, id)
	}
	for _, c := range w.living {
		await(t, "the end on "+c.name, func() bool { return c.Status().State == Cancelled })
	}
	if s := w.wait(id); s.State != Cancelled || s.TotalProcessed == 0 || s.TotalProcessed > 2000 {
		t.Errorf("ended with %+v", s)
	}
	if _, err := w.living[0].Cancel(t.Context()); !errors.Is(err, ErrNoRun) {
		t.Errorf("second cancel: %v", err)
	}
}

func TestCancelWhilePlanning(t *testing.T) {
	t.Parallel()
	w := onRedis(t, 2, nil)
	never := make(chan struct{})
	id := w.begin(Options{Sources: []Source{list{users: people(5), gate: never}}})
	if _, err := w.living[1].Begin(t.Context(), Options{Sources: from(people(1))}); !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), id) {
		t.Errorf("a second run: %v; want ErrRunning", err)
	}
	if s := w.living[0].Status(); s.State != Planning || s.Run != id {
		t.Errorf("status is %+v", s)
	}
	_, err := w.living[1].Cancel(t.Context())
	check(t, err)
	await(t, "the end of planning", func() bool { return w.living[0].Status().State == Cancelled })
	s := w.run(Options{Sources: from(people(5)), Unlimited: true}) // and another may begin
	if s.State != Done || s.Cached != 5 {
		t.Errorf("the next run ended with %+v", s)
	}
}

func TestRestartedClusterResumes(t *testing.T) {
	t.Parallel()
	w := onRedis(t, 2, nil)
	users := people(3000)
	id := w.begin(Options{Sources: from(users), Rate: 1000})
	await(t, "the run", func() bool { asked, _ := w.origin.total(); return asked > 1000 })
	for len(w.living) > 0 { // in good order: what is under way is finished
		w.living[0].stop()
		w.bury(w.living[0])
	}
	w.found()
	if _, err := w.living[0].Begin(t.Context(), Options{Sources: from(users)}); !errors.Is(err, ErrRunning) {
		t.Errorf("a new run: %v; want ErrRunning", err)
	}
	if s := w.wait(id); s.State != Done || s.Cached != 3000 {
		t.Errorf("ended with %+v", s)
	}
	if asked, again := w.origin.total(); again > 2*atOnce*50 {
		t.Errorf("%d users were asked for, %d of them again", asked, again)
	}
	w.warm(users)
}

func TestRedisThatHangsLosesNobody(t *testing.T) {
	t.Parallel()
	canary.Judge(t, redisThatHangsLosesNobody)
}

func redisThatHangsLosesNobody(t *testing.T, bird *canary.Canary) {
	server := redistest.Server(t)
	w := newTown(t, server.URL(), nil)
	w.found()
	w.found()
	users := people(1500)
	id := w.begin(Options{Sources: from(users), Rate: 1000})
	await(t, "the run", func() bool { asked, _ := w.origin.total(); return asked > 400 })
	check(t, server.Pause())
	paused, _ := w.origin.total()
	// What is under way goes to the origin without Redis, and no more: a node whose reports do not
	// get through pauses.
	still := time.Now()
	await(t, "three seconds of it", func() bool { return time.Since(still) > 3*time.Second })
	if asked, _ := w.origin.total(); asked-paused > 2*atOnce*25 {
		t.Errorf("%d users were asked for while Redis did not answer", asked-paused)
	}
	check(t, server.Resume())
	if s := w.wait(id); s.State != Done || s.Cached != 1500 || s.Errors != 0 {
		t.Errorf("ended with %+v", s)
	}
	for _, u := range users {
		if n, err := server.Client().Exists(t.Context(), "user:profile:"+u.ID).Result(); n != 1 || err != nil {
			t.Fatalf("user %s is not in Redis, %v", u.ID, err)
		}
	}
	w.origin.keeps(t, bird, 1000)
}

// A user that Redis never takes, here because nobody may touch his key, must not keep the run from
// its end.
func TestUserWhomRedisNeverTakesEndsAsAFailure(t *testing.T) {
	t.Parallel()
	w := onRedis(t, 1, nil)
	client := w.living[0].store.client
	check(t, client.Do(t.Context(), "ACL", "SETUSER", "default", "resetkeys",
		"~user:profile:u[^5]*", "~{user:profile:*", "~edgecache:*", "~{edgecache:*", "~events:*").Err())
	s := w.run(Options{Sources: from(people(30)), Unlimited: true})
	if s.State != Done || s.Cached != 29 || s.Errors != 1 || s.TotalProcessed != 30 {
		t.Errorf("ended with %+v", s)
	}
	if len(s.Failures) != 1 || s.Failures[0].ID != "u5" || s.Failures[0].Reason == "" {
		t.Errorf("the failures are %v; want u5's", s.Failures)
	}
	if n := w.origin.asked["u5"]; n > mostTries {
		t.Errorf("he was asked for %d times; want at most %d", n, mostTries)
	}
}

// A Redis that is out of memory answers and takes nothing: the run stands still, asks nobody again
// and again, and goes on when there is room.
func TestRedisOutOfMemoryHoldsUpTheRun(t *testing.T) {
	t.Parallel()
	w := onRedis(t, 2, nil)
	users := people(1200)
	id := w.begin(Options{Sources: from(users), Rate: 800})
	await(t, "the run", func() bool { asked, _ := w.origin.total(); return asked > 300 })
	client := w.living[0].store.client
	check(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())
	full, _ := w.origin.total()
	since := time.Now()
	await(t, "two seconds of it", func() bool { return time.Since(since) > 2*time.Second })
	if asked, _ := w.origin.total(); asked-full > 2*atOnce*40 {
		t.Errorf("%d users were asked for while Redis took nothing", asked-full)
	}
	check(t, client.ConfigSet(t.Context(), "maxmemory", "0").Err())
	if s := w.wait(id); s.State != Done || s.Cached != 1200 || s.Errors != 0 {
		t.Errorf("ended with %+v", s)
	}
	if n, err := client.Exists(t.Context(), "user:profile:u1200").Result(); n != 1 || err != nil {
		t.Errorf("the last user is not in Redis, %v", err)
	}
}

// What Redis has evicted of the plan is lost, and the run ends without it.
func TestPlanThatIsLostDoesNotHoldUpTheRun(t *testing.T) {
	t.Parallel()
	w := onRedis(t, 2, nil)
	users := people(2000)
	id := w.begin(Options{Sources: from(users), Rate: 1000})
	await(t, "the run", func() bool { asked, _ := w.origin.total(); return asked > 300 })
	s := w.living[0].store
	for n := range profile.Ranges {
		check(t, s.client.Del(t.Context(), s.planKey(id, n)).Err())
	}
	w.kill(w.living[1]) // what it had is taken over, and nobody knows any more who that is
	if s := w.wait(id); s.State != Done || s.RangesDone != s.RangesTotal || s.TotalProcessed < 500 || s.TotalProcessed == 2000 {
		t.Errorf("ended with %+v", s)
	}
}

func TestDeadRunIsTakenOver(t *testing.T) {
	t.Parallel()
	w := onRedis(t, 1, nil)
	s := w.living[0].store
	other := newStore(s.client, s.prefix, "gone")
	for range 2 { // the second stands for a retry whose first reply was lost
		check(t, other.claim(t.Context(), "old", Options{}.withDefaults()))
	}
	if _, err := w.living[0].Begin(t.Context(), Options{Sources: from(people(1))}); !errors.Is(err, ErrRunning) {
		t.Fatalf("while it may live: %v; want ErrRunning", err)
	}
	longAgo := time.Now().Add(-deadAfter - time.Second).UnixMilli()
	check(t, s.client.HSet(t.Context(), s.run(), "beat", longAgo).Err())
	if s := w.run(Options{Sources: from(people(3)), Unlimited: true}); s.Cached != 3 {
		t.Errorf("the new run ended with %+v", s)
	}
}

func TestOptionsCutThePlan(t *testing.T) {
	t.Parallel()
	w := onRedis(t, 1, func(c *Config) { c.Members = nil })
	now := time.Now()
	users := []User{
		{"old", now.AddDate(0, 0, -3).Add(-time.Minute)}, {"edge", now.AddDate(0, 0, -3).Add(time.Minute)}, {"a", now}, {"no id", now},
		{"b", now.AddDate(0, 0, -5)}, {"b", now.Add(-time.Hour)}, {"c", now.Add(-2 * time.Hour)}, {"b", now.AddDate(0, 0, -6)},
	}
	s := w.run(Options{Sources: from(users), DaysBack: 3, MaxUsers: 3, Unlimited: true})
	c := s.Sources[0]
	if s.Planned != 3 || c.Users != 8 || c.Invalid != 1 || c.Old != 3 || len(c.Reasons) != 1 || !strings.Contains(c.Reasons[0], `"no id"`) {
		t.Errorf("planned %d of %+v", s.Planned, c)
	}
	w.warm([]User{{ID: "a"}, {ID: "b"}, {ID: "c"}})
	if n := w.origin.asked["edge"] + w.origin.asked["old"]; n != 0 {
		t.Errorf("%d users beyond the cut were asked for", n)
	}
	if s := w.run(Options{Sources: from(nil)}); s.State != Done || s.Planned != 0 || s.Share != 1 {
		t.Errorf("a run of nobody ended with %+v", s)
	}
}

func TestSourcesThatFail(t *testing.T) {
	t.Parallel()
	w := onRedis(t, 1, func(c *Config) { c.Members = nil })
	bad := list{name: "bad", users: []User{{"x", time.Now()}}, err: errors.New("no such collection")}
	s := w.run(Options{Sources: []Source{bad, list{users: people(3)}}, Unlimited: true})
	if s.State != Done || s.Cached != 4 || s.Sources[0].Error != "no such collection" || s.Sources[1].Users != 3 {
		t.Errorf("with one of two: %+v", s)
	}
	s = w.run(Options{Sources: []Source{list{panics: true}, list{users: people(3)}}, Unlimited: true})
	if s.State != Done || s.Cached != 3 || s.Sources[0].Error != "it panicked: a source of foreign code" {
		t.Errorf("with one that panics: %+v", s)
	}
	s = w.run(Options{Sources: []Source{bad}})
	if s.State != Failed || !strings.Contains(s.Error, "bad: no such collection") {
		t.Errorf("with none: %+v", s)
	}
	if own := w.living[0].Status(); own.State != Failed || own.Run != s.Run || own.Error != s.Error {
		t.Errorf("the node says %+v", own)
	}
}

func TestMemoryIsFilledToItsShareNewestFirst(t *testing.T) {
	t.Parallel()
	w := onRedis(t, 1, func(c *Config) { c.Members = nil })
	users := people(8000)
	s := w.run(Options{Sources: from(users), Unlimited: true})
	if s.Cached != 8000 {
		t.Fatalf("ended with %+v", s)
	}
	asked, _ := w.origin.total()
	w.l1 = 2 << 20
	w.change = func(c *Config) { c.Members, c.Fill = nil, 0.5 }
	small := w.join() // has nothing to do but to fill its memory
	await(t, "the small node", func() bool { return small.Status().State == Done })
	used := float64(small.cache.Stats().L1Bytes) / float64(w.l1)
	n := int(small.Status().Filled)
	if used < 0.5 || used > 0.7 || n < 1000 || n > 6000 {
		t.Errorf("%d users take %.2f of the memory; want a little more than 0.5", n, used)
	}
	w.living = []*citizen{small}
	w.warm(users[:n])
	if after, _ := w.origin.total(); after != asked {
		t.Errorf("%d users were asked of the origin by the fill", after-asked)
	}
	// A user who is not in Redis is passed over.
	check(t, small.store.client.FlushAll(t.Context()).Err())
	if n, err := small.cache.Warm(t.Context(), []string{users[7999].ID}); n != 0 || err != nil {
		t.Errorf("warmed %d, %v", n, err)
	}
}

func TestWaitEnds(t *testing.T) {
	t.Parallel()
	w := onRedis(t, 1, func(c *Config) { c.Members = nil })
	r := w.living[0].Runner
	if _, err := r.Wait(t.Context(), "nothing"); !errors.Is(err, ErrNoRun) {
		t.Errorf("no run: %v", err)
	}
	gate := make(chan struct{})
	id := w.begin(Options{Sources: []Source{list{gate: gate}}})
	if _, err := r.Wait(t.Context(), "another"); !errors.Is(err, ErrNoRun) {
		t.Errorf("another run: %v", err)
	}
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errDown)
	if _, err := r.Wait(ended, id); !errors.Is(err, errDown) && !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
	close(gate)
	w.wait(id)
}
