package stream

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/life"
)

const (
	backoffFirst = 50 * time.Millisecond
	backoffMost  = 500 * time.Millisecond
)

// errClosing is the cause of the end of a context that Close cancelled.
var errClosing = errors.New("stream: closing")

// lifecycle starts one goroutine at most once and ends it. Its zero value is ready.
type lifecycle struct {
	mu     sync.Mutex
	closed bool
	cancel context.CancelCauseFunc // nil before a start that succeeded
	done   chan struct{}           // closed when the goroutine has ended
}

// start calls prepare and, if that succeeds, runs run in a goroutine with a context that lives until close. After an error
// it may be called again.
func (l *lifecycle) start(prepare func() error, run func(context.Context)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return ErrClosed
	case l.cancel != nil:
		return ErrStarted
	}
	if err := prepare(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	l.cancel, l.done = cancel, make(chan struct{})
	go func() {
		defer close(l.done)
		run(ctx)
	}()
	return nil
}

// close ends the goroutine and waits for it, and for a start that is under way. It may be called at any time and again.
func (l *lifecycle) close() {
	l.mu.Lock()
	l.closed = true
	cancel, done := l.cancel, l.done
	l.mu.Unlock()
	if cancel != nil {
		cancel(errClosing)
		<-done
	}
}

// retry calls session, which serves one link until the link fails, over and over until ctx ends. session calls its argument
// when the link works, so that the pauses begin small again.
func retry(ctx context.Context, log *slog.Logger, session func(works func()) error) {
	attempt := 0
	for ctx.Err() == nil {
		err := session(func() { attempt = 0 })
		if ctx.Err() != nil {
			return
		}
		attempt++
		pause := life.Backoff(attempt, backoffFirst, backoffMost)
		log.WarnContext(ctx, "stream: the link failed", "attempt", attempt, "error", err, "pause", pause)
		life.Wait(ctx, pause)
	}
}
