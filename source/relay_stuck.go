package source

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/life"
)

const (
	// maxStuck bounds the users who are kept as stuck, by that the memory, about 200 bytes each.
	// With more of them the relay takes up nobody new.
	maxStuck = 50_000
	// spread is how many stuck users have their turn at once after one of them could be announced:
	// whatever held one up has likely ended for others.
	spread = 8
	// emptyClaims is how often a stuck user may have no row to claim before it is forgotten.
	// Another process has the user, or has announced the changes.
	emptyClaims = 5
)

// stuckUser is a user that the first lane leaves alone.
type stuckUser struct {
	failures int
	until    time.Time // the next attempt is not before
	busy     bool      // an attempt is under way
	told     int64     // rows up to this one were announced, though not noted as done
	empty    int       // claims in a row without a row of the user
}

// stuckUsers are the users whose attempt failed or takes long, and what that says about the
// Announcer.
type stuckUsers struct {
	maxPause time.Duration

	mu      sync.Mutex
	users   map[string]*stuckUser // guarded by mu
	failing int                   // guarded by mu: users with a failure
	lagging int                   // guarded by mu: attempts that take long
	// guarded by mu: attempts of the first lane that failed or lag since the last success
	spent int
	// guarded by mu: failures since the last success, each of another user than before
	inARow   int
	lastUser string // guarded by mu: the user of the last failure
}

func newStuckUsers(maxPause time.Duration) *stuckUsers {
	return &stuckUsers{maxPause: maxPause, users: make(map[string]*stuckUser)}
}

// state returns the number of users who failed, and whether nobody can be announced at present.
func (s *stuckUsers) state() (failing int64, down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(s.failing), s.downLocked()
}

// downLocked: failures of different users without a success are the Announcer's.
func (s *stuckUsers) downLocked() bool { return s.inARow > 1 }

// ids lists all of them; spent is how many attempts of the first lane came to nothing since the
// last success.
func (s *stuckUsers) ids() (ids []string, spent int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.users) == 0 {
		s.spent = 0
	}
	return slices.Collect(maps.Keys(s.users)), s.spent
}

// any reports whether there are some.
func (s *stuckUsers) any() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.users) > 0
}

func (s *stuckUsers) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.users[id] != nil
}

func (s *stuckUsers) told(id string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.users[id]; u != nil {
		return u.told
	}
	return 0
}

// lag takes in a user whose first attempt goes on.
func (s *stuckUsers) lag(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[id] = &stuckUser{busy: true}
	s.lagging++
	s.spent++
}

// lagged is the end of such an attempt.
func (s *stuckUsers) lagged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lagging--
}

// tell keeps what an attempt announced until it is noted as done, which the second lane may do at
// once.
func (s *stuckUsers) tell(o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tellLocked(s.users[o.id], o)
}

func (s *stuckUsers) tellLocked(u *stuckUser, o outcome) {
	u.busy, u.until = false, time.Now()
	if n := len(o.done); n > 0 {
		u.told = max(u.told, o.done[n-1])
	}
}

// failure is what is worth saying about a failure.
type failure struct {
	stuck, attempt int
	pause          time.Duration
}

// failed has a user wait after an attempt, longer each time.
func (s *stuckUsers) failed(o outcome) failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[o.id]
	if u == nil {
		u = new(stuckUser)
		s.users[o.id] = u
		s.spent++
	}
	if u.failures++; u.failures == 1 {
		s.failing++
	}
	if o.id != s.lastUser {
		s.inARow++
	}
	s.lastUser, u.empty = o.id, 0
	s.tellLocked(u, o)
	pause := s.pauseLocked(u)
	u.until = u.until.Add(pause)
	return failure{stuck: s.failing, attempt: u.failures, pause: pause}
}

func (s *stuckUsers) pauseLocked(u *stuckUser) time.Duration {
	most := s.maxPause
	if s.downLocked() {
		most = min(most, maxOutagePause)
	}
	return life.Backoff(max(1, u.failures), minPause, most)
}

// succeeded is told of announcements that went well, and reports whether they end an outage.
func (s *stuckUsers) succeeded() (again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	again = s.downLocked()
	s.inARow, s.lastUser, s.spent = 0, "", s.lagging
	if again {
		s.hastenLocked(spread)
	}
	return again
}

// take returns up to limit users whose turn has come, and makes them busy; next is when another
// one's comes, if any.
func (s *stuckUsers) take(now time.Time, limit int) (due []string, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, u := range s.users {
		switch {
		case u.busy:
		case !u.until.After(now):
			due = append(due, id)
		case next.IsZero() || u.until.Before(next):
			next = u.until
		}
	}
	slices.SortFunc(due, s.byTurnLocked)
	if len(due) > limit {
		due, next = due[:limit], now
	}
	for _, id := range due {
		s.users[id].busy = true
	}
	return due, next
}

func (s *stuckUsers) byTurnLocked(a, b string) int {
	return cmp.Or(s.users[a].until.Compare(s.users[b].until), cmp.Compare(a, b))
}

// hasten gives the turn to those who would have it next.
func (s *stuckUsers) hasten(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hastenLocked(n)
}

func (s *stuckUsers) hastenLocked(n int) {
	var idle []string
	for id, u := range s.users {
		if !u.busy {
			idle = append(idle, id)
		}
	}
	slices.SortFunc(idle, s.byTurnLocked)
	now := time.Now()
	for _, id := range idle[:min(n, len(idle))] {
		if u := s.users[id]; u.until.After(now) {
			u.until = now
		}
	}
}

// free forgets users who were announced, and returns how many of them had failed before.
func (s *stuckUsers) free(ids []string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.failing
	for _, id := range ids {
		s.freeLocked(id)
	}
	return before - s.failing
}

func (s *stuckUsers) freeLocked(id string) {
	if u := s.users[id]; u != nil && u.failures > 0 {
		s.failing--
	}
	delete(s.users, id)
}

// putBack ends the turn of users whose rows could not be claimed, or who had none when claimed is
// true.
func (s *stuckUsers) putBack(ids []string, claimed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		u := s.users[id]
		if claimed {
			u.empty++
		}
		if u.empty >= emptyClaims {
			s.freeLocked(id)
			continue
		}
		u.busy, u.until = false, time.Now().Add(s.pauseLocked(u))
	}
}

// unnoted lists the users with announced rows that are not noted as done.
func (s *stuckUsers) unnoted() (ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, u := range s.users {
		if u.told > 0 {
			ids = append(ids, id)
		}
	}
	return ids
}
