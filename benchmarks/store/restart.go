package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// tally is what lookups of a node brought.
type tally struct {
	own, all int // answered by L1 or the store; in all
	took     []time.Duration
}

func (y tally) share() float64 { return 100 * float64(y.own) / float64(max(1, y.all)) }

// quantile returns how long a lookup took that q of all did not exceed.
func (y tally) quantile(q float64) time.Duration {
	if len(y.took) == 0 {
		return 0
	}
	slices.Sort(y.took)
	return y.took[min(len(y.took)-1, int(q*float64(len(y.took))))].Round(time.Microsecond)
}

// ask looks users up for a while.
func (w *world) ask(ctx context.Context, n *node.Node, d time.Duration) (y tally, err error) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for began, due := time.Now(), 0.0; time.Since(began) < d; <-tick.C {
		for due = time.Since(began).Seconds() * float64(w.rate); float64(y.all) < due; y.all++ {
			at := time.Now()
			got, err := n.Get(ctx, w.id())
			if err != nil {
				return y, err
			}
			y.took = append(y.took, time.Since(at))
			if got.Tier == look.FromL1 || got.Tier == look.FromStore {
				y.own++
			}
		}
	}
	return y, nil
}

// restart is what one restart was like.
type restart struct {
	first         time.Duration // from New to the first answer
	before        tally
	second, later tally
	waited        uint64 // lookups that Redis answered
	reads, asked  int64
}

// restarts compares a restart with and without a store.
func restarts(ctx context.Context, p params, b *strings.Builder) error {
	fmt.Fprintf(b, "## One node, %d lookups/s\n\n| | without | with a store |\n|---|---|---|\n", p.rate)
	var both [2]restart
	for i, name := range []string{"", "one"} {
		var err error
		if both[i], err = oneRestart(ctx, p, name); err != nil {
			return err
		}
	}
	row := func(what string, f func(restart) string) {
		fmt.Fprintf(b, "| %s | %s | %s |\n", what, f(both[0]), f(both[1]))
	}
	row("from New to the first answer", func(r restart) string { return fmt.Sprint(r.first.Round(100 * time.Microsecond)) })
	row("answered by the node itself, before the restart", func(r restart) string { return fmt.Sprintf("%.1f %%", r.before.share()) })
	row("in the first second after it", func(r restart) string { return fmt.Sprintf("%.1f %%", r.second.share()) })
	row("lookups of that second, p50, p99", func(r restart) string { return fmt.Sprint(r.second.quantile(.5), ", ", r.second.quantile(.99)) })
	row(fmt.Sprintf("lookups that waited for Redis in the first %v", p.lasts), func(r restart) string { return fmt.Sprint(r.waited) })
	row(fmt.Sprintf("records read from Redis in the first %v", p.lasts), func(r restart) string { return fmt.Sprint(r.reads) })
	row("users asked of the origin in that time", func(r restart) string { return fmt.Sprint(r.asked) })
	b.WriteString("\nWith a store most of Redis's reads are comparisons with what was written beside the stream while the node was down: in batches, and nobody waits for them.\n\n")
	return nil
}

func oneRestart(ctx context.Context, p params, name string) (r restart, err error) {
	w, err := newWorld(ctx, p)
	if err != nil {
		return r, err
	}
	writing, stop := context.WithCancel(ctx)
	written := make(chan error, 1)
	go func() { written <- w.change(writing, p.changes) }()
	defer func() {
		stop()
		err = errors.Join(err, <-written, w.close())
	}()
	n, err := w.start(ctx, name)
	if err != nil {
		return r, err
	}
	if err := w.warm(ctx, n); err != nil {
		return r, errors.Join(err, n.Close())
	}
	if r.before, err = w.ask(ctx, n, p.lasts); err != nil {
		return r, errors.Join(err, n.Close())
	}
	if err := n.Close(); err != nil {
		return r, err
	}
	return w.again(ctx, name, r)
}

// again starts the node anew and measures what follows.
func (w *world) again(ctx context.Context, name string, r restart) (restart, error) {
	readBefore, err := reads(ctx, w.server.Client())
	if err != nil {
		return r, err
	}
	askedBefore, began := w.asked.Load(), time.Now()
	n, err := w.start(ctx, name)
	if err != nil {
		return r, err
	}
	defer func() { _ = n.Close() }()
	if _, err := n.Get(ctx, "1"); err != nil {
		return r, err
	}
	r.first = time.Since(began)
	if r.second, err = w.ask(ctx, n, time.Second); err != nil {
		return r, err
	}
	if r.later, err = w.ask(ctx, n, max(0, w.lasts-time.Second)); err != nil {
		return r, err
	}
	after, err := reads(ctx, w.server.Client())
	r.reads, r.asked = after-readBefore, w.asked.Load()-askedBefore
	r.waited = n.Stats().Cache.L2Hits
	return r, err
}

// rolling restarts many nodes one after another, with and without stores.
func rolling(ctx context.Context, p params, b *strings.Builder) error {
	fmt.Fprintf(b, "## %d nodes, one after another\n\nEach is asked for its share of %d lookups/s for a second after its restart.\n\n"+
		"| | lookups that waited for Redis or the origin | records read from Redis | users asked of the origin | answered by the node itself | p99 |\n|---|---|---|---|---|---|\n", p.nodes, p.rate)
	for _, c := range []struct {
		what  string
		store bool
	}{{"without", false}, {"with a store", true}} {
		read, asked, y, err := roll(ctx, p, c.store)
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "| %s | %d | %d | %d | %.1f %% | %v |\n", c.what, y.all-y.own, read, asked, y.share(), y.quantile(.99))
	}
	b.WriteString("\n")
	return nil
}

func roll(ctx context.Context, p params, stored bool) (read, asked int64, all tally, err error) {
	w, err := newWorld(ctx, p)
	if err != nil {
		return 0, 0, all, err
	}
	nodes := make([]*node.Node, p.nodes)
	defer func() {
		for _, n := range nodes {
			if n != nil {
				err = errors.Join(err, n.Close())
			}
		}
		err = errors.Join(err, w.close())
	}()
	name := func(i int) string {
		if !stored {
			return ""
		}
		return fmt.Sprint("node-", i)
	}
	for i := range nodes {
		if nodes[i], err = w.start(ctx, name(i)); err != nil {
			return 0, 0, all, err
		}
		if err := w.warm(ctx, nodes[i]); err != nil {
			return 0, 0, all, err
		}
	}
	before, err := reads(ctx, w.server.Client())
	if err != nil {
		return 0, 0, all, err
	}
	askedBefore := w.asked.Load()
	for i := range nodes {
		y, err := w.rollOne(ctx, nodes, i, name(i))
		if err != nil {
			return 0, 0, all, err
		}
		all.own, all.all, all.took = all.own+y.own, all.all+y.all, append(all.took, y.took...)
	}
	after, err := reads(ctx, w.server.Client())
	return after - before, w.asked.Load() - askedBefore, all, err
}

// rollOne restarts one of the nodes and asks it for a second.
func (w *world) rollOne(ctx context.Context, nodes []*node.Node, i int, name string) (y tally, err error) {
	err = nodes[i].Close()
	nodes[i] = nil
	if err != nil {
		return y, err
	}
	if nodes[i], err = w.start(ctx, name); err != nil {
		return y, err
	}
	return w.ask(ctx, nodes[i], time.Second)
}
