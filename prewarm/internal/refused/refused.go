// Package refused keeps count of what a source of active users passes over.
package refused

import (
	"slices"
	"sync"
)

// Shown is how many reasons are remembered.
const Shown = 10

// List counts what was refused and remembers the first reasons. Its zero value is empty; it may be
// used concurrently.
type List struct {
	mu    sync.Mutex
	count int64
	first []error
}

// Reset empties the list.
func (l *List) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count, l.first = 0, nil
}

// Add counts one more and returns how many there are.
func (l *List) Add(why error) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	if len(l.first) < Shown {
		l.first = append(l.first, why)
	}
	return l.count
}

// Report returns how many were refused, and the first Shown reasons.
func (l *List) Report() (int64, []error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count, slices.Clone(l.first)
}
