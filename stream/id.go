package stream

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// entryID is the id of a stream entry: milliseconds since 1970 by the server's clock, and a number
// within them.
type entryID struct{ ms, seq uint64 }

// parseEntryID reads "ms-seq", or "ms" for its first entry.
func parseEntryID(s string) (entryID, bool) {
	ms, seq, both := strings.Cut(s, "-")
	if !both {
		seq = "0"
	}
	a, err := strconv.ParseUint(ms, 10, 64)
	if err != nil {
		return entryID{}, false
	}
	b, err := strconv.ParseUint(seq, 10, 64)
	return entryID{a, b}, err == nil
}

// String returns the id as Redis writes it.
func (i entryID) String() string {
	return strconv.FormatUint(i.ms, 10) + "-" + strconv.FormatUint(i.seq, 10)
}

func (i entryID) compare(j entryID) int {
	return cmp.Or(cmp.Compare(i.ms, j.ms), cmp.Compare(i.seq, j.seq))
}

func (i entryID) less(j entryID) bool { return i.compare(j) < 0 }

// EntryBefore reports whether the entry of id a was added before that of id b, both as Redis writes
// them. What is no id counts as before all that are.
func EntryBefore(a, b string) bool {
	i, _ := parseEntryID(a)
	j, _ := parseEntryID(b)
	return i.less(j)
}

// order writes i so that the texts of two ids compare as they do.
func (i entryID) order() string { return fmt.Sprintf("%016x%016x", i.ms, i.seq) }

// back returns the first id of d before i.
func (i entryID) back(d time.Duration) entryID {
	if d <= 0 {
		return i
	}
	return entryID{ms: i.ms - min(i.ms, uint64(d.Milliseconds()))}
}

// next returns the id that follows i.
func (i entryID) next() entryID {
	if i.seq+1 == 0 {
		return entryID{ms: i.ms + 1}
	}
	return entryID{i.ms, i.seq + 1}
}

func (i entryID) time() time.Time {
	return time.UnixMilli(int64(min(i.ms, 1<<62)))
}

// eventTime is when the event of an entry happened: for one that was put back, when the original
// did.
func eventTime(id string, values map[string]any) time.Time {
	own, _ := parseEntryID(id)
	if of, ok := parseEntryID(text(values[fieldReplayOf])); ok && of.less(own) {
		return of.time()
	}
	return own.time()
}
