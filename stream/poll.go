package stream

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// serve reads from l until it fails or ctx ends.
func (t *Tail) serve(ctx context.Context, l *link, works func()) error {
	for ctx.Err() == nil {
		if err := t.poll(ctx, l); err != nil {
			return err
		}
		works()
		t.pace.faster()
	}
	return nil
}

// poll does one read. The order is what the guarantee rests on: a gap before the entries flushes
// before they are handled, and only a tail that has handled all there is says that it is alive.
//
// XREAD and XINFO travel together and are answered in order, but other clients' commands may come
// between them. The ledger allows for that, so no transaction is needed, in which XREAD could not
// block.
func (t *Tail) poll(ctx context.Context, l *link) error {
	began := time.Now()
	q := query{after: t.ledger.cursor, count: t.pace.now, identify: began.Sub(t.identified) >= identifyEvery}
	if !t.behind {
		q.block = t.cfg.Block
	}
	a, err := l.exchange(ctx, q)
	if err != nil || ctx.Err() != nil {
		return err
	}
	t.stats.read(len(a.entries))
	next, gap := t.ledger.account(entryIDs(a.entries), a.state, t.cfg.Replay)
	if gap != "" && next.cursor.less(next.mark) {
		t.replayed = next.mark
	}
	t.ledger = next
	if !q.identify || !t.meet(ctx, a, false) {
		t.flushFor(ctx, gap, a.state)
	}
	t.handleAll(ctx, a.entries)
	t.note(ctx)
	t.prove(a.state, time.Since(began), time.Since(q.asOf(began, len(a.entries))))
	return nil
}

// asOf is the earliest moment at which the reply to a read that began at began can have been made:
// at once when it has entries, after block when it has none. A busy machine may read it much later.
func (q query) asOf(began time.Time, entries int) time.Time {
	if entries > 0 {
		return began
	}
	return began.Add(q.block)
}

func entryIDs(entries []redis.XMessage) []entryID {
	ids := make([]entryID, len(entries))
	for i, e := range entries {
		ids[i], _ = parseEntryID(e.ID)
	}
	return ids
}

// flushFor flushes if there is a gap.
func (t *Tail) flushFor(ctx context.Context, gap string, s state) {
	if gap == "" {
		return
	}
	t.cfg.Logger.WarnContext(ctx, "stream: entries may have been missed", "reason", gap,
		"cursor", t.ledger.cursor.String(), "first", s.first.String(), "last", s.last.String(), "added", s.added)
	t.flush(gap)
}

// flush tells the handler. When that panics the flush stays owed.
func (t *Tail) flush(reason string) {
	t.stats.gap(reason)
	t.known = entryID{} // what is read once more is news, since all is forgotten
	t.owed = reason
	t.payFlush()
}

// payFlush does a flush that is owed and says whether none is left.
func (t *Tail) payFlush() bool {
	if t.owed != "" && t.guard("flush", func() { t.cfg.Handler.Flush(t.owed) }) {
		t.owed = ""
	}
	return t.owed == ""
}

// note says where the tail stands, once nothing is left to be done up to there: no flush is owed,
// and a Close has not cut the handling of the entries short.
func (t *Tail) note(ctx context.Context) {
	if t.cfg.Checkpoint != nil && ctx.Err() == nil && t.owed == "" {
		t.cfg.Checkpoint(t.checkpoint())
	}
}

// prove tells the handler that the tail is alive, if it is: it has no flush to do, it stands at the
// stream's end, and the reply is not one that waited in a buffer while the process was stopped.
func (t *Tail) prove(s state, took, age time.Duration) {
	lag := s.last.ms - min(s.last.ms, t.ledger.cursor.ms)
	late := lag > uint64(freshness.Milliseconds()) || took > t.cfg.Block+linkGrace
	t.behind = late || t.ledger.cursor.less(s.last)
	if !late && t.payFlush() {
		t.catching = false
		t.stats.alive()
		t.guard("alive", func() { t.cfg.Handler.Alive(max(age, 0)) })
	}
}

// handleAll hands over the entries in order. After a panic among them it flushes once, and not once
// for each.
func (t *Tail) handleAll(ctx context.Context, entries []redis.XMessage) {
	var refused refusal
	panicked := false
	for _, entry := range entries {
		if ctx.Err() != nil {
			return
		}
		event, err := t.decode(entry)
		refused.add(entry.ID, err)
		if event.UserID != "" && !t.guard("handle", func() { t.cfg.Handler.Handle(event) }) {
			panicked = true
		}
		t.handled(entry.ID)
	}
	refused.log(ctx, t.cfg.Logger)
	if panicked {
		t.flush(gapPanic)
	}
}

// decode returns the event of an entry. An entry that is no event we understand, but names a user,
// becomes Invalidated for that user: something changed, and no copy can be trusted. One that does
// not even do that is counted and passed over. A flush would not help: the second tier cannot be
// corrected by it either, and L1 would be filled with the same again.
func (t *Tail) decode(entry redis.XMessage) (Event, error) {
	e, err := Decode(entry.Values)
	if err != nil && e.UserID != "" {
		e = Event{Kind: profile.Invalidated, UserID: e.UserID, Hint: true}
	}
	e.ID, e.At = entry.ID, eventTime(entry.ID, entry.Values)
	id, _ := parseEntryID(entry.ID)
	e.Known = !t.known.less(id)
	if e.Hint {
		t.hinted = id
	}
	t.stats.decoded(e, err)
	return e, err
}

func (t *Tail) handled(id string) {
	i, _ := parseEntryID(id)
	if t.catching {
		t.stats.caught()
	}
	if t.replayed.less(i) {
		t.stats.handled(id, time.Since(i.time()))
		return
	}
	t.stats.handled(id, 0)
}

// guard calls f and reports false if it panicked.
func (t *Tail) guard(what string, f func()) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			t.stats.panicked()
			t.cfg.Logger.Error("stream: the handler panicked", "in", what, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	f()
	return true
}
