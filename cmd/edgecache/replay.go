package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatapp-ngomna/edgecache/embedded"
	"github.com/chatapp-ngomna/edgecache/internal/trace"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// replaySettings are the flags of replay.
type replaySettings struct {
	trace string
	nodes int
	redis string // empty: embedded
	rate  int    // lookups a second; 0: as fast as it goes
	most  int    // lookups; 0: all
	lag   time.Duration
}

func (p *program) replayCommand() *cobra.Command {
	var s replaySettings
	cmd := &cobra.Command{
		Use:   "replay --trace FILE",
		Short: "Replay a chat through several nodes and show which tier answered",
		Long: `Replays a recorded chat, as fast as it goes, through nodes in this process over one Redis
and a made-up source of truth that counts its calls. With --rate each lookup has its own
time, whatever those before it take.

A line of the trace is a message: "ts_ms room user mentions", separated by tabs, mentions
by commas, after one line of heading; the file may be gzipped. A chat node shows a message
to those members of the room that it serves, so it looks up the sender and everyone
mentioned. Each user belongs to one node; a user who has spoken in a room is a member of it.`,
		Example: `  edgecache replay --trace chat_trace.tsv.gz --nodes 3
  edgecache replay --trace chat_trace.tsv.gz --redis redis://127.0.0.1:6379/1
  edgecache replay --trace chat_trace.tsv.gz --rate 2000 --lookups 120000 --origin-latency 200ms`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.check(); err != nil {
				return err
			}
			return p.runReplay(cmd.Context(), s)
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.trace, "trace", "", "`FILE` with the chat, .tsv or .tsv.gz")
	f.IntVar(&s.nodes, "nodes", 3, "replay through `N` nodes")
	f.StringVar(&s.redis, "redis", "", "`URL` of a Redis that may be written; embedded when not given [REDIS_URL, REDIS_HOST, REDIS_PORT]")
	f.IntVar(&s.rate, "rate", 0, "`N` lookups a second; as fast as it goes when not given")
	f.IntVar(&s.most, "lookups", 0, "end after `N` lookups; the whole chat when not given")
	f.DurationVar(&s.lag, "origin-latency", 0, "each call of the source of truth takes `TIME`")
	return cmd
}

// check refuses what cannot work before anything is started.
func (s replaySettings) check() error {
	switch {
	case s.trace == "":
		return usagef("--trace FILE is missing")
	case s.nodes < 1 || s.nodes > 64:
		return usagef("--nodes %d: want 1 to 64", s.nodes)
	case s.rate < 0 || s.rate > maxRate:
		return usagef("--rate %d: want 1 to %d, or 0 for as fast as it goes", s.rate, maxRate)
	case s.most < 0:
		return usagef("--lookups %d: want 1 or more, or 0 for all", s.most)
	case s.lag < 0:
		return usagef("--origin-latency %v: want 0 or more", s.lag)
	}
	return nil
}

func (p *program) runReplay(ctx context.Context, s replaySettings) error {
	log, err := p.logger()
	if err != nil {
		return err
	}
	messages, err := trace.Open(s.trace)
	if err != nil {
		return fmt.Errorf("--trace: %w", err)
	}
	defer messages.Close()
	up := &parts{log: log}
	truth := newMadeUp()
	truth.lag = s.lag
	nodes, err := up.startReplay(ctx, s, truth)
	if err != nil {
		return errors.Join(err, up.close())
	}
	r := &replay{nodes: nodes, rooms: map[string]uint64{}, most: s.most, began: time.Now()}
	if s.rate > 0 {
		r.pace = newPace(s.rate)
	}
	shown := newMeter(p.stderr)
	err = r.run(ctx, messages, func(n int) {
		shown.show(-1, fmt.Sprintf("%d messages, %d lookups, %v", n, r.lookups(), time.Since(r.began).Round(time.Second)))
	})
	shown.clear()
	if err == nil {
		fmt.Fprint(p.stdout, r.table(truth))
	}
	return errors.Join(err, up.close())
}

// startReplay starts the nodes, and Redis when s names none.
func (up *parts) startReplay(ctx context.Context, s replaySettings, truth tier.Loader) ([]*node.Node, error) {
	if s.redis == "" {
		r, err := embedded.StartRedis()
		if err != nil {
			return nil, err
		}
		up.add(r.Close)
		s.redis = r.URL()
	}
	nodes := make([]*node.Node, s.nodes)
	for i := range nodes {
		n, err := node.New(node.Config{RedisURL: s.redis, Origin: truth, NoWatch: true, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return nil, err
		}
		up.add(n.Close)
		if err := reach(ctx, n.Start); err != nil {
			return nil, fmt.Errorf("cannot reach Redis: %w", err)
		}
		nodes[i] = n
	}
	return nodes, nil
}

// replay is one run.
type replay struct {
	nodes []*node.Node
	// rooms holds, by room, which nodes serve one of its members.
	rooms    map[string]uint64
	pace     *pace // nil: as fast as it goes, one lookup after another
	most     int   // lookups; 0: all
	asked    int
	messages int
	took     [look.FromStale + 1][]time.Duration
	began    time.Time
	lasted   time.Duration
}

// sampleEvery is how many lookups pass between two whose time is taken.
const sampleEvery = 16

func (r *replay) run(ctx context.Context, t *trace.Reader, progress func(messages int)) error {
	last := time.Now()
	for !r.enough() && t.Next() {
		if err := ctx.Err(); err != nil {
			return errors.Join(err, r.pace.wait())
		}
		if err := r.show(ctx, t.Message); err != nil {
			return errors.Join(fmt.Errorf("message %d: %w", r.messages+1, err), r.pace.wait())
		}
		if r.messages++; time.Since(last) > 500*time.Millisecond {
			last = time.Now()
			progress(r.messages)
		}
	}
	err := r.pace.wait()
	progress(r.messages)
	r.lasted = time.Since(r.began)
	if t.Err != nil {
		err = errors.Join(fmt.Errorf("--trace: %w", t.Err), err)
	}
	return err
}

func (r *replay) enough() bool { return r.most > 0 && r.asked >= r.most }

// show has a message shown on every node that serves a member of its room.
func (r *replay) show(ctx context.Context, m trace.Message) error {
	r.rooms[m.Room] |= 1 << r.home(m.User)
	for i := range r.nodes {
		if r.rooms[m.Room]&(1<<i) == 0 {
			continue
		}
		for _, id := range m.Shown {
			if r.asked++; r.pace != nil {
				r.pace.look(ctx, r.nodes[i], id)
			} else if err := r.look(ctx, i, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// home returns the node that serves a user: FNV-1a, so that a run can be repeated.
func (r *replay) home(id string) int {
	h := uint32(2166136261)
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return int(h % uint32(len(r.nodes)))
}

func (r *replay) look(ctx context.Context, i int, id string) error {
	began := time.Now()
	got, err := r.nodes[i].Get(ctx, id)
	if err != nil {
		return err
	}
	if got.Tier != look.FromL1 || r.messages%sampleEvery == 0 {
		r.took[got.Tier] = append(r.took[got.Tier], time.Since(began))
	}
	return nil
}

func (r *replay) lookups() (n uint64) {
	for _, c := range r.nodes {
		s := c.Stats().Cache
		n += s.L1Hits + s.L1Misses
	}
	return n
}

// table shows what came from where.
func (r *replay) table(truth *madeUp) string {
	all := float64(r.lookups())
	l2, origin := float64(len(r.took[look.FromL2])), float64(len(r.took[look.FromOrigin]))
	if r.pace != nil {
		r.took = r.pace.took
		l2, origin = float64(len(r.took[look.FromL2])), float64(len(r.took[look.FromOrigin]))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d messages, %.0f lookups on %d nodes, %d users, in %v\n\n", r.messages, all, len(r.nodes), truth.users(), r.lasted.Round(time.Millisecond))
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "tier\tlookups\tshare\tp50\tp99\t")
	for _, row := range []struct {
		tier  look.Tier
		count float64
	}{{look.FromL1, all - l2 - origin}, {look.FromL2, l2}, {look.FromOrigin, origin}} {
		took := r.took[row.tier]
		fmt.Fprintf(w, "%v\t%.0f\t%.2f %%\t%v\t%v\t\n", row.tier, row.count, 100*row.count/all, quantile(took, 0.50), quantile(took, 0.99))
	}
	if r.pace != nil { // else only some of those from L1 have their time taken
		took := slices.Concat(r.took[:]...)
		fmt.Fprintf(w, "all\t%d\t100.00 %%\t%v\t%v\t\n", len(took), quantile(took, 0.50), quantile(took, 0.99))
	}
	_ = w.Flush() // to memory
	fmt.Fprintf(&b, "\norigin calls: %d, %.2f per 1,000 lookups\n", truth.calls.Load(), 1000*float64(truth.calls.Load())/all)
	return b.String()
}
