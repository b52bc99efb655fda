package stream

import (
	"slices"
	"time"
)

// Reasons of a flush; Handler explains them.
const (
	gapTrimmed   = "trimmed"
	gapDeleted   = "deleted"
	gapBackwards = "backwards"
	gapRewritten = "rewritten"
	gapFailover  = "failover"
	gapUnproven  = "unproven"
	gapPanic     = "panic"
)

// ledger knows where a reader stands in the stream and proves that nothing between two reads was
// missed. It is a value: account returns the one that follows.
//
// The proof is a sum. A stream counts the entries ever added to it (entries-added), which neither
// trimming nor deletion lowers. Those added up to the mark + those read since + those unread yet
// must be the count; what is left over was added and is gone. The state may be taken a little later
// than the read, on the same server: what was added in between is unread.
type ledger struct {
	cursor entryID // the last entry read: the next read begins after it
	// mark is the cursor, or while a reader catches up on what it does not answer for, the entry
	// from which it does.
	mark  entryID
	added int64 // entries ever added up to the mark; -1 when the server does not count
	// entries up to the mark that the stream still holds, at least; for servers that do not count
	below   int64
	deleted entryID // state.deleted when it was last looked at
	// state.last then: a later read that finds nothing shows that nothing is left up to it
	end entryID
}

// unproven stands for a number of missed entries that cannot be known.
const unproven = int64(1) << 62

// anchor returns the ledger of a reader that begins replay before the stream's end and answers for
// what follows the end.
func (s state) anchor(replay time.Duration) ledger {
	if !s.exists {
		return ledger{}
	}
	return ledger{cursor: s.last.back(replay), mark: s.last, added: s.added, below: s.length, deleted: s.deleted, end: s.last}
}

// account takes a read, which returned the entries ids after l.cursor, and a state taken after it.
// It returns the ledger after the read and the reason of a gap before or within ids, or "". After a
// gap that makes the stream another one, the new ledger stands replay before the stream's end, so
// that its last entries are read, again or for the first time.
func (l ledger) account(ids []entryID, s state, replay time.Duration) (ledger, string) {
	next := l
	if len(ids) > 0 {
		next.cursor = ids[len(ids)-1]
	} else if next.cursor.less(l.end) {
		// what stood there was trimmed or deleted; waiting for it would never end
		next.cursor = l.end
	}
	if next.mark.less(next.cursor) {
		next.mark = next.cursor
	}
	switch {
	case !s.exists && next.mark == entryID{}:
		return ledger{}, ""
	case !s.exists:
		return ledger{}, gapDeleted
	case s.last.less(next.mark):
		return s.anchor(replay), gapBackwards
	}
	return l.settle(next, ids, s, replay)
}

func (l ledger) settle(next ledger, ids []entryID, s state, replay time.Duration) (ledger, string) {
	since := slices.IndexFunc(ids, l.mark.less)
	if since < 0 {
		since = len(ids)
	}
	next, missed := l.follow(next, ids[since:], s)
	next.deleted, next.end = s.deleted, s.last
	switch {
	case missed == unproven:
		return next, gapUnproven
	case missed > 0:
		return next, gapTrimmed
	case missed < 0 || s.deleted.less(l.deleted):
		return s.anchor(replay), gapRewritten
	}
	return next, ""
}

// follow completes next, whose cursor and mark are set, and returns how many entries after l.mark
// were missed. ids are those read after l.mark.
func (l ledger) follow(next ledger, ids []entryID, s state) (ledger, int64) {
	switch {
	case s.length == 0 || l.mark.less(s.first):
		return l.followFromHead(next, ids, s)
	case next.mark == s.last:
		next.added, next.below = s.added, s.length
		return next, l.missed(next.added, ids)
	}
	return l.followWithin(next, ids, s)
}

// missed is the sum: what was added after l.mark, up to a count of added, and was not read.
func (l ledger) missed(added int64, ids []entryID) int64 {
	if added < 0 || l.added < 0 {
		return 0
	}
	return added - l.added - int64(len(ids))
}

// followFromHead is for a stream that begins after the mark, so that all it holds is either in ids
// or unread. How many are unread is therefore known, whether or not entries were trimmed since the
// read.
func (l ledger) followFromHead(next ledger, ids []entryID, s state) (ledger, int64) {
	next.below = 0
	for _, id := range ids {
		if s.length > 0 && !id.less(s.first) {
			next.below++
		}
	}
	unread := max(0, s.length-next.below)
	if next.mark == s.last {
		unread = 0 // also if an entry that was just read has been deleted already
	}
	if s.added >= 0 {
		next.added = s.added - unread
		return next, l.missed(next.added, ids)
	}
	if l.below == 0 || (len(ids) == 0 && next.mark == s.last) {
		// nothing stood up to the mark that trimming would have taken first, or nothing is new
		return next, 0
	}
	return next, unproven
}

// followWithin is for a stream that still holds entries up to the mark, so that none after it was
// trimmed, and for a read that ended before the stream's end, so that how many follow is not known.
// Only XDEL can have taken some; that shows as a new highest deleted id. The sum is then left short
// on purpose: deletions below that id would not show, so the read that reaches the end finds the
// difference and reports it once more.
func (l ledger) followWithin(next ledger, ids []entryID, s state) (ledger, int64) {
	next.below = 1
	if s.added < 0 {
		return next, 0
	}
	next.added = l.added + int64(len(ids))
	switch {
	case s.added <= next.added:
		return next, s.added - next.added - 1
	case l.deleted.less(s.deleted) && l.mark.less(s.deleted) && !slices.Contains(ids, s.deleted):
		return next, 1
	}
	return next, 0
}
