package edge

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Serving is the version of a function that a node serves. It stays what it is when another version
// takes its place, so that a holder of one sees no mixture. Its methods may be called concurrently.
type Serving struct {
	// Name is the function's, Version what Redis says of this version.
	Name    string
	Version Version
	// ID is of this version in this process and of no other.
	ID uint64
	// Tag is of this version on every node, and of no other but by chance.
	Tag uint64

	module atomic.Pointer[module]
	trial  atomic.Pointer[trial]
	fence  fence
	fenced atomic.Uint64 // how often the fence was closed
	warn   func(name string, err error)
}

// module is a compiled module, or one that is being compiled.
type module struct {
	done chan struct{} // closed when fn or err is set
	fn   *Function
	err  error
	// ready is fn, for lookups: it costs less to look at than a channel.
	ready atomic.Pointer[Function]

	unused time.Time // since when no version needs it; zero while one does. Guarded by Functions.mu
}

func (m *module) finished() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

// loadWait is how long a lookup waits for a module that is being compiled.
const loadWait = 2 * time.Second

// Function returns the compiled function. A version that this node has not compiled yet, because it
// was cut off while the others did, is waited for, 2 s at most. Errors are a *Failure that wraps
// ErrNotLoaded, or the cause of ctx.
func (s *Serving) Function(ctx context.Context) (*Function, error) {
	m := s.module.Load()
	if f := m.ready.Load(); f != nil {
		return f, nil
	}
	if !m.finished() {
		ctx, cancel := context.WithTimeoutCause(ctx, loadWait, &Failure{s.Name, ErrNotLoaded, "it is being compiled"})
		defer cancel()
		select {
		case <-m.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("edge: wait for %q: %w", s.Name, context.Cause(ctx))
		}
	}
	if m.err != nil {
		return nil, &Failure{s.Name, ErrNotLoaded, m.err.Error()}
	}
	return m.fn, nil
}

// View is Function.View behind the fence: of a function that failed five times within ten seconds,
// nobody calls it for a growing pause. Then the profile is shown as it is where Version.Open says
// so, else the error is a *Failure that wraps ErrFenced. ran says that the answer is the
// function's, which is the same each time.
func (s *Serving) View(ctx context.Context, p *profile.Profile, packed, tail []byte) (shown *profile.Profile, ran bool, err error) {
	f, err := s.Function(ctx)
	if err != nil {
		return nil, false, err
	}
	may, trying := s.fence.enter(time.Now())
	if !may {
		if s.Version.Open {
			return nil, false, nil
		}
		return nil, false, &Failure{s.Name, ErrFenced, ""}
	}
	shown, _, err = f.View(ctx, p, packed, tail)
	if err != nil || trying {
		s.ended(err, trying)
	}
	return shown, err == nil || errors.Is(err, ErrRefused), err
}

// ended tells the fence of a call that failed or was a try. What is no fault of the function is no
// news.
func (s *Serving) ended(err error, trying bool) {
	failure, bad := errors.AsType[*Failure](err)
	if err != nil && !bad {
		return
	}
	if s.fence.after(time.Now(), trying, bad && !errors.Is(err, ErrRefused)) {
		s.fenced.Add(1)
		s.warn(s.Name, failure)
	}
}

// Fenced reports whether the function is not called at present.
func (s *Serving) Fenced() bool { return s.fence.closed.Load() != 0 }

// FunctionStats is what a node knows of a function that it serves.
type FunctionStats struct {
	// Name, Version and Sum say which.
	Name    string `json:"name"`
	Version int    `json:"version"`
	Sum     string `json:"sha256"`
	// Loaded says that it is compiled. Fenced says that it is not called at present, and Fences how
	// often that began. Share is that of the users for which a version on trial serves; 0 for the
	// one that serves the others.
	Share  float64 `json:"share,omitempty"`
	Loaded bool    `json:"loaded"`
	Fenced bool    `json:"fenced"`
	Fences uint64  `json:"fences"`
	CallStats
}

// Stats returns a snapshot.
func (s *Serving) Stats() FunctionStats {
	st := FunctionStats{Name: s.Name, Version: s.Version.Number, Sum: s.Version.Sum, Fenced: s.Fenced(), Fences: s.fenced.Load()}
	if m := s.module.Load(); m.finished() && m.err == nil {
		st.Loaded, st.CallStats = true, m.fn.Stats()
	}
	return st
}
