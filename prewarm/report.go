package prewarm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/life"
)

// report is what a node tells the cluster: its Status, and which of its counts Redis does not have
// from finished ranges.
type report struct {
	Status
	Pending Counts `json:"pending"`
}

func (p *part) report(now time.Time) ([]byte, error) {
	s := report{Status: p.status(now)}
	s.Failures, s.Sources = nil, nil
	p.mu.Lock()
	s.Pending, _ = p.queue.pending()
	p.mu.Unlock()
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("prewarm: report: %w", err)
	}
	return text, nil
}

// What a node waits for, after "waiting for".
const (
	waitsForRedis   = "Redis, which does not take the node's reports"
	waitsForMembers = "the members of the cluster to be known"
	waitsForOrigin  = "the origin, which has answered nothing for a second"
	waitsForRetry   = "another try of users who failed"
	waitsForNodes   = "a node that takes part"
)

// waitingLocked returns what the node waits for, "" while it loads users.
func (p *part) waitingLocked(now time.Time, settled bool) string {
	switch {
	case p.state != Running:
		return ""
	case !settled:
		return waitsForMembers
	case now.Sub(p.beatAt) > pauseAfter:
		return waitsForRedis
	case p.pace.stuck(now):
		return waitsForOrigin
	case p.queue.under == 0 && p.queue.ready(now) == 0 && len(p.queue.again) > 0:
		return waitsForRetry
	}
	return ""
}

func (p *part) status(now time.Time) Status {
	settled := p.r.settled(now)
	p.mu.Lock()
	defer p.mu.Unlock()
	pending, users := p.queue.pending()
	s := Status{
		Run: p.rec.id, Node: p.r.conf.Node, State: p.state, Options: p.rec.options, Sources: p.rec.sources,
		Planned: users + p.queue.reported.TotalProcessed, Whole: p.rec.planned, Counts: p.queue.reported,
		RangesDone: p.queue.ranges, RangesTotal: p.queue.ranges + len(p.queue.held),
		Filled: p.filled, Rate: float64(p.pace.recent(now)), Slowed: p.slow.factor(), Started: p.rec.started, Live: p.live,
		Failures: append([]Failure(nil), p.queue.failed...),
	}
	s.add(pending)
	s.Asked = p.asked
	if !p.rec.options.Unlimited {
		s.Budget = p.budgetLocked()
	}
	s.Waiting = p.waitingLocked(now, settled)
	if !p.ended.IsZero() {
		now = p.ended
	}
	s.complete(now)
	return s
}

// complete sets what follows from the rest.
func (s *Status) complete(now time.Time) {
	s.TotalProcessed = min(s.TotalProcessed, s.Planned)
	s.Duration = max(0, now.Sub(s.Started).Milliseconds())
	if s.Planned > 0 {
		s.Share = min(1, float64(s.Cached+s.Missing)/float64(s.Planned))
	} else if s.State == Done {
		s.Share = 1
	}
	if s.State == Running && s.TotalProcessed > 0 && s.Waiting == "" {
		s.ETA = s.left().Milliseconds()
	}
}

// left is how long the rest takes at the pace of the last second: that of the whole run says
// nothing once it slows down for the origin. 0 when nobody is being asked, and nobody knows.
func (s *Status) left() time.Duration {
	users := float64(s.Planned - s.TotalProcessed)
	if s.Asked == 0 { // all were in Redis, so that the origin's pace says nothing
		return time.Duration(float64(s.Duration) * users / float64(s.TotalProcessed) * float64(time.Millisecond))
	}
	if s.Rate <= 0 {
		return 0
	}
	toAsk := users * min(1, float64(s.Asked)/float64(s.TotalProcessed))
	return time.Duration(toAsk / s.Rate * float64(time.Second))
}

// Status returns how this node does in the run that it plans or takes part in, or did last. It asks
// nobody.
func (r *Runner) Status() Status {
	r.mu.Lock()
	p, own := r.now, r.own
	r.mu.Unlock()
	if p != nil && (own.Run == p.rec.id || own.Started.Before(p.rec.started)) {
		return p.status(time.Now())
	}
	own.Node = r.conf.Node
	own.Sources = append([]SourceCount(nil), own.Sources...)
	if own.State == Planning {
		own.Duration = time.Since(own.Started).Milliseconds()
	}
	return own
}

// Cluster returns how the run does in the whole cluster, or did last, as Redis knows it. Its counts
// are up to half a second old, and what a node that died had done in its unfinished ranges is not
// in them.
//
// Errors wrap ErrNoRun when there was no run lately, ErrMalformed, or are Redis's.
func (r *Runner) Cluster(ctx context.Context) (Status, error) {
	rec, err := r.store.read(ctx)
	if err != nil {
		return Status{}, err
	}
	reports, alive, failures, err := r.store.reports(ctx, rec.id)
	if err != nil {
		return Status{}, err
	}
	s := Status{
		Run: rec.id, State: rec.state, Error: rec.err, Options: rec.options, Sources: rec.sources, Planned: rec.planned, Whole: rec.planned,
		Counts: rec.counts, RangesTotal: rec.ranges, Started: rec.started, Slowed: 1, Failures: failures, Live: len(alive),
	}
	if !rec.options.Unlimited {
		s.Budget = rec.options.Rate
	}
	for _, n := range reports {
		s.join(n, alive[n.Node])
	}
	s.Waiting = waiting(s.State, reports, alive)
	now := rec.ended
	if now.IsZero() {
		now = time.Now()
	}
	s.complete(now)
	return s, nil
}

// waiting returns what a run waits for: what one of its nodes does, if all do that load users.
func waiting(state State, reports []report, alive map[string]bool) string {
	if state != Running {
		return ""
	}
	for _, n := range reports {
		if alive[n.Node] && n.State == Running && n.Waiting == "" && n.Share < 1 {
			return ""
		}
	}
	for _, n := range reports {
		if alive[n.Node] && n.Waiting != "" {
			return n.Waiting
		}
	}
	if len(alive) == 0 {
		return waitsForNodes
	}
	return ""
}

// join adds a node's report to a cluster's status.
func (s *Status) join(n report, alive bool) {
	s.Asked += n.Asked
	s.Filled += n.Filled
	s.RangesDone += n.RangesDone
	if alive || s.State == Cancelled {
		pending := n.Pending
		pending.Asked = 0
		s.add(pending)
	}
	if alive {
		s.Rate += n.Rate
		s.Slowed = min(s.Slowed, n.Slowed)
		if s.State == Done && !n.State.over() {
			s.State = Filling
		}
	}
	s.Nodes = append(s.Nodes, n.Status)
}

// reports returns what the nodes have told, which of them are alive, and the first failures.
func (s *store) reports(ctx context.Context, id string) (reports []report, alive map[string]bool, failures []Failure, err error) {
	pipe := s.client.Pipeline()
	clock := pipe.Time(ctx)
	nodes := pipe.HGetAll(ctx, s.key(id, "nodes"))
	beats := pipe.ZRangeWithScores(ctx, s.key(id, "beats"), 0, -1)
	failed := pipe.LRange(ctx, s.key(id, "failures"), 0, 2*keptPerRange-1)
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, nil, nil, fmt.Errorf("prewarm: reports of run %s: %w", id, err)
	}
	for name, text := range nodes.Val() {
		var n report
		if err := json.Unmarshal([]byte(text), &n); err != nil {
			return nil, nil, nil, fmt.Errorf("%w: report of node %q: %w", ErrMalformed, name, err)
		}
		reports = append(reports, n)
	}
	alive = make(map[string]bool)
	for _, z := range beats.Val() {
		// a beat from the future is from before the clock was set back
		ago := clock.Val().Sub(time.UnixMilli(int64(z.Score))).Abs()
		if name, ok := z.Member.(string); ok && ago < liveFor {
			alive[name] = true
		}
	}
	texts := failed.Val()
	for i := 0; i+1 < len(texts); i += 2 {
		failures = append(failures, Failure{texts[i], texts[i+1]})
	}
	return reports, alive, failures, nil
}

// Wait returns the cluster's status once the run with this id is over and all nodes that take part
// have filled their memory.
//
// Errors wrap ErrNoRun when another run took its place or Redis has forgotten it, or the cause of
// ctx.
func (r *Runner) Wait(ctx context.Context, id string) (Status, error) {
	for {
		s, err := r.Cluster(ctx)
		switch {
		case err == nil && s.Run != id:
			return s, fmt.Errorf("%w %s: %s has taken its place", ErrNoRun, id, s.Run)
		case err == nil && s.State.over(), errors.Is(err, ErrNoRun):
			return s, err
		}
		life.Wait(ctx, beatEvery/5)
		if ctx.Err() != nil {
			return s, fmt.Errorf("prewarm: wait for run %s: %w", id, context.Cause(ctx))
		}
	}
}
