package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source/sample"
)

// madeUp is a source of truth that makes up every user that it is asked for, and counts.
type madeUp struct {
	lag   time.Duration // of each call
	calls atomic.Int64
	mu    sync.Mutex
	asked map[string]bool
}

func newMadeUp() *madeUp { return &madeUp{asked: map[string]bool{}} }

func (m *madeUp) users() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.asked)
}

func (m *madeUp) user(id string) (*profile.Profile, error) {
	n, err := strconv.Atoi(id)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("made-up user %q: %w", id, profile.ErrNotFound)
	}
	m.mu.Lock()
	m.asked[id] = true
	m.mu.Unlock()
	p := sample.User(1, n+1)
	p.ID = id
	return p, nil
}

// call counts a call and takes its time.
func (m *madeUp) call(ctx context.Context) error {
	m.calls.Add(1)
	if m.lag == 0 {
		return nil
	}
	select {
	case <-time.After(m.lag):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Load implements tier.Loader.
func (m *madeUp) Load(ctx context.Context, id string) (*profile.Profile, error) {
	if err := m.call(ctx); err != nil {
		return nil, err
	}
	return m.user(id)
}

// LoadBatch implements tier.Loader.
func (m *madeUp) LoadBatch(ctx context.Context, ids []string) (profile.Batch, error) {
	if err := m.call(ctx); err != nil {
		return profile.Batch{}, err
	}
	b := profile.Batch{Found: map[string]*profile.Profile{}}
	for _, id := range ids {
		if p, err := m.user(id); err == nil {
			b.Found[id] = p
		} else {
			b.Missing = append(b.Missing, id)
		}
	}
	return b, nil
}

// quantile returns the q-th quantile of d, rounded to three digits; 0 for none. It sorts d.
func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	v := d[int(q*float64(len(d)-1))]
	step := time.Duration(1)
	for v/step >= 1000 {
		step *= 10
	}
	return v.Round(step)
}
