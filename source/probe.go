package source

import (
	"context"
	"sync"
	"time"
)

const (
	// probeAge is how long an answer about the database holds, so that health checks cost it
	// little.
	probeAge = time.Second
	// refusedAge is how long it counts that a change was refused: a full disk may still take small
	// ones.
	refusedAge = 10 * time.Second
)

// probe knows whether the database takes changes.
type probe struct {
	mu        sync.Mutex
	at        time.Time // guarded by mu: when err was found out
	err       error     // guarded by mu
	refusedAt time.Time // guarded by mu: when the last change was refused, zero: never
	refused   error     // guarded by mu: why
}

// refuse notes that a change was refused because the database takes none.
func (p *probe) refuse(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusedAt, p.refused = time.Now(), err
}

// ask returns why changes were refused lately, what the last try said, or makes one when that is
// old.
func (p *probe) ask(ctx context.Context, try func(context.Context) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.refusedAt.IsZero() && time.Since(p.refusedAt) < refusedAge {
		return p.refused
	}
	if p.at.IsZero() || time.Since(p.at) >= probeAge {
		p.err = try(ctx)
		p.at = time.Now()
	}
	return p.err
}
