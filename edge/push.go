package edge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// PushOptions are what a push says of a version beside its module. The zero value is a default.
type PushOptions struct {
	// Fuel is the budget of a call. Default DefaultFuel.
	Fuel int64
	// Open is Version.Open.
	Open bool
	// Share has the version serve that share of the users for now, above 0 and below 1, and the one
	// that serves go on for the others. A node on which it is worse (more of its calls fail or
	// refuse, or they need more fuel) ends that. Pushing the same module again changes the share,
	// or with 0 has it serve everybody. Default 0: all users at once.
	Share float64
	// Signature is Version.Signature.
	Signature string
}

// Pushed is what became of a push or a rollback.
type Pushed struct {
	Name    string      `json:"name"`
	Version Version     `json:"version"`
	About   Description `json:"about"`
	// Unready are the nodes that had not compiled the module in time. They do so now; their lookups
	// wait for it.
	Unready []string `json:"unready,omitempty"`
}

// tellTimeout bounds an announcement, whatever became of the caller's context.
const tellTimeout = 2 * time.Second

// Push makes a module serve under a name on all nodes. It is checked here, stored, compiled by
// every node while the version before serves, and then put in its place: when Push returns, every
// node that is connected swaps within 250 ms.
//
// Errors wrap ErrRequest, ErrModule, ErrSignature, or are Redis's. After an error the version
// before serves, unless it says that the nodes were not told.
func (f *Functions) Push(ctx context.Context, name string, wasm []byte, o PushOptions) (Pushed, error) {
	if o.Fuel == 0 {
		o.Fuel = min(DefaultFuel, f.engine.cfg.MaxFuel)
	}
	sum := sha256.Sum256(wasm)
	v := Version{Sum: hex.EncodeToString(sum[:]), Size: len(wasm), Fuel: o.Fuel, Open: o.Open, At: time.Now().UnixMilli(),
		Signature: o.Signature}
	if err := checkShare(o.Share); err != nil {
		return Pushed{}, err
	}
	about, err := f.Check(ctx, name, wasm, v)
	if err != nil {
		return Pushed{}, err
	}
	r, err := f.store.change(ctx, name, wasm, func(r Record) (Record, error) {
		if o.Share > 0 && r.Current == 0 {
			return r, noneServes(name)
		}
		return r.push(v), nil
	})
	if err != nil {
		return Pushed{}, err
	}
	v, _ = r.Find(r.Next)
	pushed, err := f.serve(ctx, name, v, o.Share)
	pushed.About = about
	return pushed, err
}

// push adds a version as the next one, unless it is the one on trial, whose time has come then.
func (r Record) push(v Version) Record {
	if on, ok := r.Find(r.Trial.Version); ok && on.Sum == v.Sum && on.Fuel == v.Fuel && on.Open == v.Open {
		r.Next = on.Number
		return r
	}
	return r.add(v)
}

// serve has a version serve a share of the users, or with 0 all of them.
func (f *Functions) serve(ctx context.Context, name string, v Version, share float64) (Pushed, error) {
	if share > 0 {
		return f.startTrial(ctx, name, v, share)
	}
	return f.activate(ctx, name, v, func(r Record) (Record, error) {
		r.Current, r.Trial, r.Ended = v.Number, Trial{}, nil
		return r, nil
	})
}

// Check returns what a module says of itself if it may be pushed under a name as v.
func (f *Functions) Check(ctx context.Context, name string, wasm []byte, v Version) (Description, error) {
	if err := CheckName(name); err != nil {
		return Description{}, err
	}
	if err := verify(f.cfg.Keys, name, v); err != nil {
		return Description{}, err
	}
	fn, err := f.Compile(ctx, name, wasm, v.Fuel)
	if err != nil {
		return Description{}, err
	}
	defer fn.Close()
	return fn.About(), nil
}

// Compile compiles a module that is not, or not yet, pushed. The caller closes it.
func (f *Functions) Compile(ctx context.Context, name string, wasm []byte, fuel int64) (*Function, error) {
	f.compiling.Lock()
	defer f.compiling.Unlock()
	return f.engine.Compile(ctx, name, wasm, fuel)
}

// Rollback makes a version serve that did before: that of the number, or with 0 the one before the
// current; a trial ends, and with 0 nothing else does. Errors are as Push's.
func (f *Functions) Rollback(ctx context.Context, name string, number int) (Pushed, error) {
	var to Version
	_, err := f.store.change(ctx, name, nil, func(r Record) (Record, error) {
		v, ok := r.Find(r.Current)
		var err error
		if number != 0 || r.Trial.Version == 0 || !ok {
			v, err = r.before(name, number)
		}
		to, r.Next = v, v.Number
		return r, err
	})
	if err != nil {
		return Pushed{}, err
	}
	return f.serve(ctx, name, to, 0)
}

// before returns the version of a number, or with 0 the one before the current.
func (r Record) before(name string, number int) (Version, error) {
	if len(r.Versions) == 0 {
		return Version{}, &Failure{Function: name, Err: ErrUnknown}
	}
	if number != 0 {
		if v, ok := r.Find(number); ok {
			return v, nil
		}
		return Version{}, fmt.Errorf("%w: %q has no version %d; it has %d to %d", ErrRequest, name, number,
			r.Versions[0].Number, r.Versions[len(r.Versions)-1].Number)
	}
	for i := len(r.Versions) - 1; i >= 0; i-- {
		if r.Versions[i].Number < r.Current {
			return r.Versions[i], nil
		}
	}
	return Version{}, fmt.Errorf("%w: %q has no version before %d", ErrRequest, name, r.Current)
}

// activate waits until the nodes have v ready, and makes it serve as edit says.
func (f *Functions) activate(ctx context.Context, name string, v Version, edit func(Record) (Record, error)) (Pushed, error) {
	p := Pushed{Name: name, Version: v}
	if err := f.tell(ctx, name); err != nil {
		return p, err
	}
	var err error
	if p.Unready, err = f.await(ctx, moduleID{name, v.Sum, v.Fuel}); err != nil {
		return p, err
	}
	_, err = f.store.change(ctx, name, nil, func(r Record) (Record, error) {
		if _, ok := r.Find(v.Number); !ok {
			return r, fmt.Errorf("%w: version %d of %q was removed meanwhile", ErrRequest, v.Number, name)
		}
		if r.Next == v.Number {
			r.Next = 0
		}
		return edit(r)
	})
	if err != nil {
		return p, err
	}
	return p, f.tell(ctx, name)
}

// await polls until all nodes that are alive have the module, or PushWait is over.
func (f *Functions) await(ctx context.Context, id moduleID) (unready []string, err error) {
	end := time.Now().Add(f.cfg.PushWait)
	for {
		if unready, err = f.store.unready(ctx, id); err != nil || len(unready) == 0 || time.Now().After(end) {
			return unready, err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return unready, context.Cause(ctx)
		}
	}
}

// tell announces a change, and has this node look as well.
func (f *Functions) tell(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTimeout)
	defer cancel()
	f.Changed()
	if err := f.cfg.Announce(ctx, name); err != nil {
		return fmt.Errorf("edge: the nodes were not told of the change of %q; they see it within %v: %w", name, syncEvery, err)
	}
	return nil
}

// Remove removes a function with all its versions. Lookups that name it fail from then on.
func (f *Functions) Remove(ctx context.Context, name string) error {
	_, err := f.store.change(ctx, name, nil, func(r Record) (Record, error) {
		if len(r.Versions) == 0 {
			return r, &Failure{Function: name, Err: ErrUnknown}
		}
		return Record{}, nil
	})
	if err != nil {
		return err
	}
	return f.tell(ctx, name)
}

// Records returns all functions as Redis has them.
func (f *Functions) Records(ctx context.Context) (map[string]Record, error) {
	return f.store.records(ctx)
}

// Module returns a module of a version as it was pushed.
func (f *Functions) Module(ctx context.Context, sum string) ([]byte, error) {
	return f.store.module(ctx, sum)
}
