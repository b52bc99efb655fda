package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/origin"
)

const (
	// startWithin bounds how long what is outside the process may take to answer at the start.
	startWithin = 4 * time.Second
	// stopWithin bounds the closing of everything, so that a signal ends the process within 5 s
	// and --drain-delay.
	stopWithin = 4500 * time.Millisecond
)

// parts is what a running command is made of. They are closed in the reverse of the order in which
// they were started: each may rest on those before it.
type parts struct {
	log     *slog.Logger
	drain   time.Duration // what closing takes before stopWithin counts
	demo    *demo         // nil but for serve --demo
	closers []func() error
}

func (p *parts) add(closer func() error) { p.closers = append(p.closers, closer) }

// close closes everything and waits, but not for ever. What does not close in order is logged: it
// is no failure of what was served.
func (p *parts) close() error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := len(p.closers) - 1; i >= 0; i-- {
			if err := p.closers[i](); err != nil {
				p.log.Warn("close", "error", err)
			}
		}
	}()
	select {
	case <-done:
		return nil
	case <-time.After(p.drain + stopWithin):
		return fmt.Errorf("not everything closed within %v", stopWithin)
	}
}

// errSilent reports that nothing came back.
var errSilent = errors.New("no answer")

// reach runs f, which asks something outside the process, within startWithin.
func reach(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startWithin, fmt.Errorf("%w within %v", errSilent, startWithin))
	defer cancel()
	if err := f(ctx); err != nil {
		if errors.Is(err, node.ErrGossip) {
			return err
		}
		return cmp.Or(context.Cause(ctx), plain(err))
	}
	return nil
}

// plain returns the error of the network inside err, without the layers that only repeat what was
// tried.
func plain(err error) error {
	var dialed *net.OpError
	if errors.As(err, &dialed) {
		return dialed
	}
	var answered *origin.Error
	switch {
	case errors.As(err, &answered) && (answered.Status == http.StatusUnauthorized || answered.Status == http.StatusForbidden):
		return &tokenRefused{answered.Status, answered.Detail}
	case errors.As(err, &answered) && answered.Status != 0:
		return fmt.Errorf("GET /health answers %d %s", answered.Status, http.StatusText(answered.Status))
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("it does not answer: %w", errSilent)
	}
	return err
}

// listenError explains why an address could not be had, and which flag names another.
func listenError(err error, flag, addr string) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("cannot listen on %s: the port is in use; choose another with --%s HOST:PORT", addr, flag)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("cannot listen on %s: permission denied; choose a port above 1023 with --%s HOST:PORT", addr, flag)
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "listen" {
		return fmt.Errorf("cannot listen on %s (--%s): %w", addr, flag, op.Err)
	}
	return err
}
