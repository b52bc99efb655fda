// Package logfold keeps a log readable when something goes wrong over and over: of lines that say
// the same, the first is logged at once, and the others as one line with their number.
package logfold

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// window is for how long lines that say the same as one before are counted.
	window = 10 * time.Second
	// most is how many different lines are remembered; more are logged as they come.
	most = 256
)

// Handler folds lines of the levels Warn and Error; what is below passes. Lines say the same when
// their level, message and attribute "link" are the same.
type Handler struct {
	slog.Handler
	*folds
}

// folds are the lines of the last window, shared by all handlers that are derived from one.
type folds struct {
	mu    sync.Mutex
	lines map[key]*fold
}

type key struct {
	level      slog.Level
	text, link string
}

// fold is one line, and those that said the same since.
type fold struct {
	more  int
	log   func(more int) // logs the last of them
	timer *time.Timer
}

// New returns a handler over next.
func New(next slog.Handler) Handler {
	return Handler{next, &folds{lines: map[key]*fold{}}}
}

// WithAttrs implements slog.Handler.
func (h Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return Handler{h.Handler.WithAttrs(attrs), h.folds}
}

// WithGroup implements slog.Handler.
func (h Handler) WithGroup(name string) slog.Handler {
	return Handler{h.Handler.WithGroup(name), h.folds}
}

// Handle implements slog.Handler.
func (h Handler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn && h.repeats(ctx, r) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// repeats reports whether a line says what another has said in this window, and counts it then.
func (h Handler) repeats(ctx context.Context, r slog.Record) bool {
	k := keyOf(r)
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.lines[k]
	if f == nil {
		if len(h.lines) < most {
			h.lines[k] = &fold{timer: time.AfterFunc(window, func() { h.end(k) })}
		}
		return false
	}
	f.more++
	last := r.Clone()
	f.log = func(more int) {
		out := slog.NewRecord(last.Time, last.Level, fmt.Sprintf("%s (%d more in %v)", last.Message, more, window), last.PC)
		last.Attrs(func(a slog.Attr) bool { out.AddAttrs(a); return true })
		_ = h.Handler.Handle(context.WithoutCancel(ctx), out) // there is nobody to tell
	}
	return true
}

func keyOf(r slog.Record) key {
	k := key{level: r.Level, text: r.Message}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "link" {
			k.link = a.Value.String()
		}
		return a.Key != "link"
	})
	return k
}

// end is called at the end of a window. One in which there was more begins another.
func (f *folds) end(k key) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := f.lines[k]
	if one == nil {
		return
	}
	if one.more == 0 {
		delete(f.lines, k)
		return
	}
	one.log(one.more)
	one.more, one.log = 0, nil
	one.timer = time.AfterFunc(window, func() { f.end(k) })
}

// Close logs what was counted, and ends the windows.
func (h Handler) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k, one := range h.lines {
		one.timer.Stop()
		if one.more > 0 {
			one.log(one.more)
		}
		delete(h.lines, k)
	}
}
