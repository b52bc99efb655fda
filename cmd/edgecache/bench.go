package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/bench"
	"github.com/chatapp-ngomna/edgecache/bench/report"
	"github.com/chatapp-ngomna/edgecache/internal/trace"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// benchmark is the command "bench".
type benchmark struct {
	*program
	conf       bench.Config
	redisFiles redisFiles
	origin     string
	toOrigin   originAccess
	foreign    foreignOrigin
	caller     callerSettings
	ids, trace string // files
	out        string // folder; empty: nothing is written
}

const benchLong = `Measures what each tier costs, and what a miss costs: memory (l1), Redis (l2), the source of
truth (origin), HTTP, batches, how soon a change is seen, prewarm, and all at once (mixed).
Beside edgecache stand the bare libraries under it. It finds out how much each can do, then
puts 50, 80 and 95 % of that on it; latencies count from the planned start, whatever the
operations before take. An oracle judges what edgecache answers meanwhile.

Redis and the source of truth are embedded unless they are named; what an embedded Redis does
says nothing of a real one. A Redis that is named is written to: give it a database of its own.
At a source of truth that is named nothing is changed; its users are 1 to --users, or --ids.
With --nodes running nodes are asked over HTTP (http, batch), and nothing else is measured.

Ends with 1 when a read broke the promise or an operation failed. Ctrl-C ends it, and what is
measured by then is shown and written. Nobody else should use the machine meanwhile.`

func (p *program) benchCommand() *cobra.Command {
	b := benchmark{program: p, caller: callerSettings{program: p}}
	cmd := &cobra.Command{
		Use:   "bench [SUITE ...]",
		Short: "Measure what memory, Redis and the source of truth cost, with pictures",
		Long:  benchLong,
		Example: `  edgecache bench all --out results
  edgecache bench l1 l2 origin --redis redis://10.0.0.5:6379/15 --out results
  edgecache bench http --nodes http://10.0.0.7:8003,http://10.0.0.8:8003 --ids ids.txt
  edgecache bench compare before after`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return b.run(cmd.Context(), args) },
	}
	b.flags(cmd)
	cmd.AddCommand(p.benchCompareCommand())
	return cmd
}

func (b *benchmark) flags(cmd *cobra.Command) {
	f, c := cmd.Flags(), &b.conf
	f.StringVar(&c.Redis, "redis", "", "`URL` of a Redis that may be written; embedded when not given [REDIS_URL, REDIS_HOST, REDIS_PORT]")
	f.BoolVar(&c.InUse, "redis-in-use", false, "measure although --redis holds keys already; those of the run begin with bench- and are deleted at its end")
	b.redisFiles.flags(cmd)
	f.StringVar(&b.origin, "origin", "", "`URL` of a source of truth, which is only read; embedded when not given")
	b.toOrigin.flags(f)
	b.foreign.flags(f)
	f.StringSliceVar(&c.Nodes, "nodes", nil, "`URL`s of running nodes to ask over HTTP, by commas or repeated")
	b.caller.flags(f)
	f.IntVar(&c.Users, "users", 10_000, "ask for `N` users")
	f.StringVar(&b.ids, "ids", "", "`FILE` with the ids of the users, one a line, in the place of 1 to --users")
	f.DurationVar(&c.Duration, "duration", 2*time.Second, "put each load on for `TIME`")
	f.Float64Var(&c.Rate, "rate", 0, "ask for `N` operations a second, in the place of 50, 80 and 95 % of what is possible")
	f.Float64Var(&c.Zipf, "zipf", 1, "some users are more popular than others, by this `EXPONENT`; 0 for all alike")
	f.StringVar(&b.trace, "trace", "", "`FILE` with a chat (see replay --help), whose users are asked for in its order, in the place of --zipf")
	f.IntVar(&c.Goroutines, "goroutines", 64, "let `N` operations be under way at once")
	f.Uint64Var(&c.Seed, "seed", 1, "make up other users, and ask for others, by another `NUMBER`")
	f.StringVar(&b.out, "out", "", "write result.json, rows.csv, figures.csv, latency.hlog and index.html into the folder `DIR`")
}

func (b *benchmark) run(ctx context.Context, suites []string) error {
	if err := b.settleConf(suites); err != nil {
		return err
	}
	if b.out != "" {
		if err := report.Prepare(b.out); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
	}
	client, err := b.connect()
	if err != nil {
		return err
	}
	if client != nil {
		defer client.Close()
		b.conf.Origin, b.conf.OriginName = client, redactURL(b.origin)
	}
	shown := newMeter(b.stderr)
	b.conf.Progress = func(share float64, left time.Duration, what string) {
		shown.show(share, fmt.Sprintf("%s left, %s", left.Round(time.Second), what))
	}
	fmt.Fprintf(b.stderr, "measuring %s; takes about %v\n", strings.Join(b.conf.Measures(), ", "), b.conf.Takes().Round(time.Second))
	r, err := bench.Run(ctx, b.conf)
	shown.clear()
	if r == nil {
		return benchError(err)
	}
	fmt.Fprint(b.stdout, printableLines(report.Text(r)))
	return errors.Join(b.write(r), benchOutcome(r, err))
}

// write writes the result where it was asked for.
func (b *benchmark) write(r *report.Result) error {
	if b.out == "" {
		return nil
	}
	if err := report.Write(b.out, r); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	fmt.Fprintf(b.stdout, "\nwritten: %s\n", printable(filepath.Join(b.out, "index.html")))
	return nil
}

// benchOutcome is nil for a result that is whole and may be used.
func benchOutcome(r *report.Result, err error) error {
	switch {
	case err != nil:
		return benchError(err)
	case r.Verdict.Violations > 0:
		return fmt.Errorf("reads that broke the promise: %d", r.Verdict.Violations)
	case r.Failed:
		return errors.New("operations failed: see the remarks beside the rows")
	case r.Interrupted:
		return errors.New("interrupted: suites are missing")
	}
	return nil
}

// benchError tells mistakes of the command line from what did not work.
func benchError(err error) error {
	if errors.Is(err, bench.ErrConfig) {
		return usagef("%s", strings.TrimPrefix(err.Error(), bench.ErrConfig.Error()+": "))
	}
	return err
}

// settleConf makes the configuration of the flags.
func (b *benchmark) settleConf(suites []string) (err error) {
	if b.conf.Suites = suites; slices.Contains(suites, "all") {
		b.conf.Suites = nil
	}
	if b.conf.Redis, err = b.redisFiles.complete(b.conf.Redis); err != nil {
		return err
	}
	if b.ids != "" && b.trace != "" {
		return usagef("--ids and --trace both say who the users are; want one of them")
	}
	if b.ids != "" {
		if b.conf.IDs, err = readIDs(b.ids); err != nil {
			return usagef("--ids: %w", err)
		}
	}
	if b.trace != "" {
		if err := b.readTrace(); err != nil {
			return usagef("--trace: %w", err)
		}
	}
	b.conf.Version = version()
	if b.conf.Logger, err = b.benchLogger(); err != nil {
		return err
	}
	if err := b.settleNodes(); err != nil {
		return err
	}
	return benchError(b.conf.Validate())
}

// benchLogger logs errors alone unless more is asked for: the parts are started and stopped all the
// time.
func (b *benchmark) benchLogger() (*slog.Logger, error) {
	log, err := b.logger()
	if err != nil || b.logLevel != "info" {
		return log, err
	}
	return slog.New(severe{log.Handler()}), nil
}

func (b *benchmark) settleNodes() (err error) {
	if len(b.conf.Nodes) == 0 {
		return nil
	}
	for i, node := range b.conf.Nodes {
		b.conf.Nodes[i] = strings.TrimSuffix(node, "/")
	}
	transport, err := b.caller.transport()
	if err != nil {
		return err
	}
	transport.MaxIdleConnsPerHost, transport.DisableCompression = bench.MaxGoroutines, true
	b.conf.Caller = transport
	b.conf.Token, err = b.caller.source(auth.RoleRead)
	return err
}

// connect returns a client of the source of truth that was named, nil for none.
func (b *benchmark) connect() (*origin.Client, error) {
	if err := errors.Join(b.toOrigin.check(b.origin), b.foreign.check(b.origin)); err != nil {
		return nil, err
	}
	if b.origin == "" {
		return nil, nil
	}
	secret, err := b.secret()
	if err != nil {
		return nil, err
	}
	conf := origin.ClientConfig{URL: b.origin, Logger: b.conf.Logger}
	b.foreign.apply(&conf)
	if err := b.toOrigin.apply(&conf, auth.Config{Secret: secret}, b.conf.Logger); err != nil {
		return nil, err
	}
	client, err := origin.NewClient(conf)
	if err != nil {
		return nil, usagef("--origin: %w", err)
	}
	return client, nil
}

// readIDs returns the ids in a file, one a line; empty lines are passed over.
func readIDs(file string) (ids []string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, bench.MaxUsers*(128+2)))
	seen := map[string]bool{}
	for lines.Scan() {
		id := strings.TrimSpace(lines.Text())
		if id == "" || seen[id] {
			continue
		}
		if err := profile.CheckID(id); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		seen[id] = true
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return nil, cmp.Or(lines.Err(), fmt.Errorf("%s holds no ids", file))
	}
	return ids, lines.Err()
}

// readTrace makes the users, and the order in which they are asked for, of a chat.
func (b *benchmark) readTrace() error {
	messages, err := trace.Open(b.trace)
	if err != nil {
		return err
	}
	defer messages.Close()
	places := map[string]uint32{}
	for messages.Next() {
		for _, id := range messages.Message.Shown {
			place, ok := places[id]
			if !ok {
				if profile.CheckID(id) != nil || len(places) == b.conf.Users {
					continue // the chat of the first users is what is replayed
				}
				place = uint32(len(places))
				places[id] = place
				b.conf.IDs = append(b.conf.IDs, id)
			}
			b.conf.Order = append(b.conf.Order, place)
		}
	}
	b.conf.OrderName = "chat " + filepath.Base(b.trace)
	return messages.Err
}

// benchComparison is the command "bench compare".
type benchComparison struct {
	*program
	tolerance float64
}

func (p *program) benchCompareCommand() *cobra.Command {
	c := benchComparison{program: p}
	cmd := &cobra.Command{
		Use:   "compare A B",
		Short: "Put two results of bench side by side",
		Long: `Puts result B beside result A; each is a folder of --out, or its result.json. A figure of
edgecache is worse when its whole noise band in B lies beyond the one in A, and by more than
the tolerance. Ends with 1 when one is, or B is marked as failed.`,
		Example: `  edgecache bench compare results/before results/after
  edgecache bench compare main.json branch.json --tolerance 0.2`,
		Args: wantArgs(2, 2, "before after"),
		RunE: func(_ *cobra.Command, args []string) error { return c.run(args[0], args[1]) },
	}
	cmd.Flags().Float64Var(&c.tolerance, "tolerance", report.DefaultTolerance, "pass over differences of up to this `SHARE`, 0.1 for a tenth")
	return cmd
}

func (c *benchComparison) run(a, b string) error {
	if !(c.tolerance >= 0) || c.tolerance > 10 {
		return usagef("--tolerance %g: want 0 to 10", c.tolerance)
	}
	before, err := report.Read(a)
	if err != nil {
		return err
	}
	after, err := report.Read(b)
	if err != nil {
		return err
	}
	compared := report.Compare(before, after, c.tolerance)
	fmt.Fprint(c.stdout, printableLines(compared.Text()))
	switch n := compared.Worse(); {
	case compared.FailedB:
		return fmt.Errorf("%s is marked as failed", b)
	case n > 0:
		return fmt.Errorf("figures that are worse: %d", n)
	case len(compared.Changes) == 0:
		return errors.New("the two have no figure in common")
	}
	return nil
}
