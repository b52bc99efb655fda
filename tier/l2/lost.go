package l2

import (
	"errors"
	"sync"

	"github.com/redis/go-redis/v9"
)

// lostMost is how many lost leases are remembered at least.
const lostMost = 4096

// lostLeases are the tokens of leases that this node may have without knowing it, or may not have
// given back: of the call that was to take one, or to end it, there is no reply. Redis may even do
// that call seconds later, when it goes on after a pause. Nobody loads under such a lease, and its
// time would keep all from loading the user. So the node's next load of that user takes it over.
// The zero value is ready.
type lostLeases struct {
	mu          sync.Mutex
	young, aged map[string]struct{} // guarded by mu; a full young one takes the place of aged
}

// note remembers a token if err leaves open what became of the call.
func (l *lostLeases) note(token string, err error) {
	var reply redis.Error
	if err == nil || errors.Is(err, ErrDown) || errors.As(err, &reply) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.young == nil || len(l.young) >= lostMost {
		l.young, l.aged = make(map[string]struct{}), l.young
	}
	l.young[token] = struct{}{}
}

// has reports whether the lease with this token is lost.
func (l *lostLeases) has(token string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, young := l.young[token]
	_, aged := l.aged[token]
	return young || aged
}
