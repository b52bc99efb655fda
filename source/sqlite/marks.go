package sqlite

import (
	"sync"
)

// marks are the outbox rows that were announced but are not yet marked done in the database. The
// rows are known here until the mark is committed, so that a claim never takes them again.
type marks struct {
	added chan struct{} // a note that there are some, for the writer's timer

	mu      sync.Mutex
	waiting []int64            // guarded by mu: for the next commit
	unmade  map[int64]struct{} // guarded by mu: waiting, or in the commit in progress
}

func newMarks() *marks {
	return &marks{added: make(chan struct{}, 1), unmade: make(map[int64]struct{})}
}

func (m *marks) add(seqs []int64) {
	m.mu.Lock()
	for _, seq := range seqs {
		m.unmade[seq] = struct{}{}
	}
	m.waiting = append(m.waiting, seqs...)
	m.mu.Unlock()
	select {
	case m.added <- struct{}{}:
	default:
	}
}

func (m *marks) take() []int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := m.waiting
	m.waiting = nil
	return taken
}

// putBack returns what was taken and could not be committed.
func (m *marks) putBack(seqs []int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting = append(m.waiting, seqs...)
}

func (m *marks) committed(seqs []int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, seq := range seqs {
		delete(m.unmade, seq)
	}
}

// snapshot returns the rows that a claim which starts now has to leave out. It must be taken before
// the claim's query: a row that leaves the set before then is marked done in the database already.
func (m *marks) snapshot() map[int64]struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make(map[int64]struct{}, len(m.unmade))
	for seq := range m.unmade {
		out[seq] = struct{}{}
	}
	return out
}
