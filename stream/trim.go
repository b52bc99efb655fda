package stream

import (
	"context"
	"fmt"
	"time"
)

const (
	// groupFor is for how long the entries that another group has still to read are kept for it,
	// from the last that it was given.
	groupFor = 24 * time.Hour
	// keepAtMost is how many times MaxLen the stream may hold for the sake of other groups.
	keepAtMost = 10
)

// trimmer is what a worker knows of the groups for which the stream is longer than MaxLen.
type trimmer struct {
	behind string // the group that is furthest behind, "" for none: the log has it already
}

// trim takes what is above MaxLen from the stream's old end, but nothing that another group needs.
func (w *Worker) trim(ctx context.Context, l *link) error {
	length, err := l.conn.XLen(ctx, w.cfg.Stream).Result()
	if err != nil || length <= w.cfg.MaxLen {
		w.trimmer.behind = ""
		return wrapped("stream: length", err)
	}
	group, needed, err := w.needed(ctx, l)
	if err != nil {
		return err
	}
	if group == "" || length > keepAtMost*w.cfg.MaxLen {
		most := w.cfg.MaxLen
		if group != "" {
			most *= keepAtMost
		}
		w.trimmer.note(w, group, most)
		return wrapped("stream: trim", l.conn.XTrimMaxLenApprox(ctx, w.cfg.Stream, most, 0).Err())
	}
	// Both bounds hold: nothing from needed on, and not more than is above MaxLen.
	cut, err := l.conn.XTrimMinIDApprox(ctx, w.cfg.Stream, needed.String(), length-w.cfg.MaxLen).Result()
	if err != nil {
		return fmt.Errorf("stream: trim: %w", err)
	}
	if length-cut <= w.cfg.MaxLen+w.cfg.MaxLen/10+nodeEntries {
		group = ""
	}
	w.trimmer.note(w, group, length-cut)
	return nil
}

// nodeEntries is how many entries Redis keeps or drops together, as it is set by default.
const nodeEntries = 100

// note logs a group for which the stream is longer than it should be, once.
func (t *trimmer) note(w *Worker, group string, length int64) {
	if group != "" && group != t.behind {
		w.cfg.Logger.Warn("stream: longer than it should be, for another group that is behind",
			"group", group, "entries", length, "most", keepAtMost*w.cfg.MaxLen)
	}
	t.behind = group
}

// needed returns the other group that is furthest behind, of those that were given an entry of the
// last day, and the first entry that it may still ask for.
func (w *Worker) needed(ctx context.Context, l *link) (group string, first entryID, err error) {
	groups, err := l.conn.XInfoGroups(ctx, w.cfg.Stream).Result()
	if err != nil {
		return "", entryID{}, fmt.Errorf("stream: groups: %w", err)
	}
	now, err := l.conn.Time(ctx).Result()
	if err != nil {
		return "", entryID{}, fmt.Errorf("stream: time of the server: %w", err)
	}
	for _, g := range groups {
		at, ok := parseEntryID(g.LastDeliveredID)
		if g.Name == w.cfg.Group || !ok || now.Sub(at.time()) > groupFor {
			continue
		}
		at = at.next()
		if g.Pending > 0 {
			oldest, err := l.conn.XPending(ctx, w.cfg.Stream, g.Name).Result()
			if err != nil {
				return "", entryID{}, fmt.Errorf("stream: pending entries of %q: %w", g.Name, err)
			}
			if id, ok := parseEntryID(oldest.Lower); ok && id.less(at) && now.Sub(id.time()) <= groupFor {
				at = id
			}
		}
		if group == "" || at.less(first) {
			group, first = g.Name, at
		}
	}
	return group, first, nil
}
