// Package chaos spoils an origin for tests, as redistest.Proxy spoils a link: it delays, fails,
// panics, hangs, and loses answers after the work was done.
package chaos

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

var (
	// ErrFailed is what a call returns that was made to fail before it did anything.
	ErrFailed = errors.New("chaos: the origin failed")
	// ErrLost is what a call returns whose answer was lost after the origin had given it.
	ErrLost = errors.New("chaos: the answer was lost")
)

// Origin is what a Loader spoils: tier.Loader.
type Origin interface {
	Load(ctx context.Context, id string) (*profile.Profile, error)
	LoadBatch(ctx context.Context, ids []string) (profile.Batch, error)
}

// Faults says how often, from 0 to 1, what befalls a call; at most one of them does. The zero value
// spoils nothing.
type Faults struct {
	// Fail returns ErrFailed at once, Panic panics, Hang waits for the end of the caller's context.
	Fail, Panic, Hang float64
	// Lose asks the origin and returns ErrLost in place of its answer.
	Lose float64
	// Delay is the longest wait between the origin's answer and its return, so that it is old when
	// it arrives. Default 0.
	Delay time.Duration
}

// Loader is an Origin with faults. It may be used concurrently.
type Loader struct {
	origin Origin
	faults atomic.Pointer[Faults]
	// Spoilt counts the calls that were.
	Spoilt atomic.Int64

	mu  sync.Mutex
	rnd *rand.Rand
}

// Spoil returns a Loader over origin without faults as yet. The same seed and order of calls bring
// the same faults.
func Spoil(origin Origin, seed uint64) *Loader {
	l := &Loader{origin: origin, rnd: rand.New(rand.NewPCG(seed, 0))}
	l.Set(Faults{})
	return l
}

// Set changes what befalls the calls that begin from now on.
func (l *Loader) Set(f Faults) { l.faults.Store(&f) }

// Load is the origin's, or a fault.
func (l *Loader) Load(ctx context.Context, id string) (p *profile.Profile, err error) {
	err = l.spoil(ctx, func() { p, err = l.origin.Load(ctx, id) }, &err)
	if err != nil {
		p = nil
	}
	return p, err
}

// LoadBatch is the origin's, or a fault for all of it.
func (l *Loader) LoadBatch(ctx context.Context, ids []string) (b profile.Batch, err error) {
	err = l.spoil(ctx, func() { b, err = l.origin.LoadBatch(ctx, ids) }, &err)
	if err != nil {
		b = profile.Batch{}
	}
	return b, err
}

// spoil asks, unless a fault comes first, and returns the outcome; answered is the origin's error.
func (l *Loader) spoil(ctx context.Context, ask func(), answered *error) error {
	f := *l.faults.Load()
	dice, delay := l.draw(f.Delay)
	until := 0.0
	befalls := func(share float64) bool {
		before := until
		until += share
		hit := dice >= before && dice < until
		if hit {
			l.Spoilt.Add(1)
		}
		return hit
	}
	switch {
	case befalls(f.Fail):
		return ErrFailed
	case befalls(f.Panic):
		panic("chaos: the origin panicked")
	case befalls(f.Hang):
		<-ctx.Done()
		return context.Cause(ctx)
	}
	ask()
	if befalls(f.Lose) {
		return ErrLost
	}
	select {
	case <-time.After(delay):
		return *answered
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *Loader) draw(most time.Duration) (dice float64, delay time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rnd.Float64(), time.Duration(l.rnd.Int64N(int64(most) + 1))
}
