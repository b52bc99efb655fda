package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

const (
	// hugeEntry is the size in bytes above which an entry may be passed over unread, if it keeps
	// the tail from reading on.
	hugeEntry = 1 << 20
	// stuckAfter is how many reads of a single entry fail in a row before its size is looked at.
	stuckAfter = 3
)

// pace is how many entries are asked for at once. A read has to arrive within the timeout of its
// link, whatever others have put into the stream, so the number falls when reads fail and rises
// again when they succeed.
type pace struct {
	most, now int64
	stuck     int // failures in a row with one entry at a time
}

func newPace(most int64) pace { return pace{most: most, now: most} }

func (p *pace) slower() {
	if p.now == 1 {
		p.stuck++
	}
	p.now = max(1, p.now/4)
}

func (p *pace) faster() {
	p.now, p.stuck = min(p.most, p.now*2), 0
}

// passHuge moves the cursor past the next entry if that is so large that it does not arrive in
// time. It is no event, so it is counted as refused, like one that is too large and was read.
func (t *Tail) passHuge(ctx context.Context, l *link) error {
	if t.pace.stuck < stuckAfter {
		return nil
	}
	reply, err := measureScript.Eval(ctx, l.conn, []string{t.cfg.Stream}, t.ledger.cursor.String()).Slice()
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("stream: size of the next entry: %w", err)
	}
	if len(reply) != 2 || integer(reply[1], 0) <= hugeEntry {
		return nil
	}
	a, err := l.exchange(ctx, query{}) // a state that knows of the entry
	if err != nil {
		return err
	}
	id, _ := parseEntryID(text(reply[0]))
	t.cfg.Logger.WarnContext(ctx, "stream: passed over a huge entry unread", "id", id.String(), "bytes", reply[1])
	var gap string
	t.ledger, gap = t.ledger.account([]entryID{id}, a.state, t.cfg.Replay)
	t.flushFor(ctx, gap, a.state)
	t.stats.refused(refusedTooLarge)
	t.handled(id.String())
	return nil
}
