package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/pflag"

	"github.com/chatapp-ngomna/edgecache/internal/life"
)

const (
	// waitPause and maxWaitPause bound the pause before something is looked for again.
	waitPause    = 200 * time.Millisecond
	maxWaitPause = 2 * time.Second
)

// waiting is how long a start waits for what it needs to be there.
type waiting struct {
	most time.Duration
	log  *slog.Logger
}

func (w *waiting) flags(f *pflag.FlagSet) {
	f.DurationVar(&w.most, "wait", 30*time.Second, "at the start, wait up to `TIME` for a server that is not there yet, or is loading its data")
}

func (w *waiting) check() error {
	if w.most < 0 || w.most > time.Hour {
		return usagef("--wait %v: want 0 to 1h", w.most)
	}
	return nil
}

// reach is reach, again and again until the time is over, as long as what answers is that nobody
// does yet. The first failure is logged.
func (w *waiting) reach(ctx context.Context, what string, f func(context.Context) error) error {
	deadline := time.Now().Add(w.most)
	for attempt := 1; ; attempt++ {
		err := reach(ctx, f)
		if err == nil || ctx.Err() != nil || !notYet(err) || time.Now().After(deadline) {
			return err
		}
		if attempt == 1 && w.log != nil {
			w.log.Warn("not there yet, waiting (--wait)", "for", what, "error", err, "most", w.most)
		}
		if !life.Wait(ctx, life.Backoff(attempt, waitPause, maxWaitPause)) {
			return context.Cause(ctx)
		}
	}
}

// beginnings are how servers say that they will answer soon: Redis, and PostgreSQL's 57P03.
var beginnings = []string{"LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "57P03"}

// notYet reports whether an error may be over soon: nobody listens, nobody answers, a name is not
// known yet, or a server says that it begins. A wrong password is none of it.
func notYet(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok || errors.Is(err, errSilent) {
		return true
	}
	if errors.Is(err, redis.ErrClosed) {
		return false
	}
	text := err.Error()
	for _, word := range beginnings {
		if strings.Contains(text, word) {
			return true
		}
	}
	return strings.Contains(text, "all sentinels specified in configuration are unreachable")
}
