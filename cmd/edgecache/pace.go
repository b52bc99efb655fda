package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// maxRate is the highest rate that one goroutine keeps up with.
const maxRate = 50_000

// pace starts lookups at a steady rate, each at its own time and in a goroutine of its own however
// long those before it take: so a pause hides none of those that would have come meanwhile.
type pace struct {
	began time.Time
	step  time.Duration
	n     int
	under sync.WaitGroup

	mu   sync.Mutex
	took [look.FromStale + 1][]time.Duration // guarded by mu until wait returned
	err  error                               // guarded by mu: the first failure
}

func newPace(rate int) *pace {
	return &pace{began: time.Now(), step: time.Second / time.Duration(rate)}
}

// look waits for the next lookup's time and starts it.
func (p *pace) look(ctx context.Context, n *node.Node, id string) {
	due := p.began.Add(time.Duration(p.n) * p.step)
	p.n++
	if early := time.Until(due); early > 0 {
		select {
		case <-time.After(early):
		case <-ctx.Done():
			return
		}
	}
	began := time.Now() // and not due: a timer is up to a millisecond late
	p.under.Go(func() {
		got, err := n.Get(ctx, id)
		p.add(got.Tier, time.Since(began), err)
	})
}

func (p *pace) add(from look.Tier, took time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.took[from] = append(p.took[from], took)
	if err != nil && p.err == nil && !errors.Is(err, context.Canceled) {
		p.err = fmt.Errorf("lookup: %w", err)
	}
}

// wait waits for the lookups under way and returns the first failure; nothing without a pace.
func (p *pace) wait() error {
	if p == nil {
		return nil
	}
	p.under.Wait()
	return p.err
}
