// Package life is the one way in which the parts of edgecache start, stop and wait: Life for what
// runs goroutines, Wait and Backoff for the pauses between two tries.
package life

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// ErrClosed reports a call after Close. Packages give it out under their own name, so that
// errors.Is works through every layer.
var ErrClosed = errors.New("closed")

// Life starts something once, runs its goroutines, and ends it. The zero value is ready; it must
// not be copied.
//
// One contract holds wherever a Life is used:
//
//	New starts nothing.
//	Start returns nil when it is started already, ErrClosed after Close; after another error it may be called again.
//	Close ends a Start that is under way, waits for every goroutine, and may be called twice and before Start.
type Life struct {
	once   sync.Once
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu      sync.Mutex // held while starting and while ending
	ended   bool
	err     error // of end
	started atomic.Bool

	// held while a goroutine is added, so that none is added to a group that is awaited
	gate  sync.Mutex
	group sync.WaitGroup
}

// Context ends when Close begins; its cause is ErrClosed then.
func (l *Life) Context() context.Context {
	l.once.Do(func() { l.ctx, l.cancel = context.WithCancelCause(context.Background()) })
	return l.ctx
}

// Start calls begin unless that has succeeded before. The context that begin gets bounds the start
// only: it is the caller's, and ends with Close as well.
func (l *Life) Start(ctx context.Context, begin func(ctx context.Context) error) error {
	base := l.Context()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case base.Err() != nil:
		return ErrClosed
	case l.started.Load():
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(base, func() { cancel(ErrClosed) })()
	if err := begin(ctx); err != nil {
		return err
	}
	l.started.Store(true)
	return nil
}

// Go runs f in a goroutine that Close waits for; its context is Context. After Close has begun it
// does nothing and returns false.
func (l *Life) Go(f func(ctx context.Context)) bool {
	ctx := l.Context()
	l.gate.Lock()
	defer l.gate.Unlock()
	if ctx.Err() != nil {
		return false
	}
	l.group.Go(func() { f(ctx) })
	return true
}

// Started reports whether Start has succeeded; it stays true after Close.
func (l *Life) Started() bool { return l.started.Load() }

// Closed reports whether Close has begun.
func (l *Life) Closed() bool { return l.Context().Err() != nil }

// Close ends Context, waits for a Start under way and for the goroutines, then calls end, which may
// be nil. Every call waits for the first and returns what end returned.
func (l *Life) Close(end func() error) error {
	l.Context()
	l.gate.Lock()
	l.cancel(ErrClosed)
	l.gate.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return l.err
	}
	l.group.Wait()
	l.ended = true
	if end != nil {
		l.err = end()
	}
	return l.err
}
