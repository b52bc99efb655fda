package verify

import (
	"container/list"
	"strings"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream"
)

// maxUsers bounds the users whose changes are remembered; the one that changed the longest ago is
// forgotten first.
const maxUsers = 50_000

// user is one user's last changes.
type user struct {
	id      string
	changes []*change // in the order of the stream; guarded by the book's mutex
	place   *list.Element
}

// book remembers the changes of the last while by user.
type book struct {
	history int
	mu      sync.Mutex
	users   map[string]*user
	order   *list.List // of *user, that which changed last at the back
}

func newBook(history int) *book {
	return &book{history: history, users: map[string]*user{}, order: list.New()}
}

// note takes an event that was read now and was not in the stream before.
func (b *book) note(e stream.Event, now, before time.Time) (*user, *change) {
	c := &change{id: strings.Clone(e.ID), kind: e.Kind, version: e.Version, at: e.At, known: now, before: before}
	// its timestamp is no version, and what it says is for the origin to confirm
	if e.Hint || e.Kind == profile.Invalidated {
		c.kind, c.version = profile.Invalidated, 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	u := b.users[e.UserID]
	if u == nil {
		u = &user{id: strings.Clone(e.UserID)} // the event's strings are parts of a larger one
		u.place = b.order.PushBack(u)
		b.users[u.id] = u
	}
	b.order.MoveToBack(u.place)
	if len(u.changes) == b.history {
		u.changes = append(u.changes[:0], u.changes[1:]...)
	}
	u.changes = append(u.changes, c)
	b.forgetLocked(now)
	return u, c
}

// latest returns the n users that changed last.
func (b *book) latest(n int) (ids []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for e := b.order.Back(); e != nil && len(ids) < n; e = e.Prev() {
		ids = append(ids, e.Value.(*user).id)
	}
	return ids
}

// forgetLocked forgets users beyond maxUsers and those whose changes bind nobody any more. Checks
// under way keep theirs.
func (b *book) forgetLocked(now time.Time) {
	for {
		u := b.order.Front().Value.(*user)
		if len(b.users) <= maxUsers && now.Sub(u.changes[len(u.changes)-1].known) <= bindFor {
			return
		}
		b.order.Remove(u.place)
		delete(b.users, u.id)
	}
}

// judge judges an answer about u by own, the change that it was asked for, and by all others that
// are remembered.
func (b *book) judge(u *user, own *change, bound time.Duration, a *answer) (verdict, *change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return judge(b.withLocked(u, own), bound, a)
}

// withLocked returns u's changes with own among them, which a user who changes often may have lost.
func (b *book) withLocked(u *user, own *change) []*change {
	for _, c := range u.changes {
		if c == own {
			return u.changes
		}
	}
	return append([]*change{own}, u.changes...)
}

// changesOf returns a copy of what is remembered of u.
func (b *book) changesOf(u *user, own *change) []*change {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]*change(nil), b.withLocked(u, own)...)
}
