package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// ErrNoFunctions reports a call about edge functions to a node without Config.Functions.
var ErrNoFunctions = errors.New("node: this node runs no edge functions")

// maxStages is how many functions one lookup goes through.
const maxStages = 4

// fewStages is how many most lookups go through at most: those take no memory of the heap.
const fewStages = 2

// Through says which edge functions a profile goes through before it is shown.
type Through struct {
	// Functions are their names, 4 at most. Each gets what the one before shows, so what one hides
	// the next does not see.
	Functions []string
	// Request is what each gets beside the profile.
	edge.Request
}

// View is what edge functions show of a profile.
type View struct {
	tier.Result
	// Tag tells apart what the functions' versions, claims, arguments and locale make of one and
	// the same profile. It is the same on every node. 0 without functions.
	Tag uint64
}

// stage is a function that serves, and where in the tails lies what it gets beside the profile. The
// tails lie together, and apart from the stages, so that both stay on the stack of a lookup.
type stage struct {
	part
	// trial is the version on trial, without a serving while there is none.
	trial part
}

// part is a version, and its tail.
type part struct {
	serving  *edge.Serving
	from, to int32
}

// of returns the version that serves a user.
func (s *stage) of(id string) part {
	if s.trial.serving != nil && s.serving.For(id) == s.trial.serving {
		return s.trial
	}
	return s.part
}

// View is GetWith, shown through edge functions. Their answers are kept beside the profile and end
// with it, or with the version of the function. Where Redis does not say in time which version
// serves, the one that served last does, and the answer is marked stale (look.FromStale).
//
// Errors are those of GetWith, ErrNoFunctions, edge.ErrRequest, or an *edge.Failure, which names
// the function.
func (n *Node) View(ctx context.Context, id string, through Through, w tier.Want) (View, error) {
	got, bad := n.GetWith(ctx, id, w)
	if len(through.Functions) == 0 {
		return View{Result: got}, bad
	}
	if bad == nil {
		if v, ok := n.kept(got, &through); ok {
			return v, nil
		}
	}
	var room [fewStages]stage
	var bytes [64]byte
	stages, tails, sure, err := n.stages(ctx, room[:0], bytes[:0], &through)
	if err = cmp.Or(err, bad); err != nil {
		return View{}, err
	}
	if !sure {
		got.Tier = look.FromStale
	}
	shown, tag, err := n.show(ctx, id, got, stages, tails)
	return View{shown, tag}, err
}

// kept returns what one function made of an answer before, and false where there is more to it:
// View goes the long way then.
func (n *Node) kept(got tier.Result, through *Through) (View, bool) {
	if len(through.Functions) != 1 || n.functions == nil {
		return View{}, false
	}
	s, f := n.functions.Plain(through.Functions[0], n.cache.Fresh())
	if s == nil {
		return View{}, false
	}
	var room [64]byte
	tail, err := f.AppendTail(room[:0], through.Request)
	if err != nil {
		return View{}, false
	}
	shown, err, ok := got.Find(s.ID, tail)
	if err != nil || !ok {
		return View{}, false
	}
	return View{shown, mix(0, s.Tag, tail)}, true
}

// BatchView is BatchGet, each user shown as View would, all by the same versions of the functions.
// What a function fails for, or refuses, is an error of that user alone.
func (n *Node) BatchView(ctx context.Context, ids []string, through Through, w tier.Want) (tier.Batch, error) {
	if len(through.Functions) == 0 {
		return n.BatchGet(ctx, ids, w)
	}
	stages, tails, sure, err := n.stages(ctx, nil, nil, &through)
	if err != nil {
		return tier.Batch{}, err
	}
	got, err := n.BatchGet(ctx, ids, w)
	if err != nil {
		return got, err
	}
	for id, r := range got.Found {
		if !sure {
			r.Tier = look.FromStale
		}
		shown, _, err := n.show(ctx, id, r, stages, tails)
		if err == nil {
			got.Found[id] = shown
			continue
		}
		delete(got.Found, id)
		if got.Errors == nil {
			got.Errors = make(map[string]error)
		}
		got.Errors[id] = err
	}
	return got, nil
}

// stages appends the functions, and their tails to bytes. sure is false where other versions may
// serve by now.
func (n *Node) stages(ctx context.Context, dst []stage, bytes []byte, through *Through) (_ []stage, _ []byte, sure bool, _ error) {
	if n.functions == nil {
		return nil, nil, false, ErrNoFunctions
	}
	if len(through.Functions) > maxStages {
		return nil, nil, false, fmt.Errorf("%w: %d functions; at most %d", edge.ErrRequest, len(through.Functions), maxStages)
	}
	fresh := n.cache.Fresh()
	sure = true
	for _, name := range through.Functions {
		s, known, err := n.functions.Lookup(ctx, name, fresh)
		if err != nil {
			return nil, nil, false, err
		}
		sure = sure && known
		var st stage
		if st.part, bytes, err = prepare(ctx, s, bytes, &through.Request); err != nil {
			return nil, nil, false, err
		}
		if t := s.Trial(); t != nil && t.Ready() {
			if st.trial, bytes, err = prepare(ctx, t, bytes, &through.Request); err != nil {
				return nil, nil, false, err
			}
		}
		dst = append(dst, st)
	}
	return dst, bytes, sure, nil
}

// prepare appends what a version gets beside the profile to bytes.
func prepare(ctx context.Context, s *edge.Serving, bytes []byte, r *edge.Request) (part, []byte, error) {
	f, err := s.Function(ctx)
	if err != nil {
		return part{}, nil, err
	}
	from := len(bytes)
	bytes, err = f.AppendTail(bytes, *r)
	return part{s, int32(from), int32(len(bytes))}, bytes, err
}

// mix adds a function to a tag: its version, and what its answer depends on beside the profile.
func mix(tag, version uint64, tail []byte) uint64 {
	const prime = 1099511628211
	return ((tag*prime^version)*prime ^ xxhash.Sum64(tail)) * prime
}

// show takes an answer through the functions, and returns the tag of what they show.
func (n *Node) show(ctx context.Context, id string, r tier.Result, stages []stage, tails []byte) (_ tier.Result, tag uint64, _ error) {
	for i := range stages {
		s := stages[i].of(id)
		tail := tails[s.from:s.to]
		shown, err, kept := r.Find(s.serving.ID, tail)
		if !kept {
			shown, err = n.call(ctx, r, s.serving, tail)
		}
		if err != nil {
			return tier.Result{}, 0, err
		}
		tag, r = mix(tag, s.serving.Tag, tail), shown
	}
	return r, tag, nil
}

// call has a function called, and keeps what it answers, if that is a profile or a refusal.
func (n *Node) call(ctx context.Context, r tier.Result, s *edge.Serving, tail []byte) (tier.Result, error) {
	p, ran, err := s.View(ctx, r.Profile, r.Packed(), tail)
	shown := r
	if p != nil {
		shown = r.As(p)
	}
	if ran {
		n.cache.Keep(r, s.ID, tail, shown, err)
	}
	return shown, err
}

// Functions returns the node's edge functions, to push and to list them; nil without
// Config.Functions.
func (n *Node) Functions() *edge.Functions { return n.functions }

// composeFunctions makes what runs edge functions.
func (n *Node) composeFunctions() (err error) {
	if n.conf.Functions == nil {
		return nil
	}
	conf := *n.conf.Functions
	conf.Client, conf.Announce = n.client, n.publisher.PublishFunction
	conf.Logger = cmp.Or(conf.Logger, n.conf.Logger)
	n.functions, err = edge.NewFunctions(conf)
	return err
}

// handler returns what the tail feeds.
func (n *Node) handler() stream.Handler {
	if n.functions == nil {
		return feed{n.cache}
	}
	return functionFeed{feed{n.cache}, n.functions}
}

// functionFeed is a feed of a node with edge functions.
type functionFeed struct {
	feed
	functions *edge.Functions
}

// Handle takes one event.
func (f functionFeed) Handle(e stream.Event) {
	if e.Function != "" {
		f.functions.Changed()
		return
	}
	f.feed.Handle(e)
}

// Flush is called when events may have been missed, those of functions too.
func (f functionFeed) Flush(reason string) {
	f.functions.Changed()
	f.feed.Flush(reason)
}
