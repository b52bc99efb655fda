package edge

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/cespare/xxhash/v2"
)

const (
	// judgeEvery is how often a node looks whether a trial is worse than what serves.
	judgeEvery = time.Second
	// judgeCalls is how many calls of the version on trial it takes to say so, and of the one that
	// serves to compare refusals and fuel.
	judgeCalls = 50
	// moreFailed and moreRefused are by how much the share of calls that fail, or refuse, may be
	// above that of the version that serves.
	moreFailed  = 0.01
	moreRefused = 0.05
	// moreFuel is how many times the fuel of the version that serves may be needed by 99 of 100
	// calls. Fuel is known to a factor of two.
	moreFuel = 4
)

// Trial is a version that serves a share of the users, beside the one that serves the others.
type Trial struct {
	// Version is its number, 0 for no trial.
	Version int `json:"version"`
	// Share is that of the users, above 0 and below 1. Who is among them depends on the ids alone,
	// so that a user sees the same on every node, and a larger share holds those of a smaller one.
	Share float64 `json:"share"`
}

// Ended is why the last trial was ended by a node.
type Ended struct {
	Version int `json:"version"`
	// Why names what was worse, on which node, and At when, in milliseconds since 1970.
	Why  string `json:"why"`
	Node string `json:"node"`
	At   int64  `json:"at"`
}

// trial is the version on trial of a Serving.
type trial struct {
	serving *Serving
	limit   uint64 // hashes of ids up to it are of the share
	share   float64
}

// For returns what serves a user: s, or the version on trial if the user is of its share. A version
// that this node has not compiled, or that is fenced, is on no trial.
func (s *Serving) For(id string) *Serving {
	t := s.trial.Load()
	if t == nil || placeOf(s.Name, id) > t.limit || t.serving.Fenced() || !t.serving.Ready() {
		return s
	}
	return t.serving
}

// Ready reports whether this node has the version compiled.
func (s *Serving) Ready() bool { return s.module.Load().ready.Load() != nil }

// Trial returns the version on trial, nil without one.
func (s *Serving) Trial() *Serving {
	if t := s.trial.Load(); t != nil {
		return t.serving
	}
	return nil
}

// placeOf is where a user lies among all in the trials of a function. Each function has another
// order.
func placeOf(name, id string) uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(name)
	_, _ = d.WriteString("\x00")
	_, _ = d.WriteString(id)
	return d.Sum64()
}

// onTrialLocked makes the version on trial of a record, if there is one, that of s.
func (f *Functions) onTrialLocked(s *Serving, r Record, used map[moduleID]bool) {
	v, ok := r.Find(r.Trial.Version)
	if !ok || r.Trial.Version == r.Current {
		s.trial.Store(nil)
		return
	}
	t := s.trial.Load()
	if t == nil || t.serving.Version != v || t.share != r.Trial.Share {
		next := &trial{limit: uint64(r.Trial.Share * math.MaxUint64), share: r.Trial.Share}
		if t != nil && t.serving.Version == v {
			next.serving = t.serving
		} else {
			next.serving = f.newServing(s.Name, v)
		}
		t = next
	}
	t.serving.module.Store(f.moduleLocked(s.Name, v, used))
	s.trial.Store(t)
}

// startTrial lets a version serve a share of the users, once the nodes have it ready.
func (f *Functions) startTrial(ctx context.Context, name string, v Version, share float64) (Pushed, error) {
	return f.activate(ctx, name, v, func(r Record) (Record, error) {
		if r.Current == 0 {
			return r, noneServes(name)
		}
		r.Trial = Trial{Version: v.Number, Share: share}
		return r, nil
	})
}

func noneServes(name string) error {
	return fmt.Errorf("%w: no version of %q serves the other users yet; push without a share first", ErrRequest, name)
}

// checkShare refuses a share that is none.
func checkShare(share float64) error {
	if !(share >= 0 && share < 1) {
		return fmt.Errorf("%w: a share of %v; want above 0 and below 1, or 0 for all users at once", ErrRequest, share)
	}
	return nil
}

// judge ends the trials of versions that are worse than what serves.
func (f *Functions) judge(ctx context.Context) {
	tick := time.NewTicker(judgeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for name, s := range f.table.Load().byName {
			if t := s.Trial(); t != nil {
				f.judgeOne(ctx, name, t, worse(t.Stats(), s.Stats()))
			}
		}
	}
}

func (f *Functions) judgeOne(ctx context.Context, name string, t *Serving, why string) {
	if why == "" {
		return
	}
	err := f.endTrial(ctx, name, t.Version.Number, &Ended{t.Version.Number, why, f.cfg.Node, time.Now().UnixMilli()})
	if ctx.Err() == nil {
		f.cfg.Logger.Warn("edge: a version on trial is worse than the one that serves; the trial ends", "function", name,
			"version", t.Version.Number, "why", why, "error", err)
	}
}

// endTrial ends the trial of a version, if it is still on one.
func (f *Functions) endTrial(ctx context.Context, name string, number int, ended *Ended) error {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	_, err := f.store.change(ctx, name, nil, func(r Record) (Record, error) {
		if r.Trial.Version == number {
			r.Trial, r.Ended = Trial{}, ended
		}
		return r, nil
	})
	if err != nil {
		return err
	}
	return f.tell(ctx, name)
}

// worse says in words why a version on trial is to be given up, "" for no reason.
func worse(on, serves FunctionStats) string {
	if on.Fenced {
		return "it failed five times within ten seconds"
	}
	if on.Calls < judgeCalls {
		return ""
	}
	failed, refused := share(on.Failed, on.Calls), share(on.Refused, on.Calls)
	was, wasRefused := share(serves.Failed, serves.Calls), share(serves.Refused, serves.Calls)
	switch {
	case failed > was+moreFailed:
		return fmt.Sprintf("%.1f %% of its calls fail, and %.1f %% of version %d's", 100*failed, 100*was, serves.Version)
	case serves.Calls >= judgeCalls && refused > wasRefused+moreRefused:
		return fmt.Sprintf("%.1f %% of its calls refuse, and %.1f %% of version %d's", 100*refused, 100*wasRefused, serves.Version)
	case serves.Calls >= judgeCalls && on.FuelP99 >= moreFuel*(serves.FuelP99+1):
		return fmt.Sprintf("99 of 100 of its calls need up to %d units of fuel, and version %d's up to %d", on.FuelP99,
			serves.Version, serves.FuelP99)
	}
	return ""
}

func share(n, of uint64) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}
