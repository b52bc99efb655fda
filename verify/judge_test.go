package verify

import (
	"strconv"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream"
)

const ms = time.Millisecond

// epoch is the zero of the times below: milliseconds after it.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(n int) time.Time { return epoch.Add(time.Duration(n) * ms) }

// changed is a change that was read at a moment, 10 ms after the last at which it was not there.
func changed(kind profile.Kind, version int64, known int) *change {
	return &change{id: strconv.Itoa(known) + "-0", kind: kind, version: version, known: at(known), before: at(known - 10)}
}

func TestJudge(t *testing.T) {
	created, updated := func(v int64, n int) *change { return changed(profile.Created, v, n) }, func(v int64, n int) *change { return changed(profile.Updated, v, n) }
	deleted := func(v int64, n int) *change { return changed(profile.Deleted, v, n) }
	forgotten := func(n int) *change { return changed(profile.Invalidated, 0, n) }
	blind := &change{id: "0-1", kind: profile.Invalidated, known: at(0)}
	version := func(v int64) answer { return answer{version: v, tier: "L1"} }
	old := func(v int64, age int) answer {
		return answer{version: v, tier: "L1", age: time.Duration(age) * ms}
	}
	absent, stale := answer{absent: true}, answer{version: 1, tier: "stale", stale: true, age: time.Hour}
	for name, c := range map[string]struct {
		changes []*change
		answer  answer
		sent    int // received 5 ms later; the bound is 250 ms
		want    verdict
		by      int // index of the change behind it
	}{
		"the version":                              {[]*change{updated(5, 0)}, version(5), 250, right, -1},
		"a newer one":                              {[]*change{updated(5, 0)}, version(6), 250, right, -1},
		"an older one":                             {[]*change{updated(5, 0)}, version(4), 250, wrong, 0},
		"an older one, asked for too soon":         {[]*change{updated(5, 0)}, version(4), 249, right, -1},
		"an older one, marked stale":               {[]*change{updated(5, 0)}, stale, 250, marked, -1},
		"the oldest change is blamed":              {[]*change{updated(5, 0), updated(6, 50)}, version(4), 300, wrong, 0},
		"a later change raises what is demanded":   {[]*change{updated(5, 0), updated(6, 50)}, version(5), 300, wrong, 1},
		"but not before it binds":                  {[]*change{updated(5, 0), updated(6, 51)}, version(5), 300, right, -1},
		"an older version that came late":          {[]*change{updated(6, 0), updated(5, 10)}, version(6), 300, right, -1},
		"it lowers nothing":                        {[]*change{updated(6, 0), updated(5, 10)}, version(5), 300, wrong, 0},
		"half a minute later nothing binds":        {[]*change{updated(5, 0)}, version(4), 30_001, right, -1},
		"deleted, absent":                          {[]*change{deleted(5, 0)}, absent, 250, right, -1},
		"deleted, and still there":                 {[]*change{deleted(5, 0)}, version(4), 250, wrong, 0},
		"deleted, and there in that version":       {[]*change{deleted(5, 0)}, version(5), 250, wrong, 0},
		"deleted, and created anew":                {[]*change{deleted(5, 0)}, version(6), 250, right, -1},
		"created, absent":                          {[]*change{created(5, 0)}, absent, 250, missing, 0},
		"created, absent, asked for too soon":      {[]*change{created(5, 0)}, absent, 249, right, -1},
		"created, deleted a moment ago":            {[]*change{created(5, 0), deleted(6, 249)}, absent, 250, right, -1},
		"deleted, created again, absent":           {[]*change{deleted(5, 0), created(6, 0)}, absent, 250, missing, 1},
		"deleted, an older change came late":       {[]*change{deleted(5, 0), updated(4, 10)}, absent, 300, right, -1},
		"created, forgotten a moment ago":          {[]*change{created(5, 0), forgotten(249)}, absent, 250, right, -1},
		"forgotten, loaded later":                  {[]*change{forgotten(0)}, old(3, 200), 250, right, -1},
		"forgotten, loaded before":                 {[]*change{forgotten(0)}, old(3, 266), 250, wrong, 0},
		"forgotten, loaded about when":             {[]*change{forgotten(0)}, old(3, 265), 250, right, -1},
		"forgotten, loaded before, too soon":       {[]*change{forgotten(0)}, old(3, 266), 249, right, -1},
		"forgotten, absent":                        {[]*change{forgotten(0)}, absent, 250, right, -1},
		"forgotten, and nobody knows since when":   {[]*change{blind}, old(3, 9999), 250, right, -1},
		"an update without a version":              {[]*change{updated(0, 0)}, old(3, 266), 250, wrong, 0},
		"a deletion without a version, loaded old": {[]*change{deleted(0, 0)}, old(3, 266), 250, wrong, 0},
		"a version binds beyond an invalidation":   {[]*change{updated(5, 0), forgotten(10)}, version(4), 300, wrong, 0},
	} {
		c.answer.sent, c.answer.received = at(c.sent), at(c.sent+5)
		got, by := judge(c.changes, 250*ms, &c.answer)
		if got != c.want || (c.by >= 0) != (by != nil) || by != nil && by != c.changes[c.by] {
			t.Errorf("%s: verdict %d by %+v; want %d by %d", name, got, by, c.want, c.by)
		}
	}
}

func TestMarksBoundWhenAnEntryCame(t *testing.T) {
	m := new(marks)
	if got := m.before("5-0"); !got.IsZero() {
		t.Errorf("without a mark: %v", got)
	}
	for i := range 3 * maxMarks / 2 {
		m.add(mark{at(i), strconv.Itoa(1000+i) + "-5"})
	}
	last := 3*maxMarks/2 - 1
	for id, want := range map[string]time.Time{
		strconv.Itoa(1000+last) + "-6":  at(last),
		strconv.Itoa(1000+last) + "-5":  at(last - 1), // the mark says that it was there
		strconv.Itoa(1000+last) + "-10": at(last),
		"99999-0":                       at(last),
		"3048-6":                        at(maxMarks / 2), // the oldest that is kept
		"3048-5":                        {},
		"999-9":                         {},
	} {
		if got := m.before(id); !got.Equal(want) {
			t.Errorf("%s: %v; want %v", id, got, want)
		}
	}
}

func TestTheBookIsBounded(t *testing.T) {
	b := newBook(3)
	now := epoch
	u, own := b.note(stream.Event{ID: "1-0", Kind: profile.Updated, UserID: "7", Version: 1}, now, now)
	for v := int64(2); v <= 6; v++ {
		b.note(stream.Event{ID: strconv.FormatInt(v, 10) + "-0", Kind: profile.Updated, UserID: "7", Version: v}, now, now)
	}
	if got := b.changesOf(u, own); len(got) != 4 || got[0] != own || got[3].version != 6 {
		t.Errorf("history %v; want the change asked for and the last three", got)
	}
	if _, c := b.note(stream.Event{ID: "7-0", Kind: profile.Invalidated, UserID: "7", Version: 99}, now, now); c.version != 0 {
		t.Errorf("the timestamp of an invalidation became version %d", c.version)
	}
	for i := range maxUsers + 10 {
		b.note(stream.Event{ID: "8-0", Kind: profile.Updated, UserID: "u" + strconv.Itoa(i), Version: 1}, now, now)
	}
	if len(b.users) != maxUsers || b.order.Len() != maxUsers || b.users["7"] != nil {
		t.Errorf("%d users, %d in order; want %d, without the oldest", len(b.users), b.order.Len(), maxUsers)
	}
	b.note(stream.Event{ID: "9-0", Kind: profile.Updated, UserID: "late", Version: 1}, now.Add(bindFor+1), now)
	if len(b.users) != 1 {
		t.Errorf("%d users after their changes bind nobody", len(b.users))
	}
}
