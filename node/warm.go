package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chatapp-ngomna/edgecache/prewarm"
)

// warmEvery is how often the node tells the others how warm it is, and the pause before it tries
// again to begin a run.
const warmEvery = time.Second

// BeginPrewarm begins a run of the whole cluster and returns its id: this node reads who is active,
// all load those of their own ranges. PrewarmStatus tells how it does.
//
// Errors wrap prewarm.ErrRunning, prewarm.ErrConfig, ErrNoPrewarm, or are Redis's.
func (n *Node) BeginPrewarm(ctx context.Context, o prewarm.Options) (run string, err error) {
	if n.runner == nil {
		return "", ErrNoPrewarm
	}
	return n.runner.Begin(ctx, o)
}

// CancelPrewarm ends the run, also one that another node began. Errors wrap prewarm.ErrNoRun,
// ErrNoPrewarm, or are Redis's.
func (n *Node) CancelPrewarm(ctx context.Context) error {
	if n.runner == nil {
		return ErrNoPrewarm
	}
	_, err := n.runner.Cancel(ctx)
	return err
}

// PrewarmStatus tells how the run of the whole cluster does, or the last one did. Errors wrap
// prewarm.ErrNoRun, ErrNoPrewarm, or are Redis's.
func (n *Node) PrewarmStatus(ctx context.Context) (prewarm.Status, error) {
	if n.runner == nil {
		return prewarm.Status{}, ErrNoPrewarm
	}
	return n.runner.Cluster(ctx)
}

// warmth is how much of the plan's users in this node's ranges is in Redis, 0 to 1; 1 only after
// the memory is filled, too.
func (n *Node) warmth() float64 {
	if n.runner == nil {
		return 0
	}
	switch s := n.runner.Status(); s.State {
	case prewarm.Done:
		return 1
	case prewarm.Running, prewarm.Filling:
		return min(s.Share, 0.99)
	}
	return 0
}

// keepWarm begins the run that Config.Prewarm asks for and tells the others how warm this node is.
func (n *Node) keepWarm(ctx context.Context) {
	begin, planned := n.conf.Prewarm != nil, ""
	for {
		if begin {
			begin, planned = n.begin(ctx, planned)
		}
		if n.gossip != nil {
			n.gossip.SetWarmth(n.warmth())
		}
		select {
		case <-time.After(warmEvery):
		case <-ctx.Done():
			return
		}
	}
}

// begin begins a run, unless one is under way, and reports whether to try again. That is after a
// failure, and while another node makes the plan of the run planned: should it die at that, nobody
// else would go on.
func (n *Node) begin(ctx context.Context, planned string) (again bool, planning string) {
	if planned != "" && n.planning(ctx, planned) != planned {
		return false, "" // there is a plan, or the reason why there is none
	}
	_, err := n.runner.Begin(ctx, *n.conf.Prewarm)
	switch {
	case err == nil || ctx.Err() != nil:
		return false, ""
	case errors.Is(err, prewarm.ErrRunning):
		planning = n.planning(ctx, planned)
		return planning != "", planning
	}
	n.conf.Logger.Warn("node: begin a prewarm", "link", "prewarm", "error", err, "pause", warmEvery)
	return !errors.Is(err, prewarm.ErrConfig), planned
}

// planning returns the id of the run whose plan is being made, "" for none, and as it was while
// Redis does not answer.
func (n *Node) planning(ctx context.Context, before string) string {
	switch s, err := n.runner.Cluster(ctx); {
	case err != nil && !errors.Is(err, prewarm.ErrNoRun):
		return before
	case s.State == prewarm.Planning:
		return s.Run
	}
	return ""
}

// cold returns why the node should have no requests yet, nil when it is warm enough or has been
// waited for long enough. Once it was ready it stays so.
func (n *Node) cold() error {
	if n.conf.ReadyAt <= 0 || n.warm.Load() {
		return nil
	}
	warmth, waited := n.warmth(), time.Since(n.startedAt)
	state := n.runner.Status().State
	over := state == prewarm.Cancelled || state == prewarm.Failed
	if warmth >= n.conf.ReadyAt || over || waited >= n.conf.ReadyWithin {
		if !n.warm.Swap(true) {
			n.conf.Logger.Info("node: ready", "warmth", warmth, "waited", waited.Round(time.Millisecond))
		}
		return nil
	}
	return fmt.Errorf("%w: %.0f %% warm, ready at %.0f %% or in %v", ErrNotReady, 100*warmth, 100*n.conf.ReadyAt,
		(n.conf.ReadyWithin - waited).Round(time.Second))
}
