package stream

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ErrCheckpoint reports a TailConfig.Resume that is none, or is of another stream.
var ErrCheckpoint = errors.New("stream: no checkpoint of this stream")

// checkpoint is where a tail stands, once everything up to there is handled, in the form in which
// it outlives the process: the ledger, and whose stream it is.
type checkpoint struct {
	Stream  string `json:"stream"`
	Cursor  string `json:"cursor"`
	Mark    string `json:"mark"`
	Added   int64  `json:"added"`
	Below   int64  `json:"below"`
	Deleted string `json:"deleted"`
	End     string `json:"end"`
	// Hint is the last entry of another service.
	Hint    string `json:"hint"`
	RunID   string `json:"runId"`
	ReplID  string `json:"replId"`
	ReplID2 string `json:"replId2"`
}

// checkpoint returns where t stands.
func (t *Tail) checkpoint() []byte {
	l, who := t.ledger, t.who
	b, err := json.Marshal(checkpoint{
		Stream: t.cfg.Stream, Cursor: l.cursor.String(), Mark: l.mark.String(), Added: l.added,
		Below: l.below, Deleted: l.deleted.String(), End: l.end.String(), Hint: t.hinted.String(),
		RunID: who.runID, ReplID: who.replID, ReplID2: who.replID2,
	})
	if err != nil {
		// it has texts and numbers only
		panic("stream: a checkpoint does not encode: " + err.Error())
	}
	return b
}

// resume has t stand where a checkpoint says. Errors wrap ErrCheckpoint.
func (t *Tail) resume(text []byte) error {
	var c checkpoint
	if err := json.Unmarshal(text, &c); err != nil {
		return fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	if c.Stream != t.cfg.Stream {
		return fmt.Errorf("%w: it is of %q, want %q", ErrCheckpoint, c.Stream, t.cfg.Stream)
	}
	l := ledger{added: c.Added, below: c.Below}
	for _, id := range []struct {
		text string
		to   *entryID
	}{
		{c.Cursor, &l.cursor}, {c.Mark, &l.mark}, {c.Deleted, &l.deleted}, {c.End, &l.end},
		{c.Hint, &t.hinted},
	} {
		var ok bool
		if *id.to, ok = parseEntryID(id.text); !ok {
			return fmt.Errorf("%w: %q is no id of an entry", ErrCheckpoint, id.text)
		}
	}
	t.ledger, t.known, t.replayed = l, l.cursor, l.cursor
	t.who = identity{runID: c.RunID, replID: c.ReplID, replID2: c.ReplID2}
	t.behind, t.resuming, t.catching = true, true, true
	return nil
}

// rewind goes back to where hints may not have been answered yet, of which the tail that left the
// checkpoint knew, and this one does not: it reads them again.
func (t *Tail) rewind(s state) {
	t.resuming = false
	back := s.last.back(t.cfg.Replay)
	if t.replayed.less(s.last) {
		t.replayed = s.last
	}
	if back.less(t.ledger.cursor) && !t.hinted.less(back) {
		t.ledger.cursor = back
	}
}
