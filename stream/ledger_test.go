package stream

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is a Redis stream as far as the ledger can see it, with the memory that the server lacks.
type model struct {
	counts  bool
	exists  bool
	entries []entryID
	last    entryID
	deleted entryID
	added   int64
	clock   uint64
}

func (m *model) add(n int) {
	m.exists = true
	for range n {
		m.clock++
		m.last = entryID{ms: m.clock}
		m.entries = append(m.entries, m.last)
		m.added++
	}
}

func (m *model) trim(keep int) {
	m.entries = m.entries[max(0, len(m.entries)-keep):]
}

func (m *model) remove(i int) entryID {
	id := m.entries[i]
	m.entries = slices.Delete(slices.Clone(m.entries), i, i+1)
	if m.deleted.less(id) {
		m.deleted = id
	}
	return id
}

func (m *model) drop() { *m = model{counts: m.counts, clock: m.clock} }

// from returns at most n entries after cursor.
func (m *model) from(cursor entryID, n int) []entryID {
	i := slices.IndexFunc(m.entries, cursor.less)
	if i < 0 {
		return nil
	}
	return slices.Clone(m.entries[i:min(len(m.entries), i+n)])
}

func (m *model) state() state {
	if !m.exists {
		return state{added: -1}
	}
	s := state{exists: true, length: int64(len(m.entries)), last: m.last, added: -1}
	if len(m.entries) > 0 {
		s.first = m.entries[0]
	}
	if m.counts {
		s.added, s.deleted = m.added, m.deleted
	}
	return s
}

// reader is a tail without a network.
type reader struct {
	ledger
	m    *model
	gone map[entryID]bool // left the stream unread, and no flush since
	any  bool             // something left the stream unread since the reader last stood at its end
}

func newReader(m *model) *reader {
	return &reader{ledger: m.state().anchor(0), m: m, gone: make(map[entryID]bool)}
}

// change does something to the stream and notes what the reader can never read after it.
func (r *reader) change(f func(*model)) {
	before := slices.Clone(r.m.entries)
	f(r.m)
	for _, id := range before {
		if r.mark.less(id) && !slices.Contains(r.m.entries, id) {
			r.gone[id], r.any = true, true
		}
	}
}

// poll reads, lets between happen, and only then takes the state, as another client's commands may
// fall between the two.
func (r *reader) poll(count int, between func()) (gap string, ids []entryID) {
	ids = r.m.from(r.cursor, count)
	r.mark = r.from(ids) // what was read cannot get lost between
	between()
	l := r.ledger
	l.mark = l.cursor
	r.ledger, gap = l.account(ids, r.m.state(), 0)
	return gap, ids
}

func (r *reader) from(ids []entryID) entryID {
	if len(ids) == 0 {
		return r.mark
	}
	return ids[len(ids)-1]
}

func drawChange(t *rapid.T, deletes bool) func(*model) {
	n := rapid.IntRange(0, 6).Draw(t, "n")
	switch what := rapid.IntRange(0, 3).Draw(t, "what"); {
	case what == 0:
		return func(m *model) { m.add(n + 1) }
	case what == 1:
		return func(m *model) { m.trim(n) }
	case what == 2 && deletes:
		return func(m *model) {
			if n < len(m.entries) {
				m.remove(n)
			}
		}
	}
	return func(m *model) { m.add(n); m.trim(2 * n) }
}

// TestTheLedgerIsExact: without XDEL every poll that follows a loss reports it, and none that does
// not.
func TestTheLedgerIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{counts: true, clock: 1000}
		m.add(rapid.IntRange(0, 20).Draw(t, "begun"))
		r := newReader(m)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "change") {
				r.change(drawChange(t, false))
				continue
			}
			if rapid.Bool().Draw(t, "another process") {
				r.ledger = resumed(t, r.ledger)
			}
			must := len(r.gone) > 0
			gap, ids := r.poll(rapid.IntRange(1, 8).Draw(t, "count"), func() {
				if rapid.Bool().Draw(t, "races") {
					r.change(drawChange(t, false))
				}
			})
			if (gap == "" && must) || (gap != "" && len(r.gone) == 0) {
				t.Fatalf("read %v, gap %q, gone unread: %v", ids, gap, r.gone)
			}
			if gap != "" {
				clear(r.gone)
			}
		}
	})
}

// resumed is the ledger of a tail that goes on where the one of l has ended.
func resumed(t *rapid.T, l ledger) ledger {
	before := Tail{ledger: l}
	after := new(Tail)
	if err := after.resume(before.checkpoint()); err != nil || after.ledger != l {
		t.Fatalf("resumed at %+v, want %+v: %v", after.ledger, l, err)
	}
	return after.ledger
}

// TestTheLedgerFindsDeletions: with XDEL the reader knows at the latest when it stands at the end,
// and is never wrong.
func TestTheLedgerFindsDeletions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{counts: true, clock: 1000}
		m.add(rapid.IntRange(0, 20).Draw(t, "begun"))
		r := newReader(m)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "change") {
				r.change(drawChange(t, true))
				continue
			}
			gap, ids := r.poll(rapid.IntRange(1, 8).Draw(t, "count"), func() {})
			atEnd := r.cursor == m.last
			if (gap == "" && atEnd && len(r.gone) > 0) || (gap != "" && !r.any) {
				t.Fatalf("read %v, gap %q, gone unread: %v", ids, gap, r.gone)
			}
			if gap != "" {
				clear(r.gone)
			}
			if atEnd {
				r.any = false
			}
		}
	})
}

// TestTheLedgerComesToTheEnd: once nothing changes any more the reader stands at the stream's end
// after one read that finds nothing, also when what stood there is gone. Before that it would read
// without a pause, and never be alive.
func TestTheLedgerComesToTheEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{counts: rapid.Bool().Draw(t, "counts"), clock: 1000}
		m.add(rapid.IntRange(0, 20).Draw(t, "begun"))
		r := newReader(m)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "change") {
				r.change(drawChange(t, true))
			} else {
				r.poll(rapid.IntRange(1, 8).Draw(t, "count"), func() {})
			}
		}
		for range 2 {
			r.poll(1000, func() {})
		}
		if r.cursor != m.last {
			t.Fatalf("stands at %v, the stream's end is %v", r.cursor, m.last)
		}
		r.poll(1000, func() {})
		if gap, _ := r.poll(1000, func() {}); gap != "" {
			t.Fatalf("at rest, gap %q", gap)
		}
	})
}

func TestTheLedger(t *testing.T) {
	read := func(r *reader) string {
		gap, _ := r.poll(1000, func() {})
		return gap
	}
	for name, tc := range map[string]struct {
		do     func(m *model)
		counts string // the gap on a server that counts
		blind  string // and on one that does not
	}{
		"nothing":                                {func(m *model) {}, "", ""},
		"added":                                  {func(m *model) { m.add(3) }, "", ""},
		"added, trimmed up to the cursor":        {func(m *model) { m.add(3); m.trim(3) }, "", gapUnproven},
		"added, trimmed before the cursor":       {func(m *model) { m.add(3); m.trim(5) }, "", ""},
		"added, trimmed beyond the cursor":       {func(m *model) { m.add(3); m.trim(2) }, gapTrimmed, gapUnproven},
		"added, trimmed to nothing":              {func(m *model) { m.add(3); m.trim(0) }, gapTrimmed, gapUnproven},
		"idle, trimmed to nothing":               {func(m *model) { m.trim(0) }, "", ""},
		"idle, the cursor's entry trimmed":       {func(m *model) { m.trim(1); m.trim(0) }, "", ""},
		"idle, the cursor's entry deleted":       {func(m *model) { m.remove(8) }, "", ""},
		"deleted one unread":                     {func(m *model) { m.add(3); m.remove(10) }, gapTrimmed, ""},
		"deleted one read":                       {func(m *model) { m.add(3); m.remove(3) }, "", ""},
		"dropped":                                {func(m *model) { m.drop() }, gapDeleted, gapDeleted},
		"dropped, created with lower ids":        {func(m *model) { m.drop(); m.clock = 5; m.add(3) }, gapBackwards, gapBackwards},
		"dropped, created with higher ids":       {func(m *model) { m.drop(); m.add(3) }, gapRewritten, gapUnproven},
		"dropped, created, longer":               {func(m *model) { m.drop(); m.add(300) }, gapRewritten, gapUnproven},
		"dropped, created empty":                 {func(m *model) { m.drop(); m.exists = true }, gapBackwards, gapBackwards},
		"restored as it was earlier":             {func(m *model) { m.trim(0); m.clock = 900; m.last = entryID{ms: 900}; m.added = 5 }, gapBackwards, gapBackwards},
		"restored as it was earlier, with more":  {func(m *model) { m.entries, m.added = m.entries[:5], 5; m.add(2) }, gapRewritten, ""},
		"dropped, created, its deletions gone":   {func(m *model) { m.remove(1); m.drop(); m.add(20); m.trim(10) }, gapRewritten, gapUnproven},
		"lower ids, grown beyond the cursor":     {func(m *model) { m.drop(); m.clock = 1005; m.add(8) }, gapRewritten, ""},
		"many added, trimmed to one":             {func(m *model) { m.add(1000); m.trim(1) }, gapTrimmed, gapUnproven},
		"added after it was trimmed to nothing":  {func(m *model) { m.trim(0); m.add(3) }, "", gapUnproven},
		"deleted and added, as many as there be": {func(m *model) { m.remove(0); m.remove(0); m.add(2) }, "", ""},
	} {
		for _, counts := range []bool{true, false} {
			m := &model{counts: counts, clock: 1000}
			m.add(10)
			m.remove(0)
			r := newReader(m)
			tc.do(m)
			want := tc.counts
			if !counts {
				want = tc.blind
			}
			if got := read(r); got != want {
				t.Errorf("%s (the server counts: %v): gap %q, want %q", name, counts, got, want)
			}
			if got := read(r); got != "" {
				t.Errorf("%s (the server counts: %v): a second gap, %q", name, counts, got)
			}
			m.add(2)
			if got := read(r); got != "" || r.cursor != m.last {
				t.Errorf("%s (the server counts: %v): then gap %q, cursor %v of %v", name, counts, got, r.cursor, m.last)
			}
		}
	}
}

// TestALongBacklog: a read that does not reach the end finds what can be found before it hands
// anything over.
func TestALongBacklog(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(m *model)
		gaps []string // of the reads of 5 entries that follow
	}{
		"nothing":                        {func(m *model) {}, []string{"", "", "", ""}},
		"deleted one, reported twice":    {func(m *model) { m.remove(22) }, []string{gapTrimmed, "", "", gapTrimmed, ""}},
		"deleted one that is read":       {func(m *model) { m.remove(5) }, []string{"", "", "", ""}},
		"trimmed":                        {func(m *model) { m.trim(12) }, []string{gapTrimmed, "", "", ""}},
		"trimmed up to the cursor":       {func(m *model) { m.trim(20) }, []string{"", "", "", ""}},
		"other stream around the cursor": {func(m *model) { m.drop(); m.clock = 1005; m.add(13) }, []string{gapRewritten, "", ""}},
		"other stream after the cursor":  {func(m *model) { m.drop(); m.add(20) }, []string{gapRewritten, "", ""}},
	} {
		m := &model{counts: true, clock: 1000}
		m.add(10)
		r := newReader(m)
		m.add(20)
		tc.do(m)
		for i, want := range tc.gaps {
			if gap, ids := r.poll(5, func() {}); gap != want {
				t.Errorf("%s: read %d gave %v, gap %q, want %q", name, i, ids, gap, want)
			}
		}
		if r.cursor != m.last {
			t.Errorf("%s: the cursor is at %v of %v", name, r.cursor, m.last)
		}
	}
}

func TestAStreamThatAppearsIsReadFromItsBeginning(t *testing.T) {
	for _, counts := range []bool{true, false} {
		m := &model{counts: counts, clock: 1000}
		r := newReader(m)
		seen := 0
		for i := range 5 {
			if i == 2 {
				m.add(7)
			}
			gap, ids := r.poll(5, func() {})
			if seen += len(ids); gap != "" {
				t.Errorf("the server counts: %v: gap %q", counts, gap)
			}
		}
		if seen != 7 {
			t.Errorf("the server counts: %v: %d of 7 entries", counts, seen)
		}
	}
}

func TestAfterARewrittenStreamItsEndIsReadAgain(t *testing.T) {
	m := &model{counts: true, clock: 100_000}
	m.add(10)
	r := newReader(m)
	m.drop()
	m.add(3)
	l, gap := r.account(m.from(r.cursor, 9), m.state(), 2*time.Millisecond)
	if want := (ledger{cursor: m.last.back(2 * time.Millisecond), mark: m.last, added: 3, below: 3, end: m.last}); gap != gapRewritten || l != want {
		t.Errorf("gap %q, %+v; want %+v", gap, l, want)
	}
	m.add(1)
	m.trim(2) // what is only read again may be trimmed without a flush
	l, gap = l.account(m.from(l.cursor, 9), m.state(), 0)
	if gap != "" || l.cursor != m.last || l.mark != m.last || l.added != 4 {
		t.Errorf("gap %q, %+v; last %v", gap, l, m.last)
	}
}

func TestParseState(t *testing.T) {
	want := state{exists: true, length: 2, first: entryID{5, 1}, last: entryID{9, 0}, deleted: entryID{7, 3}, added: 12}
	pairs := []any{"length", int64(2), "radix-tree-keys", int64(1), "last-generated-id", "9-0", "max-deleted-entry-id", "7-3",
		"entries-added", int64(12), "recorded-first-entry-id", "5-1", "groups", int64(0), "first-entry", nil, "of-the-future", []any{}}
	flat := make(map[any]any)
	for i := 0; i < len(pairs); i += 2 {
		flat[pairs[i]] = pairs[i+1]
	}
	for _, reply := range []any{pairs, flat} {
		if got := parseState(reply); got != want {
			t.Errorf("%T gives %+v, want %+v", reply, got, want)
		}
	}
	odd := []any{[]any{"length", "2", "entries-added", "x"}, []any{"length"}, "text", nil, map[any]any{5: 5}}
	for _, reply := range odd {
		if got := parseState(reply); got.added != -1 || !got.exists {
			t.Errorf("%v gives %+v", reply, got)
		}
	}
}
