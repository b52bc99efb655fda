package prewarm

import (
	"cmp"
	"slices"
	"time"
)

const (
	// keptPerRange is how many failures a range reports.
	keptPerRange = 20
	// againAfter is how long a second try waits. Together with the deadlines of both tries it
	// outlasts the lease of a node that died in the middle of a load.
	againAfter = 3 * time.Second
	// mostTries is after how many tries a user counts as failed that Redis does not take, while it
	// takes everything else: half a minute, as a node that cannot report makes no tries.
	mostTries = 10
)

// queue is what one node has to load, newest first over all its ranges, and what became of it. It
// is not safe for concurrent use.
type queue struct {
	// pause is how long a second try waits.
	pause time.Duration
	held  map[int]*span // ranges of this node that are not reported done
	order []item        // first tries, newest first
	again []item        // second tries, after all first ones
	under int           // items taken and not finished
	// reported are the counts of ranges that Redis knows are done by this node, which were so many.
	reported Counts
	ranges   int
	failed   []Failure // the first few
}

// span is this node's work on one range. A range that is given away and comes back is another span.
type span struct {
	number, users, left int
	counts              Counts
	failures            []Failure
	dropped             bool
}

// item is one user to load.
type item struct {
	ranked
	of    *span
	tries int       // before this one
	due   time.Time // of another try
}

// outcome is what became of an item: cached, missing, or neither, for which reason says why. A
// doubtful one is tried up to mostTries times: Redis has failed, and not the user.
type outcome struct {
	cached, missing, doubtful bool
	reason                    string
}

// gain adds ranges with their users.
func (q *queue) gain(plan map[int][]ranked) {
	if q.held == nil {
		q.held = make(map[int]*span)
	}
	more := 0
	for _, users := range plan {
		more += len(users)
	}
	q.order = slices.Grow(q.order, more)
	for n, users := range plan {
		s := &span{number: n, users: len(users), left: len(users)}
		q.held[n] = s
		for _, u := range users {
			q.order = append(q.order, item{ranked: u, of: s})
		}
	}
	slices.SortFunc(q.order, func(a, b item) int { return cmp.Compare(a.rank, b.rank) })
}

// drop gives a range away. What of it is under way counts no more.
func (q *queue) drop(number int) {
	if s := q.held[number]; s != nil {
		s.dropped = true
		delete(q.held, number)
	}
}

// take returns the next items, at most n: second tries that are due after all first ones.
func (q *queue) take(n int, now time.Time) []item {
	items := make([]item, 0, n)
	for _, list := range []*[]item{&q.order, &q.again} {
		at := 0
		for ; at < len(*list) && len(items) < n && !(*list)[at].due.After(now); at++ {
			if it := (*list)[at]; !it.of.dropped {
				items = append(items, it)
			}
		}
		*list = (*list)[at:]
		if len(items) > 0 {
			break
		}
	}
	q.under += len(items)
	return items
}

// ready returns how many items there are to take, those of ranges given away included.
func (q *queue) ready(now time.Time) int {
	due := slices.IndexFunc(q.again, func(it item) bool { return it.due.After(now) })
	if due < 0 {
		due = len(q.again)
	}
	return len(q.order) + due
}

// idle reports whether everything was taken and is finished.
func (q *queue) idle() bool { return q.under+len(q.order)+len(q.again) == 0 }

// finish notes what became of items; became[i] belongs to items[i]. After a first failure there is
// a second try, after a doubt one more.
func (q *queue) finish(items []item, became []outcome, now time.Time) {
	q.under -= len(items)
	for i, it := range items {
		o := became[i]
		switch s := it.of; {
		case s.dropped:
		case o.cached || o.missing || it.tries > 0 && !o.doubtful || it.tries+1 >= mostTries:
			s.finish(it.id, o)
			if !o.cached && !o.missing && len(q.failed) < keptPerRange {
				q.failed = append(q.failed, Failure{it.id, o.reason})
			}
		default:
			it.tries, it.due = it.tries+1, now.Add(q.pause)
			q.again = append(q.again, it)
		}
	}
}

func (s *span) finish(id string, o outcome) {
	s.left--
	s.counts.TotalProcessed++
	switch {
	case o.cached:
		s.counts.Cached++
	case o.missing:
		s.counts.Missing++
	default:
		s.counts.Errors++
		if len(s.failures) < keptPerRange {
			s.failures = append(s.failures, Failure{id, o.reason})
		}
	}
}

// done returns the ranges, at most n, all of whose users are finished, and which reported has not
// been told of.
func (q *queue) done(n int) (done []doneRange) {
	for _, s := range q.held {
		if s.left == 0 && len(done) < n {
			done = append(done, doneRange{s.number, s.counts, s.failures})
		}
	}
	return done
}

// report notes that Redis has taken ranges.
func (q *queue) report(done []doneRange) {
	for _, d := range done {
		delete(q.held, d.number)
		q.reported.add(d.counts)
		q.ranges++
	}
}

// pending returns the counts of the ranges that Redis does not know to be done, and how many users
// they have.
func (q *queue) pending() (c Counts, users int64) {
	for _, s := range q.held {
		c.add(s.counts)
		users += int64(s.users)
	}
	return c, users
}
