package prewarm

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/life"
)

// token returns a short random name.
func token() string { return strings.ToLower(rand.Text()[:12]) }

// Begin begins a run for the whole cluster and returns its id. The plan is made in the background:
// Status tells of it, and all nodes, this one too, take part as soon as it is in Redis.
//
// Errors wrap ErrRunning while another run is under way, ErrConfig, ErrNotStarted, ErrClosed, or
// are Redis's.
func (r *Runner) Begin(ctx context.Context, o Options) (string, error) {
	if err := r.ready(); err != nil {
		return "", err
	}
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return "", err
	}
	sources := o.Sources
	if len(sources) == 0 {
		sources = r.conf.Sources
	}
	if len(sources) == 0 {
		return "", fmt.Errorf("%w: no source; want one in Config.Sources or Options.Sources", ErrConfig)
	}
	id := token()
	if err := r.store.claim(ctx, id, o); err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.own = Status{Run: id, Node: r.conf.Node, State: Planning, Options: o, Started: time.Now(), Slowed: 1}
	if !r.life.Go(func(ctx context.Context) { r.plan(ctx, id, o, sources) }) {
		return "", ErrClosed // the claim is dead in half a minute
	}
	return id, nil
}

// Cancel ends the run under way, also one that another node began, and returns its id. What was
// loaded stays. Nodes hear of it within half a second.
//
// Errors wrap ErrNoRun when there is none, or are Redis's.
func (r *Runner) Cancel(ctx context.Context) (string, error) {
	if err := r.ready(); err != nil {
		return "", err
	}
	return r.store.cancel(ctx)
}

// plan reads the sources and puts the plan into Redis.
func (r *Runner) plan(ctx context.Context, id string, o Options, sources []Source) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	alive := make(chan struct{})
	go func() {
		defer close(alive)
		r.stayAlive(ctx, id, stop)
	}()
	err := r.makePlan(ctx, id, o, sources)
	stop(nil)
	<-alive
	if err == nil {
		return
	}
	r.conf.Logger.WarnContext(ctx, "prewarm: no plan", "run", id, "error", err)
	tell, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisTimeout)
	defer cancel()
	state, told := r.store.publish(tell, id, Failed, runTTL, "error", err.Error())
	if told != nil {
		r.conf.Logger.WarnContext(ctx, "prewarm: run is left unfinished", "run", id, "error", told)
	}
	if state != Cancelled {
		state = Failed
	}
	r.planned(id, state, err.Error())
}

// planned notes how the planning of id has ended.
func (r *Runner) planned(id string, state State, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.own.Run == id {
		r.own.State, r.own.Error = state, reason
		r.own.Duration = time.Since(r.own.Started).Milliseconds()
	}
}

// stayAlive tells the cluster that the planning goes on, and stops it when it was cancelled.
func (r *Runner) stayAlive(ctx context.Context, id string, stop context.CancelCauseFunc) {
	for ctx.Err() == nil {
		life.Wait(ctx, beatEvery)
		state, err := r.store.planning(ctx, id)
		if err == nil && state != Planning {
			stop(fmt.Errorf("prewarm: run %s was ended: %s", id, cmp.Or(state, "another took its place")))
		}
	}
}

func (r *Runner) makePlan(ctx context.Context, id string, o Options, sources []Source) error {
	var counts []SourceCount
	users, err := gather(ctx, sources, o, time.Now(), func(c []SourceCount) {
		counts = c
		r.mu.Lock()
		defer r.mu.Unlock()
		r.own.Sources = append([]SourceCount(nil), c...)
	})
	if err != nil {
		return err
	}
	plan := split(users)
	ttl := ttlOf(int64(len(users)), o)
	filled, count, err := r.store.writePlan(ctx, id, &plan, ttl)
	if err != nil {
		return err
	}
	sourceCounts, err := json.Marshal(counts)
	if err != nil {
		return fmt.Errorf("prewarm: source counts: %w", err)
	}
	next := Running
	if count == 0 {
		next = Done
	}
	state, err := r.store.publish(ctx, id, next, ttl, "planned", len(users), "ranges", count, "filled", filled.encode(),
		"sources", sourceCounts)
	if err != nil {
		return err
	}
	if state != next {
		return fmt.Errorf("prewarm: run %s was ended: %s", id, cmp.Or(state, "another took its place"))
	}
	r.conf.Logger.InfoContext(ctx, "prewarm: the plan is made", "run", id, "users", len(users), "ranges", count, "rate", o.Rate)
	r.planned(id, next, "")
	r.lookNow()
	return nil
}

// lookNow makes the watch look at once.
func (r *Runner) lookNow() {
	select {
	case r.nudge <- struct{}{}:
	default:
	}
}
