package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
)

const (
	// maxShown is how many differences are told; all are counted.
	maxShown = 20
	// hotSince is how far back a user counts as active.
	hotSince = 7 * 24 * time.Hour
)

// Difference is a user that two versions of a function show differently.
type Difference struct {
	ID string `json:"id"`
	// Before and After are what they show, or why they do not.
	Before Shown `json:"before"`
	After  Shown `json:"after"`
}

// Shown is what a function shows.
type Shown struct {
	Profile *profile.Profile `json:"profile,omitempty"`
	Error   string           `json:"error,omitempty"`
}

// Diff is how a module differs from the version of a function that serves.
type Diff struct {
	// Compared counts the users that both were called for, Different those that they show
	// differently.
	Compared  int `json:"compared"`
	Different int `json:"different"`
	// Failed counts the calls of the new module that brought neither a profile nor a refusal.
	Failed int `json:"failed"`
	// FuelBefore and FuelAfter are what the calls took on average.
	FuelBefore int64 `json:"fuelBefore"`
	FuelAfter  int64 `json:"fuelAfter"`
	// Differences are the first 20.
	Differences []Difference `json:"differences"`
}

// DiffFunction calls a module and the version of a function that serves for the users who were
// shown most lately, with the same request, and returns how they differ. Nothing is changed. A name
// that nobody serves is compared with showing profiles as they are.
func (n *Node) DiffFunction(ctx context.Context, name string, wasm []byte, fuel int64, users int, r edge.Request) (Diff, error) {
	d := Diff{Differences: []Difference{}}
	if n.functions == nil {
		return d, ErrNoFunctions
	}
	if n.hot == nil {
		return d, ErrNoPrewarm
	}
	if err := edge.CheckName(name); err != nil {
		return d, err
	}
	after, err := n.functions.Compile(ctx, name, wasm, fuel)
	if err != nil {
		return d, err
	}
	defer after.Close()
	var before *edge.Function
	s, _, err := n.functions.Lookup(ctx, name, n.cache.Fresh())
	if err == nil {
		before, err = s.Function(ctx)
	}
	if err != nil && !errors.Is(err, edge.ErrUnknown) {
		return d, err
	}
	for id := range n.hottest(ctx, users) {
		if err := n.compare(ctx, &d, id, before, after, r); err != nil {
			return d, err
		}
	}
	if d.Compared > 0 {
		d.FuelBefore, d.FuelAfter = d.FuelBefore/int64(d.Compared), d.FuelAfter/int64(d.Compared)
	}
	return d, ctx.Err()
}

// hottest yields up to n ids of users who were shown lately.
func (n *Node) hottest(ctx context.Context, most int) iter.Seq[string] {
	return func(yield func(string) bool) {
		count := 0
		for u, err := range n.hot.Active(ctx, time.Now().Add(-hotSince)) {
			if count++; err != nil || count > most || !yield(u.ID) {
				return
			}
		}
	}
}

// compare adds one user to d. A user who cannot be read is passed over.
func (n *Node) compare(ctx context.Context, d *Diff, id string, before, after *edge.Function, r edge.Request) error {
	got, err := n.GetWith(ctx, id, tier.Want{})
	if err != nil {
		return nil
	}
	was, used, err := shownBy(ctx, before, got, r)
	if err != nil {
		return err
	}
	is, took, err := shownBy(ctx, after, got, r)
	if err != nil {
		return err
	}
	d.Compared++
	d.FuelBefore += used
	d.FuelAfter += took
	if is.failed {
		d.Failed++
	}
	if was.same(is) {
		return nil
	}
	if d.Different++; len(d.Differences) < maxShown {
		d.Differences = append(d.Differences, Difference{id, was.Shown, is.Shown})
	}
	return nil
}

// outcome is what a function shows, as bytes as well.
type outcome struct {
	Shown
	packed []byte
	failed bool
}

func (o outcome) same(p outcome) bool { return o.Error == p.Error && bytes.Equal(o.packed, p.packed) }

// shownBy calls a function, which may be nil. Errors are those of the request.
func shownBy(ctx context.Context, f *edge.Function, got tier.Result, r edge.Request) (outcome, int64, error) {
	o := outcome{Shown: Shown{Profile: got.Profile}, packed: got.Packed()}
	if f == nil {
		return o, 0, nil
	}
	tail, err := f.AppendTail(nil, r)
	if err != nil {
		return o, 0, err
	}
	p, used, err := f.View(ctx, got.Profile, o.packed, tail)
	failure, failed := errors.AsType[*edge.Failure](err)
	switch {
	case failed:
		return outcome{Shown: Shown{Error: failure.Error()}, failed: !errors.Is(err, edge.ErrRefused)}, used, nil
	case err != nil:
		return o, used, fmt.Errorf("node: compare functions: %w", err)
	case p != nil:
		o = outcome{Shown: Shown{Profile: p}, packed: profile.AppendMsgpack(nil, p)}
	}
	return o, used, nil
}
