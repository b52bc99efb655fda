package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/prewarm"
)

// calm warms all users with three and with ten nodes.
func calm(ctx context.Context, p params) (lines []line, err error) {
	for _, nodes := range []int{3, 10} {
		got, err := calmWith(ctx, p, nodes)
		if err != nil {
			return lines, err
		}
		lines = append(lines, got...)
	}
	return lines, nil
}

func calmWith(ctx context.Context, p params, nodes int) (lines []line, err error) {
	r, err := newRig(ctx, p, p.users, nodes)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	// A node has a share from the moment on that the number of nodes has been the same for some
	// seconds.
	stdout, stderr, code, took, err := r.prewarm(ctx, "--max-users", strconv.Itoa(p.users), "--rate", strconv.Itoa(p.rate))
	if err != nil {
		return nil, err
	}
	var result prewarm.Result
	if err := json.Unmarshal([]byte(stdout), &result); err != nil || code != 0 {
		return nil, fmt.Errorf("prewarm ended with %d: %s%s", code, stdout, stderr)
	}
	held, err := r.inRedis(ctx, p.users)
	if err != nil {
		return nil, err
	}
	asked, repeated, most := r.origin.totals()
	name := fmt.Sprintf("%d nodes, %d users at %d/s", nodes, p.users, p.rate)
	return []line{
		{name + ": asked of the origin, and of those more than once", fmt.Sprintf("%d, 0", p.users), fmt.Sprintf("%d, %d", asked, repeated), asked == p.users && repeated == 0},
		{name + ": in Redis at the end", strconv.Itoa(p.users), fmt.Sprintf("%d after %.1f s, command %.1f s", held, float64(result.Duration)/1000, took.Seconds()), held == p.users},
		{name + ": most users asked for within any second", fmt.Sprintf("at most %d", p.rate*11/10), fmt.Sprintf("%d (%.3f x)", most, float64(most)/float64(p.rate)), most <= p.rate*11/10},
	}, nil
}

// oldUsers and oldTook are what the old system's prewarm did, in seconds.
const (
	oldUsers = 2456
	oldTook  = 47.32
)

// contractRounds is how often that is done: the longest of many pauses is a matter of chance.
const contractRounds = 5

// contract warms as many users as the old system's figure is about, with its settings.
func contract(ctx context.Context, p params) (lines []line, err error) {
	var took, with, without []time.Duration
	held := oldUsers
	for range contractRounds {
		one, err := contractOnce(ctx, p)
		if err != nil {
			return nil, err
		}
		took, with, without, held = append(took, one.took), append(with, one.with), append(without, one.without), min(held, one.held)
	}
	name := fmt.Sprintf("1 node, %d users, the contract's defaults, %d times", oldUsers, contractRounds)
	longest, most, least := slices.Max(took), median(with), median(without)
	return []line{
		{name, "under 8 s, all in Redis", fmt.Sprintf("at most %.2f s, %d in Redis; the old system took %.2f s", longest.Seconds(), held, oldTook), longest < 8*time.Second && held == oldUsers},
		{name + ": the origin's longest pause between two answers to a client that asks every 5 ms, median", "not longer than without a prewarm, up to a request's 5 ms",
			fmt.Sprintf("%v; without %v", most.Round(10*time.Microsecond), least.Round(10*time.Microsecond)), most <= least+5*time.Millisecond},
	}, nil
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// contracted is one round: how long the prewarm took, and the longest pauses with it and without.
type contracted struct {
	took, with, without time.Duration
	held                int
}

func contractOnce(ctx context.Context, p params) (c contracted, err error) {
	r, err := newRig(ctx, p, oldUsers, 1)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if c.without, err = r.longestPause(ctx, func() error { return poll(ctx, "time to pass", 9*time.Second, after(7*time.Second)) }); err != nil {
		return c, err
	}
	c.with, err = r.longestPause(ctx, func() error {
		stdout, stderr, code, lasted, err := r.prewarm(ctx)
		if err == nil && code != 0 {
			err = fmt.Errorf("prewarm ended with %d: %s%s", code, stdout, stderr)
		}
		c.took = lasted
		return err
	})
	if err == nil {
		c.held, err = r.inRedis(ctx, oldUsers)
	}
	return c, err
}

func after(d time.Duration) func() bool {
	began := time.Now()
	return func() bool { return time.Since(began) >= d }
}

// longestPause asks the origin every 5 ms while f runs, and returns the longest time between two
// answers.
func (r *rig) longestPause(ctx context.Context, f func() error) (longest time.Duration, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	asking.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		last := time.Now()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.origin.url+"/health", nil)
			if err != nil {
				return
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return
			}
			_ = resp.Body.Close()
			longest, last = max(longest, time.Since(last)), time.Now()
		}
	})
	err = f()
	cancel()
	asking.Wait()
	return longest, err
}

// failing warms from an origin that cannot read a tenth of the users and fails a twentieth of the
// batches.
func failing(ctx context.Context, p params) (lines []line, err error) {
	const users = 2000
	r, err := newRig(ctx, p, users, 3)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	r.origin.bad = func(n int) bool { return n%10 == 0 }
	r.origin.badCall = func(n int) bool { return n%20 == 0 }
	stdout, stderr, code, _, err := r.prewarm(ctx, "--rate", "2000")
	if err != nil {
		return nil, err
	}
	var result prewarm.Result
	if err := json.Unmarshal([]byte(stdout), &result); err != nil {
		return nil, fmt.Errorf("prewarm ended with %d: %s%s", code, stdout, stderr)
	}
	held, err := r.inRedis(ctx, users)
	if err != nil {
		return nil, err
	}
	named := 0
	s, err := r.nodes[1].prewarm(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range s.Failures {
		if n, _ := strconv.Atoi(f.ID); n%10 == 0 && f.Reason != "" {
			named++
		}
	}
	ok := code == 1 && result.Errors == users/10 && held == users-users/10 && named > 0
	return []line{{fmt.Sprintf("3 nodes, %d users, an origin that fails 10 %% of the ids and 5 %% of the batches", users),
		fmt.Sprintf("ends with exit code 1, %d errors, some of them named, %d users in Redis", users/10, users-users/10),
		fmt.Sprintf("exit code %d, %d errors, %d named, %d in Redis", code, result.Errors, named, held), ok}}, nil
}

// begin begins a run and returns when a part of it is done.
func (r *rig) begin(ctx context.Context, users int, part float64) error {
	if _, stderr, code, _, err := r.prewarm(ctx, "--detach", "--max-users", strconv.Itoa(users), "--rate", strconv.Itoa(r.rate/4)); err != nil || code != 0 {
		return fmt.Errorf("prewarm --detach ended with %d: %w: %s", code, err, stderr)
	}
	return poll(ctx, "a part of the run", time.Minute, func() bool {
		asked, _, _ := r.origin.totals()
		return float64(asked) >= part*float64(users)
	})
}

func (r *rig) awaitDone(ctx context.Context) (s prewarm.Status, err error) {
	err = poll(ctx, "the end of the run", 2*time.Minute, func() bool {
		s, err = r.nodes[0].prewarm(ctx)
		return err == nil && s.State == prewarm.Done
	})
	return s, err
}

// join has a node join in the middle of a run.
func join(ctx context.Context, p params) (lines []line, err error) {
	r, err := newRig(ctx, p, p.few, 2)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.begin(ctx, p.few, 0.1); err != nil {
		return nil, err
	}
	n, err := r.start(ctx)
	if err != nil {
		return nil, err
	}
	s, err := r.awaitDone(ctx)
	if err != nil {
		return nil, err
	}
	var its int64
	for _, one := range s.Nodes {
		if one.Node == n.name {
			its = one.Asked
		}
	}
	asked, repeated, most := r.origin.totals()
	return []line{
		{fmt.Sprintf("a node joins two in the middle of a run of %d users: asked by the new one", p.few), "its share", fmt.Sprintf("%d", its), its > 0},
		{"asked of the origin in all, and of those more than once", fmt.Sprintf("%d, 0", p.few), fmt.Sprintf("%d, %d", asked, repeated), asked == p.few && repeated == 0},
		{"most users asked for within any second", fmt.Sprintf("at most %d", p.rate/4*11/10), strconv.Itoa(most), most <= p.rate/4*11/10},
	}, nil
}

// kill kills one of three nodes in the middle of a run, again and again.
func kill(ctx context.Context, p params) (lines []line, err error) {
	warm, worst, mostRepeated, longest := 0, 0, 0, time.Duration(0)
	rnd := rand.New(rand.NewPCG(1, 1))
	for range p.kills {
		held, repeated, most, took, err := killOnce(ctx, p, rnd)
		if err != nil {
			return nil, err
		}
		if held == p.few {
			warm++
		}
		worst, mostRepeated, longest = max(worst, most), max(mostRepeated, repeated), max(longest, took)
	}
	// What a dead node had under way: its batches, and what it had loaded since the last range that
	// it reported.
	limit := p.few / 3
	return []line{
		{fmt.Sprintf("one of three nodes killed (-9) in the middle of a run of %d users: all in Redis at the end", p.few), fmt.Sprintf("%d of %d", p.kills, p.kills),
			fmt.Sprintf("%d of %d, at the latest %.1f s after the kill", warm, p.kills, longest.Seconds()), warm == p.kills},
		{"users asked of the origin again, in the worst run", fmt.Sprintf("at most the killed node's unfinished ranges, %d", limit), strconv.Itoa(mostRepeated), mostRepeated <= limit},
		{"most users asked for within any second, in the worst run", fmt.Sprintf("at most %d", p.rate/4*11/10), strconv.Itoa(worst), worst <= p.rate/4*11/10},
	}, nil
}

func killOnce(ctx context.Context, p params, rnd *rand.Rand) (held, repeated, most int, took time.Duration, err error) {
	r, err := newRig(ctx, p, p.few, 3)
	if err != nil {
		return 0, 0, 0, 0, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.begin(ctx, p.few, 0.05+0.8*rnd.Float64()); err != nil {
		return 0, 0, 0, 0, err
	}
	r.kill(rnd.IntN(3))
	killed := time.Now()
	if _, err := r.awaitDone(ctx); err != nil {
		return 0, 0, 0, 0, err
	}
	took = time.Since(killed)
	held, err = r.inRedis(ctx, p.few)
	_, repeated, most = r.origin.totals()
	return held, repeated, most, took, err
}
