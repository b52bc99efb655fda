package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/bench/load"
	"github.com/chatapp-ngomna/edgecache/bench/report"
	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/tier"
)

const changeNote = "A user changes, and three nodes that hold it in memory are asked again and again until the last of them shows the change. From the " +
	"planned start of the write at the origin (its transaction, its announcement and the answer included); and from the answer to the writer on, " +
	"which is what edgecache promises 250 ms for. Beside it what a stream in Redis needs alone: from XADD until three readers of XREAD have the entry."

const (
	// changeNodes is how many nodes hold the users that change.
	changeNodes = 3
	// changeRate is how many users change a second.
	changeRate = 100
	// lookEvery is the pause between two looks whether a node shows a change.
	lookEvery = 50 * time.Microsecond
	// showWithin is how long a change is waited for.
	showWithin = 5 * time.Second
)

var errUnseen = errors.New("a change was not seen in time")

// measureChange measures how soon a change is seen everywhere.
func measureChange(ctx context.Context, w *world, s *report.Suite) error {
	s.Title, s.Note = fmt.Sprintf("a change, until %d nodes show it", changeNodes), changeNote
	if err := w.bareStream(ctx, s); err != nil {
		return fmt.Errorf("bare stream: %w", err)
	}
	nodes := make([]*node.Node, changeNodes)
	for i := range nodes {
		n, err := w.warmed(ctx, node.Config{Tier: tier.Config{L1Bytes: w.l1Bytes()}, NoPrewarm: true})
		if err != nil {
			return err
		}
		defer n.Close()
		nodes[i] = n
	}
	return w.changes(ctx, s, nodes)
}

// changes has users change in an open loop, and times when the nodes show it.
func (w *world) changes(ctx context.Context, s *report.Suite, nodes []*node.Node) error {
	w.progress.say(s.Name + ": edgecache")
	told := newTimes()
	who := inTurn(w.conf.Seed, len(w.ids))
	rate := w.changeRate()
	plan := load.Plan{Rate: rate, Duration: 2 * w.conf.Duration, Workers: w.conf.Goroutines}
	out, err := load.Open(ctx, plan, func(ctx context.Context, _ int, n uint64) error {
		id := w.ids[who.at(n)]
		version, err := w.change(ctx, id)
		if err != nil {
			return err
		}
		answered := time.Now()
		err = shown(ctx, nodes, id, version)
		told.add(int(float64(n*load.DefaultWindows)/(rate*plan.Duration.Seconds())), time.Since(answered))
		return err
	})
	if err != nil {
		return err
	}
	load := report.Count(rate) + "/s"
	full := report.NewRow(report.Subject+", write to shown", load, out.Windows, out.Began, out.Took)
	full.Offered, full.Achieved, full.Failed, full.Unstarted = out.Offered, out.Achieved, out.Failed, out.Unstarted
	after := report.NewRow(report.Subject+", answer to shown", load, told.windows, out.Began, out.Took)
	after.Offered, after.Achieved = out.Offered, out.Achieved
	s.Rows = append(s.Rows, full, after)
	return nil
}

func (w *world) changeRate() float64 {
	if w.conf.Rate > 0 {
		return min(w.conf.Rate, 1000)
	}
	return changeRate
}

// shown waits until all nodes show a version of a user.
func shown(ctx context.Context, nodes []*node.Node, id string, version int64) error {
	t := time.NewTimer(0)
	defer t.Stop()
	for i, end := 0, time.Now().Add(showWithin); i < len(nodes); {
		got, err := nodes[i].Get(ctx, id)
		switch {
		case err != nil:
			return err
		case got.Version() >= version:
			i++
			continue
		case time.Now().After(end):
			return fmt.Errorf("%w: version %d of %q on node %d", errUnseen, version, id, i+1)
		}
		t.Reset(lookEvery)
		select {
		case <-t.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// times are latencies by parts of a run.
type times struct {
	mu      sync.Mutex
	windows []*hdr.Histogram // guarded by mu
}

func newTimes() *times {
	t := &times{}
	for range load.DefaultWindows {
		t.windows = append(t.windows, load.NewHistogram())
	}
	return t
}

func (t *times) add(window int, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = t.windows[min(max(window, 0), len(t.windows)-1)].RecordValue(min(max(1, int64(took)), load.Longest))
}

// bareKey is the stream of the readers that stand beside edgecache.
const bareKey = "bench:changes"

// bareStream times XADD until all readers have the entry.
func (w *world) bareStream(ctx context.Context, s *report.Suite) error {
	w.progress.say(s.Name + ": bare stream")
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer cancel()
	var latest [changeNodes]atomic.Int64
	for i := range latest {
		client, err := redisconn.OpenTail(w.redisURL)
		if err != nil {
			return err
		}
		defer client.Close()
		reading.Go(func() { follow(ctx, client, &latest[i]) })
	}
	defer func() { _ = w.redis.Unlink(context.WithoutCancel(ctx), bareKey).Err() }()
	plan := load.Plan{Rate: w.changeRate(), Duration: w.conf.Duration, Workers: 1}
	out, err := load.Open(ctx, plan, func(ctx context.Context, _ int, n uint64) error {
		entry := &redis.XAddArgs{Stream: bareKey, MaxLen: 10_000, Approx: true, Values: []any{"n", n + 1, "payload", w.ids[0]}}
		if err := w.redis.XAdd(ctx, entry).Err(); err != nil {
			return err
		}
		return heard(ctx, latest[:], int64(n+1))
	})
	if err != nil {
		return err
	}
	row := report.NewRow("bare XADD to XREAD", report.Count(plan.Rate)+"/s", out.Windows, out.Began, out.Took)
	row.Offered, row.Achieved, row.Failed, row.Unstarted = out.Offered, out.Achieved, out.Failed, out.Unstarted
	s.Rows = append(s.Rows, row)
	return nil
}

// follow reads the stream until ctx ends or Redis fails, which the writer notices by the silence.
func follow(ctx context.Context, client redis.UniversalClient, latest *atomic.Int64) {
	for cursor := "0"; ctx.Err() == nil; {
		read, err := client.XRead(ctx, &redis.XReadArgs{Streams: []string{bareKey, cursor}, Count: 256, Block: 200 * time.Millisecond}).Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return
		}
		for _, entry := range read[0].Messages {
			cursor = entry.ID
			text, _ := entry.Values["n"].(string)
			n, _ := strconv.ParseInt(text, 10, 64)
			latest.Store(n)
		}
	}
}

// heard waits until all readers have entry n.
func heard(ctx context.Context, latest []atomic.Int64, n int64) error {
	t := time.NewTimer(0)
	defer t.Stop()
	for end := time.Now().Add(showWithin); ; {
		least := int64(math.MaxInt64)
		for i := range latest {
			least = min(least, latest[i].Load())
		}
		if least >= n {
			return nil
		}
		if time.Now().After(end) {
			return errUnseen
		}
		t.Reset(lookEvery)
		select {
		case <-t.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
