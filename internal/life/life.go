// Package life is the one way in which the parts of edgecache start, stop and wait: Life for what runs goroutines, Wait
// and Backoff for the pauses between two tries.
package life

import (
	"context"
	"errors"
	"sync"
)

// ErrClosed reports a call after Close. Packages give it out under their own name, so that errors.Is works through
// every layer.
var ErrClosed = errors.New("closed")

// Life starts something once, runs its goroutines, and ends it. The zero value is ready; it must not be copied.
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
	started bool
	ended   bool
	err     error // of end

	group sync.WaitGroup
}

// Context ends when Close begins; its cause is ErrClosed then.
func (l *Life) Context() context.Context {
	l.once.Do(func() { l.ctx, l.cancel = context.WithCancelCause(context.Background()) })
	return l.ctx
}

// Start calls begin unless that has succeeded before. The context that begin gets bounds the start only: it is the
// caller's, and ends with Close as well.
func (l *Life) Start(ctx context.Context, begin func(ctx context.Context) error) error {
	base := l.Context()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case base.Err() != nil:
		return ErrClosed
	case l.started:
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(base, func() { cancel(ErrClosed) })()
	if err := begin(ctx); err != nil {
		return err
	}
	l.started = true
	return nil
}

// Go runs f in a goroutine that Close waits for. Its context is Context. It may be called from begin, and from then on
// until Close begins; a goroutine that Go has started may always call it.
func (l *Life) Go(f func(ctx context.Context)) {
	ctx := l.Context()
	l.group.Go(func() { f(ctx) })
}

// Started reports whether Start has succeeded; it stays true after Close. It waits for a Start or Close under way.
func (l *Life) Started() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.started
}

// Closed reports whether Close has begun. It waits for nothing.
func (l *Life) Closed() bool { return l.Context().Err() != nil }

// Close ends Context, waits for a Start under way and for the goroutines, then calls end, which may be nil. Every call
// waits for the first and returns what end returned.
func (l *Life) Close(end func() error) error {
	l.Context()
	l.cancel(ErrClosed)
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
