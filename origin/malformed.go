package origin

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

const (
	// malformedFor is how long a user is remembered whose profile the service cannot give: readers
	// do not ask it again meanwhile.
	malformedFor = 3 * time.Second
	// maxMalformed bounds the users who are remembered; past it all are forgotten.
	maxMalformed = 4096
	// malformedEvery is the time between two log lines about answers that make no sense.
	malformedEvery = time.Minute
)

// malformed remembers the users for which the service answered what is no profile. The zero value
// remembers nobody.
type malformed struct {
	count atomic.Int64 // answers

	mu     sync.Mutex
	users  map[string]malformedUser // guarded by mu
	logged time.Time                // guarded by mu
}

type malformedUser struct {
	err   error
	until time.Time
}

// of returns what the service answered about id lately, nil when that is unknown.
func (m *malformed) of(id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	user, known := m.users[id]
	if known && time.Now().After(user.until) {
		delete(m.users, id)
		return nil
	}
	return user.err
}

// note remembers err if it is about an answer that is no profile, and logs it unless another was
// logged a moment ago.
func (m *malformed) note(log *slog.Logger, id string, err error) {
	if !errors.Is(err, errNonsense) {
		return
	}
	m.count.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if m.users == nil || len(m.users) >= maxMalformed {
		m.users = map[string]malformedUser{}
	}
	m.users[id] = malformedUser{err, now.Add(malformedFor)}
	m.logLocked(log, now, err)
}

func (m *malformed) logLocked(log *slog.Logger, now time.Time, err error) {
	if now.Sub(m.logged) > malformedEvery {
		m.logged = now
		log.Warn("origin: client: an answer is no profile", "error", err, "answers", m.count.Load())
	}
}

// logWhole counts and logs the answer to a bulk lookup that is none. Nobody is remembered for it:
// each user by themselves may be fine.
func (m *malformed) logWhole(log *slog.Logger, err error) {
	if !errors.Is(err, errNonsense) {
		return
	}
	m.count.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.logLocked(log, time.Now(), err)
}

// forget forgets a user: they were changed.
func (m *malformed) forget(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.users, id)
}

// noteBatch is note for the users of a bulk lookup.
func (m *malformed) noteBatch(log *slog.Logger, b profile.Batch) {
	for id, err := range b.Errors {
		m.note(log, id, err)
	}
}
