// Package bench measures what each tier of edgecache costs, and what a miss costs: on parts that it
// starts itself, on the Redis and the origin of the caller, or on running nodes. It finds out what
// each contender can do, then puts load on it in an open loop (package load), while an oracle
// judges what edgecache answers. What it found is a report.Result.
//
// It is for the command alone: nothing that runs in production imports it.
package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/chatapp-ngomna/edgecache/bench/report"
	"github.com/chatapp-ngomna/edgecache/internal/machine"
	"github.com/chatapp-ngomna/edgecache/origin"
)

const (
	// Bound is after how long a change that was acknowledged must be seen.
	Bound = 250 * time.Millisecond
	// MaxUsers is how many users there may be: they are made up in memory, and in Redis.
	MaxUsers = 3_000_000
	// MaxGoroutines is how many operations may be under way.
	MaxGoroutines = 4096
)

var (
	// ErrConfig reports a Config that cannot work; the text names the flag.
	ErrConfig = errors.New("bench: bad configuration")
	// ErrUnreachable reports a Redis, an origin or a node that does not answer.
	ErrUnreachable = errors.New("bench: not reachable")
	// ErrInUse reports a Redis that holds keys already.
	ErrInUse = errors.New("bench: Redis is in use")
)

// Config says what to measure, and on what. The zero value measures everything on embedded parts.
type Config struct {
	// Suites are the names of what to measure, of Names. Default: all.
	Suites []string
	// Redis is the URL of a Redis that may be written. Default: one embedded in the process, whose
	// figures say nothing of a real one.
	Redis string
	// InUse allows a Redis that holds keys already. Those of the run begin with "bench-", and are
	// deleted at its end; its changes go to the stream that others may follow.
	InUse bool
	// Origin is a client of a source of truth that runs, which Close does not close. Nothing is
	// changed there. Default: one embedded in the process, on SQLite, asked over HTTP.
	Origin *origin.Client
	// OriginName is how Origin is shown.
	OriginName string
	// Nodes are the URLs of running nodes, which are asked over HTTP in turn. Then only the suites
	// http and batch run, and nothing is changed.
	Nodes []string
	// Caller makes the requests to Nodes. Default: a client of its own. Token gives their bearer
	// tokens; nil for none.
	Caller http.RoundTripper
	Token  origin.TokenSource
	// IDs are the users, where the parts are not embedded; default "1" to Users. With an embedded
	// origin they are made up under these ids.
	IDs []string
	// Order is who is asked for, as places in IDs, again from the beginning at its end. Default:
	// drawn by Zipf. OrderName is how it is shown.
	Order     []uint32
	OrderName string
	// Users is how many users there are. Default 10,000; len(IDs) when there are any.
	Users int
	// Duration is how long each load is put on, 10 ms or more. Default 2 s.
	Duration time.Duration
	// Rate is how many operations a second are asked for, in the place of 50, 80 and 95 % of what
	// is possible. 0: those.
	Rate float64
	// Zipf is the exponent by which users are more or less popular; 0 for all alike.
	Zipf float64
	// Goroutines is how many operations may be under way. Default 64.
	Goroutines int
	// Seed makes the users and the order in which they are asked for. Default 1.
	Seed uint64
	// Version is the build that measures, for the result.
	Version string
	// Progress is told how much is done, 0 to 1, how long the rest takes, and what is measured;
	// from one goroutine at a time. Default: nobody is.
	Progress func(share float64, left time.Duration, what string)
	// Logger gets what the parts log. Default: nobody.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if len(c.Suites) == 0 {
		c.Suites = Names()
	}
	if len(c.IDs) > 0 {
		c.Users = len(c.IDs)
	}
	if c.Users == 0 {
		c.Users = 10_000
	}
	if c.Duration == 0 {
		c.Duration = 2 * time.Second
	}
	if c.Goroutines == 0 {
		c.Goroutines = 64
	}
	if c.Seed == 0 {
		c.Seed = 1
	}
	if c.Progress == nil {
		c.Progress = func(float64, time.Duration, string) {}
	}
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

// Validate reports what cannot work, with the names of the command's flags. Errors wrap ErrConfig.
func (c Config) Validate() error {
	c = c.withDefaults()
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...)
	}
	switch {
	case c.Users < 100 || c.Users > MaxUsers:
		return bad("--users %d: want 100 to %d", c.Users, MaxUsers)
	case c.Duration < 10*time.Millisecond || c.Duration > time.Hour:
		return bad("--duration %v: want 10ms to 1h", c.Duration)
	case !(c.Rate >= 0) || math.IsInf(c.Rate, 0):
		return bad("--rate %g: want more than 0, or 0 for 50, 80 and 95 %% of what is possible", c.Rate)
	case !(c.Zipf >= 0) || c.Zipf > 5:
		return bad("--zipf %g: want 0 to 5, 0 for all alike", c.Zipf)
	case c.Goroutines < 1 || c.Goroutines > MaxGoroutines:
		return bad("--goroutines %d: want 1 to %d", c.Goroutines, MaxGoroutines)
	}
	for _, name := range c.Suites {
		if !slices.Contains(Names(), name) {
			return bad("%q is no suite; want %s or all", name, strings.Join(Names(), ", "))
		}
	}
	return c.checkNodes()
}

func (c *Config) checkNodes() error {
	for _, node := range c.Nodes {
		u, err := url.Parse(node)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return fmt.Errorf("%w: --nodes: %q is no URL of a node; want http://HOST:PORT", ErrConfig, node)
		}
	}
	if len(c.Nodes) > 0 && (c.Redis != "" || c.Origin != nil) {
		return fmt.Errorf("%w: --nodes have a Redis and an origin of their own: give them without --redis and --origin", ErrConfig)
	}
	return nil
}

// suite is one of those that can be asked for.
type suite struct {
	name string
	// runs is about how many times Config.Duration it takes, and extra what comes on top.
	runs  float64
	extra time.Duration
	// remote says that it can ask running nodes, changes that it makes changes at the origin, alone
	// that no other nodes may use the Redis.
	remote, changes, alone bool
	measure                func(context.Context, *world, *report.Suite) error
}

func suites() []suite {
	return []suite{
		{name: "l1", runs: 9.5, extra: 16 * time.Second, measure: measureL1},
		{name: "l2", runs: 9, extra: 11 * time.Second, measure: measureL2},
		{name: "origin", runs: 6, extra: 4 * time.Second, measure: measureOrigin},
		{name: "http", runs: 6, extra: 4 * time.Second, remote: true, measure: measureHTTP},
		{name: "batch", runs: 6, extra: 9 * time.Second, remote: true, measure: measureBatch},
		{name: "change", runs: 3, extra: 2 * time.Second, changes: true, measure: measureChange},
		{name: "prewarm", extra: 6 * time.Second, alone: true, measure: measurePrewarm},
		{name: "mixed", runs: 3, extra: 3 * time.Second, measure: measureMixed},
	}
}

// Names are the names of the suites, in the order in which they run.
func Names() (names []string) {
	for _, s := range suites() {
		names = append(names, s.name)
	}
	return names
}

// Measures are the names of the suites that Run will measure, as far as c tells: of running nodes
// only some can be.
func (c Config) Measures() (names []string) {
	c = c.withDefaults()
	for _, s := range chosen(c.Suites) {
		if len(c.Nodes) == 0 || s.remote {
			names = append(names, s.name)
		}
	}
	return names
}

// Takes is about how long Run will take, without the start of the parts.
func (c Config) Takes() (sum time.Duration) {
	c = c.withDefaults()
	for _, s := range chosen(c.Suites) {
		sum += s.takes(&c)
	}
	return sum
}

func chosen(names []string) (all []suite) {
	for _, s := range suites() {
		if slices.Contains(names, s.name) {
			all = append(all, s)
		}
	}
	return all
}

// Run measures. The result is there, as far as it goes, beside an error as well, unless nothing
// could begin; it is marked as interrupted when ctx has ended, which is no error.
//
// Errors wrap ErrConfig, ErrUnreachable, ErrInUse, or are those of the parts.
func Run(ctx context.Context, c Config) (*report.Result, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	began := time.Now()
	w, err := open(ctx, c)
	if err != nil && ctx.Err() == nil {
		return nil, errors.Join(err, w.close())
	}
	r := w.result(began)
	if err = nil; ctx.Err() == nil {
		err = w.runAll(ctx, r)
	}
	err = errors.Join(err, w.close())
	r.Machine.LoadAfter = machine.Load()
	r.Seconds = time.Since(began).Seconds()
	r.Verdict = w.verdict()
	r.Interrupted = ctx.Err() != nil
	r.Failed = r.Failed || err != nil || r.Verdict.Violations > 0 || slices.ContainsFunc(r.Suites, failed)
	return r, err
}

func failed(s *report.Suite) bool {
	return slices.ContainsFunc(s.Rows, func(r report.Row) bool { return r.Failed > 0 })
}

// runAll runs the suites that were asked for, until ctx ends. One that fails does not keep the
// others from being measured.
func (w *world) runAll(ctx context.Context, r *report.Result) error {
	var errs []error
	all := chosen(w.conf.Suites)
	w.progress.plan(w.conf.Takes())
	for _, s := range all {
		out := &report.Suite{Name: s.name}
		began := time.Now()
		err := w.runOne(ctx, s, out)
		if err != nil && ctx.Err() == nil {
			out.Failure = err.Error()
		}
		if out.Seconds = time.Since(began).Seconds(); len(out.Rows)+len(out.Figures) > 0 || out.Skipped+out.Failure != "" {
			r.Suites = append(r.Suites, out)
		}
		if ctx.Err() != nil {
			return errors.Join(errs...)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("bench %s: %w", s.name, err))
		}
	}
	return errors.Join(errs...)
}

func (w *world) runOne(ctx context.Context, s suite, out *report.Suite) error {
	defer w.progress.begin(ctx, s.name, s.takes(&w.conf))()
	switch {
	case len(w.conf.Nodes) > 0 && !s.remote:
		out.Title, out.Skipped = "not over HTTP", "running nodes are asked over HTTP only; edgecache verify watches changes of theirs"
		return nil
	case w.truth.foreign && s.changes:
		out.Title, out.Skipped = "a change, until nodes show it", "nothing is changed at an origin that was given; edgecache verify watches changes of others"
		return nil
	case s.alone && !w.clean:
		out.Title, out.Skipped = "users before they are asked for", "Redis was in use, and a prewarm is the whole cluster's"
		return nil
	}
	return s.measure(ctx, w, out)
}

// takes is about how long a suite takes.
func (s suite) takes(c *Config) time.Duration {
	runs, extra := s.runs, s.extra
	switch {
	case len(c.Nodes) > 0 && !s.remote:
		return 0
	case len(c.Nodes) > 0:
		runs, extra = runs/2, extra/2 // one contender
	}
	if c.Rate > 0 {
		runs /= float64(len(shares)) // one load
	}
	return time.Duration(runs*float64(c.Duration)) + extra
}
