package node

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// symptomKey is the attribute of lines about a link to Redis that failed; its value says whose it
// is. While Redis is lost each link fails over and over, which says nothing new.
const symptomKey = "link"

// symptomRest is how long such a line waits: Redis may be found to be lost meanwhile.
const symptomRest = 2 * time.Second

// symptoms holds back lines about links to Redis, and passes on all others.
type symptoms struct {
	slog.Handler
	*held
}

// held are the lines that wait, and whether Redis is lost.
type held struct {
	mu    sync.Mutex
	lost  bool
	first func(more int, links []string) // logs the first that waits; nil when none does
	why   string                         // its error
	links []string
	count int // those that wait, or were dropped since Redis was lost
	timer *time.Timer
}

func newSymptoms(next slog.Handler) symptoms { return symptoms{next, new(held)} }

// WithAttrs implements slog.Handler.
func (s symptoms) WithAttrs(attrs []slog.Attr) slog.Handler {
	return symptoms{s.Handler.WithAttrs(attrs), s.held}
}

// WithGroup implements slog.Handler.
func (s symptoms) WithGroup(name string) slog.Handler {
	return symptoms{s.Handler.WithGroup(name), s.held}
}

// Handle implements slog.Handler.
func (s symptoms) Handle(ctx context.Context, r slog.Record) error {
	link, why := symptomOf(r)
	if link == "" || r.Level < slog.LevelInfo {
		return s.Handler.Handle(ctx, r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	if !slices.Contains(s.links, link) {
		s.links = append(s.links, link)
	}
	if s.lost || s.first != nil {
		return nil
	}
	s.why, s.timer = why, time.AfterFunc(symptomRest, s.release)
	s.first = func(more int, links []string) {
		r := r.Clone()
		if more > 0 {
			r.AddAttrs(slog.Int("more", more), slog.String("of", strings.Join(links, ", ")))
		}
		_ = s.Handler.Handle(context.WithoutCancel(ctx), r) // there is nobody to tell
	}
	return nil
}

// symptomOf returns whose link a line is about, "" for none, and the error in it.
func symptomOf(r slog.Record) (link, why string) {
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case symptomKey:
			link = a.Value.String()
		case "error":
			why = a.Value.String()
		}
		return true
	})
	return link, why
}

// release logs the line that waited: Redis was not lost.
func (h *held) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lost || h.first == nil {
		return
	}
	h.first(h.count-1, h.links)
	h.resetLocked()
}

func (h *held) resetLocked() {
	if h.timer != nil {
		h.timer.Stop()
	}
	h.first, h.why, h.links, h.count, h.timer = nil, "", nil, 0, nil
}

// begin is called when Redis is found to be lost: lines are dropped from here on. It returns the
// error of the first that waited, "" for none.
func (h *held) begin() (why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	why, h.lost, h.first = h.why, true, nil
	return why
}

// end is called when Redis is back, or the node closes. It returns how many lines were dropped.
func (h *held) end() (dropped int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	dropped, h.lost = h.count, false
	h.resetLocked()
	return dropped
}
