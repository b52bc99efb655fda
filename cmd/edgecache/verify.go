package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/verify"
)

// verification is the command "verify".
type verification struct {
	events
	conf             verify.Config
	window, duration time.Duration
	metrics          string // HOST:PORT; empty: none
	caller           callerSettings
	content          contentSettings
	out              verifyPrinter
}

func (p *program) verifyCommand() *cobra.Command {
	v := verification{events: events{program: p}, caller: callerSettings{program: p}}
	cmd := &cobra.Command{
		Use:   "verify --nodes URL,...",
		Short: "Watch a running cluster and say how often a node answered too old",
		Long: `Follows the stream of changes, asks every node for each changed user 250 ms and 2.5 s after the
change was read, through the public API, and reports for each window the share of right answers
as nines, the worst lag, and each violation with its history. It changes nothing. Ends on an
interrupt or after --duration, with 1 when there was a violation or nothing to check.

With --content, answers are also compared with the origin field by field: for users who changed, and
for those in Redis of which nobody has heard. What differs from an origin that has said the same for
4 s is a mismatch, and 1 at the end as well.

In production, check a share of the users (--sample) and bound the reads (--max-rate). What is not
checked in time is dropped, counted, and shown.`,
		Example: `  edgecache verify --redis redis://10.0.0.5:6379 --nodes http://10.0.0.7:8003,http://10.0.0.8:8003
  edgecache verify --nodes http://10.0.0.7:8003 --sample 0.01 --max-rate 200 --metrics 127.0.0.1:9105
  edgecache verify --nodes http://10.0.0.7:8003 --duration 10m --json > verify.jsonl`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return v.run(cmd.Context()) },
	}
	v.flags(cmd)
	v.jsonFlag(cmd)
	v.caller.flags(cmd.Flags())
	f := cmd.Flags()
	f.StringSliceVar(&v.conf.Nodes, "nodes", nil, "`URL`s of the HTTP API of every node, by commas or repeated; required")
	f.Float64Var(&v.conf.Sample, "sample", 1, "`SHARE` of the users whose changes are checked, up to 1")
	f.DurationSliceVar(&v.conf.After, "after", []time.Duration{250 * time.Millisecond, 2500 * time.Millisecond}, "ask the nodes these `TIMES` after a change")
	f.DurationVar(&v.window, "window", time.Minute, "report every `TIME`")
	f.DurationVar(&v.duration, "duration", 0, "end after `TIME`; 0 for never")
	f.IntVar(&v.conf.MaxRate, "max-rate", 0, "ask each node for `N` users a second at most; 0 for no bound")
	f.IntVar(&v.conf.History, "history", 16, "remember and show the last `N` changes of a user")
	f.IntVar(&v.conf.MaxViolations, "max-violations", 20, "tell `N` violations whole, and only count the others")
	v.content.flags(f)
	f.StringVar(&v.metrics, "metrics", "", "serve /metrics for Prometheus on `HOST:PORT`; off when not given")
	return cmd
}

// check refuses what cannot work before anything is started.
func (v *verification) check() error {
	switch {
	case len(v.conf.Nodes) == 0:
		return usagef("verify wants the nodes to ask, such as: edgecache verify --nodes http://10.0.0.7:8003,http://10.0.0.8:8003")
	case !(v.conf.Sample > 0 && v.conf.Sample <= 1):
		return usagef("--sample %v: want above 0 and up to 1", v.conf.Sample)
	case v.window < time.Second:
		return usagef("--window %v: want 1s or more", v.window)
	case v.duration < 0:
		return usagef("--duration %v: want 0 or more", v.duration)
	case v.conf.MaxRate < 0:
		return usagef("--max-rate %d: want 0 or more", v.conf.MaxRate)
	case v.conf.History < 1:
		return usagef("--history %d: want 1 or more", v.conf.History)
	case v.conf.MaxViolations < 1:
		return usagef("--max-violations %d: want 1 or more", v.conf.MaxViolations)
	case v.metrics != "":
		if err := checkListen("metrics", v.metrics); err != nil {
			return err
		}
	}
	return v.content.check()
}

func (v *verification) run(ctx context.Context) error {
	if err := v.check(); err != nil {
		return err
	}
	log, err := v.logger()
	if err != nil {
		return err
	}
	up := &parts{log: log}
	v.out = verifyPrinter{out: v.stdout, json: v.json}
	v.conf.Logger, v.conf.OnViolation, v.conf.OnGap = log, v.out.violation, v.out.gap
	v.conf.OnMismatch = v.out.mismatch
	verifier, err := v.start(ctx, up)
	if err != nil {
		return closeAfter(up, err)
	}
	v.watch(ctx, verifier)
	total := verifier.Total()
	v.out.report("total", total)
	if err := errors.Join(v.out.failed, up.close()); err != nil {
		return err
	}
	return v.verdict(total)
}

// verdict is an error unless something was checked and nothing violated or other than the origin
// says.
func (v *verification) verdict(total verify.Report) error {
	checks := uint64(0)
	for _, a := range total.After {
		checks += a.Checks
	}
	content := verify.ContentCounts{}
	if total.Content != nil {
		content = *total.Content
	}
	switch n := total.Violations(); {
	case n > 0:
		return fmt.Errorf("violated checks: %d", n)
	case content.Mismatches > 0:
		return fmt.Errorf("answers that differ from the origin: %d", content.Mismatches)
	case content.Checks > 0:
		return nil
	case total.Changes == 0:
		return fmt.Errorf("nothing was verified: no change came through %s; is it the Redis, and the database in it, "+
			"of the nodes?", redactURL(v.redis))
	case checks == 0:
		return fmt.Errorf("nothing was verified: of %d changes none was checked (see failed and dropped)", total.Changes)
	}
	return nil
}

// callers makes the verifier ask the nodes as the flags say.
func (v *verification) callers() error {
	transport, err := v.caller.transport()
	if err != nil {
		return err
	}
	transport.DisableCompression = true
	v.conf.Transport = transport
	v.conf.Token, err = v.caller.source(auth.RoleRead)
	return err
}

func (v *verification) start(ctx context.Context, up *parts) (*verify.Verifier, error) {
	if err := v.callers(); err != nil {
		return nil, err
	}
	client, err := v.client()
	if err != nil {
		return nil, err
	}
	up.add(client.Close)
	v.conf.Client = client
	starting, cancel := context.WithTimeoutCause(ctx, startWithin, fmt.Errorf("no answer within %v", startWithin))
	defer cancel()
	if err := v.content.apply(starting, &v.conf, v.caller.tokens, up); err != nil {
		return nil, err
	}
	verifier, err := verify.New(v.conf)
	if err != nil {
		return nil, usagef("%s", strings.TrimPrefix(err.Error(), verify.ErrConfig.Error()+": "))
	}
	up.add(verifier.Close)
	if err := v.ping(ctx, client); err != nil {
		return nil, err
	}
	if err := verifier.Start(starting); err != nil {
		return nil, fmt.Errorf("cannot verify: %s", strings.TrimPrefix(err.Error(), "verify: "))
	}
	serving := ""
	if v.metrics != "" {
		addr, err := up.serveMetrics(v.metrics, verifier)
		if err != nil {
			return nil, err
		}
		serving = fmt.Sprintf(", metrics on http://%s/metrics", addr)
	}
	fmt.Fprintf(v.stderr, "edgecache verify: watching %d nodes and %s%s\n", len(v.conf.Nodes), redactURL(v.redis), serving)
	return verifier, nil
}

// serveMetrics serves one collector for Prometheus, and returns the address.
func (up *parts) serveMetrics(listen string, c prometheus.Collector) (string, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return "", listenError(err, "metrics", listen)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	up.add(func() error {
		err := server.Close()
		if e := <-served; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
		return err
	})
	return ln.Addr().String(), nil
}

// watch prints a report for each window until ctx ends or the time is over, and then has the checks
// that wait made.
func (v *verification) watch(ctx context.Context, verifier *verify.Verifier) {
	if v.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, v.duration)
		defer cancel()
	}
	tick := time.NewTicker(v.window)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			v.out.report("window", verifier.Window())
		case <-ctx.Done():
		}
	}
	last := v.conf.After[len(v.conf.After)-1]
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), last+time.Second)
	defer cancel()
	verifier.Drain(draining)
}

// verifyPrinter prints what a Verifier finds, from several goroutines.
type verifyPrinter struct {
	out    io.Writer
	json   bool
	mu     sync.Mutex
	failed error // the first failure to print
}

func (p *verifyPrinter) violation(v verify.Violation) { p.print("violation", v, v.String()) }

func (p *verifyPrinter) mismatch(m verify.Mismatch) { p.print("mismatch", m, m.String()) }

func (p *verifyPrinter) gap(reason string) {
	text := fmt.Sprintf("GAP  the stream was %s: entries may have been missed, and what they changed is not checked\n", reason)
	p.print("gap", map[string]any{"reason": reason, "at": time.Now().UTC()}, text)
}

func (p *verifyPrinter) report(kind string, r verify.Report) {
	text := r.String()
	if kind == "total" {
		text = "\nTOTAL of " + r.To.Sub(r.From).Round(time.Second).String() + "\n" + text
	}
	p.print(kind, r, text)
}

// print writes text, or v as a line of JSON {"KIND": v}. Nodes and the stream may have said
// anything.
func (p *verifyPrinter) print(kind string, v any, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text = printableLines(text)
	if p.json {
		line, err := json.Marshal(map[string]any{kind: v})
		if err != nil {
			p.failed = errors.Join(p.failed, err)
			return
		}
		text = string(jsonFor(p.out, line)) + "\n"
	}
	if _, err := io.WriteString(p.out, text); err != nil && p.failed == nil {
		p.failed = err
	}
}
