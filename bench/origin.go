package bench

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/bench/report"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/tier"
)

const originNote = "What a miss costs: lookups that neither memory nor Redis can answer. edgecache asks Redis, takes the lease, asks the origin, " +
	"fills Redis and memory; the other is one GET of the same user at the origin by edgecache's HTTP client alone. Users are deleted from Redis " +
	"again once they were read."

// measureOrigin compares lookups that nobody but the origin can answer.
func measureOrigin(ctx context.Context, w *world, s *report.Suite) error {
	s.Title, s.Note = "a lookup at the origin", originNote
	who := inTurn(w.conf.Seed, len(w.ids))
	bare := &contender{name: "bare GET of the origin", workers: w.conf.Goroutines, op: func(ctx context.Context, _ int, n uint64) error {
		_, err := w.truth.client.Load(ctx, w.ids[who.at(n)])
		return err
	}}
	if err := w.measure(ctx, s, bare); err != nil {
		return err
	}
	if err := w.forget(ctx, w.ids); err != nil {
		return err
	}
	c, err := w.edgecacheOrigin(ctx, who)
	if err != nil {
		return err
	}
	return errors.Join(w.measure(ctx, s, c), c.end())
}

// edgecacheOrigin is a node whose memory keeps nobody, and whose Redis is made to forget.
func (w *world) edgecacheOrigin(ctx context.Context, who order) (*contender, error) {
	n, err := w.node(ctx, node.Config{Tier: tier.Config{L1TTL: never}, NoPrewarm: true, NoWatch: true})
	if err != nil {
		return nil, err
	}
	c := w.getting(n, who, "origin", func(s tier.Stats) uint64 { return s.L1Hits + s.L2Hits })
	f := w.startForgetter(ctx)
	get := c.op
	c.op = func(ctx context.Context, worker int, i uint64) error {
		err := get(ctx, worker, i)
		f.read(w.ids[who.at(i)])
		return err
	}
	c.close = func() error { return errors.Join(f.stop(), n.Close()) }
	return c, nil
}

const (
	// forgetEvery is the pause between two times at which users who were read are deleted.
	forgetEvery = 20 * time.Millisecond
)

// forgetter deletes users from Redis soon after they were read.
type forgetter struct {
	world *world
	mu    sync.Mutex
	ids   []string // guarded by mu
	err   error    // of the goroutine until stop has waited
	done  chan struct{}
	ended sync.WaitGroup
}

func (w *world) startForgetter(ctx context.Context) *forgetter {
	f := &forgetter{world: w, done: make(chan struct{})}
	f.ended.Go(func() {
		t := time.NewTicker(forgetEvery)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				f.err = errors.Join(f.err, w.forget(ctx, f.take()))
			case <-f.done:
				return
			}
			if f.err != nil {
				return
			}
		}
	})
	return f
}

func (f *forgetter) read(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ids = append(f.ids, id)
}

func (f *forgetter) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := f.ids
	f.ids = nil
	return ids
}

// stop ends it and returns what went wrong; a run that was called off is no fault.
func (f *forgetter) stop() error {
	close(f.done)
	f.ended.Wait()
	if errors.Is(f.err, context.Canceled) {
		return nil
	}
	return f.err
}
