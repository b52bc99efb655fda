package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/prewarm"
)

// prewarmPoll is the pause between two questions how a run does.
const prewarmPoll = 500 * time.Millisecond

// warming is the command "prewarm".
type warming struct {
	*program
	node     nodeClient
	progress bool
	detach   bool
	ask      prewarmRequest
	delay    time.Duration
}

// prewarmRequest is the body of POST /v1/prewarm.
type prewarmRequest struct {
	MaxUsers  int     `json:"maxUsers"`
	DaysBack  int     `json:"daysBack"`
	BatchSize int     `json:"batchSize"`
	Delay     float64 `json:"delayBetweenBatches"`
	Rate      float64 `json:"rate,omitempty"`
	Unlimited bool    `json:"unlimited,omitempty"`
}

const prewarmLong = `Loads the users who were active lately into Redis and into the memory of the nodes, before
they are asked for. All nodes of the cluster take part, each with the users of its own
ranges, inside one budget for what the source of truth is asked.

Who is active is what the nodes know: the list of users they have shown, and the sources that
they were started with (serve --prewarm-source). The command waits for the end, prints the
outcome as JSON, and ends with 1 when users could not be loaded. Ctrl-C ends the waiting,
not the run.`

func (p *program) prewarmCommand() *cobra.Command {
	w := warming{program: p}
	cmd := &cobra.Command{
		Use:   "prewarm",
		Short: "Load active users into all nodes before they are asked for",
		Long:  prewarmLong,
		Example: `  edgecache prewarm --progress
  edgecache prewarm --max-users 300000 --rate 2000 --progress
  edgecache prewarm status
  edgecache prewarm cancel`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return w.run(cmd.Context()) },
	}
	w.node.flags(p, cmd, auth.RoleAdmin)
	f := cmd.Flags()
	f.BoolVar(&w.progress, "progress", false, "show on stderr how far it is: a bar on a terminal, else a line now and then")
	f.BoolVar(&w.detach, "detach", false, "do not wait for the end")
	f.IntVar(&w.ask.MaxUsers, "max-users", 10_000, "load at most `N` users, the latest active")
	f.IntVar(&w.ask.DaysBack, "days-back", 7, "load who was active in the last `N` days")
	f.IntVar(&w.ask.BatchSize, "batch-size", 500, "load `N` users at once, at most 500")
	f.DurationVar(&w.delay, "delay", 1500*time.Millisecond, "pause `TIME` between batches of the whole cluster; 0 for none")
	f.Float64Var(&w.ask.Rate, "rate", 0, "ask the source of truth for at most `N` users a second, in place of --batch-size and --delay")
	f.BoolVar(&w.ask.Unlimited, "unlimited", false, "ask the source of truth as fast as it answers")
	cmd.AddCommand(w.statusCommand(), w.cancelCommand())
	return cmd
}

func (w *warming) run(ctx context.Context) error {
	if !(w.ask.Rate >= 0) || math.IsInf(w.ask.Rate, 0) {
		return usagef("--rate %g: want more than 0; --unlimited is for no limit", w.ask.Rate)
	}
	if w.delay < 0 {
		return usagef("--delay %v: want 0 or more", w.delay)
	}
	w.ask.Delay = float64(w.delay) / float64(time.Millisecond)
	body, err := json.Marshal(w.ask)
	if err != nil {
		return err
	}
	begun, err := w.status(ctx, http.MethodPost, body)
	if err != nil {
		return err
	}
	if w.detach {
		fmt.Fprintf(w.stderr, "run %s is on its way; 'edgecache prewarm status' tells how it does\n", printable(begun.Run))
		return nil
	}
	end, err := w.await(ctx, begun)
	if err != nil {
		return err
	}
	w.sayShort(ctx)
	return w.report(end)
}

// status sends one request about the run and returns how it does.
func (w *warming) status(ctx context.Context, method string, body []byte) (prewarm.Status, error) {
	a, err := w.node.do(ctx, method, "/v1/prewarm", body)
	if err != nil {
		return prewarm.Status{}, err
	}
	var s prewarm.Status
	if err := json.Unmarshal(a.Body, &s); err != nil {
		return s, fmt.Errorf("the node's answer is not the status of a prewarm: %w", err)
	}
	return s, nil
}

// await asks until the run is over. A node that does not answer for a while does not end the
// waiting: the others go on.
func (w *warming) await(ctx context.Context, s prewarm.Status) (prewarm.Status, error) {
	m := newMeter(w.stderr)
	defer m.clear()
	run, failures := s.Run, 0
	for !over(s.State) {
		if w.progress {
			m.show(s.Share, howFar(s))
		}
		select {
		case <-time.After(prewarmPoll):
		case <-ctx.Done():
			return s, fmt.Errorf("not waited for: run %s goes on; 'edgecache prewarm cancel' ends it", run)
		}
		next, err := w.status(ctx, http.MethodGet, nil)
		switch {
		case err == nil && next.Run != run:
			return s, fmt.Errorf("another run, %s, has begun since", next.Run)
		case err == nil:
			s, failures = next, 0
		case ctx.Err() == nil:
			if failures++; failures > 10 {
				return s, err
			}
		}
	}
	return s, nil
}

func over(s prewarm.State) bool {
	return s == prewarm.Done || s == prewarm.Cancelled || s == prewarm.Failed || s == prewarm.Idle
}

// howFar says in a line how far a run is.
func howFar(s prewarm.Status) string {
	if s.State == prewarm.Planning {
		return "reading who is active"
	}
	if s.State == prewarm.Filling {
		return fmt.Sprintf("all %d users in Redis, filling the memory of %d nodes", s.TotalProcessed, s.Live)
	}
	text := fmt.Sprintf("%d of %d users, %.0f/s", s.TotalProcessed, s.Planned, s.Rate)
	if s.Errors > 0 {
		text += fmt.Sprintf(", %d errors", s.Errors)
	}
	if s.Slowed > 0 && s.Slowed < 1 {
		text += fmt.Sprintf(", slowed down %.1f times for the origin", 1/s.Slowed)
	}
	if s.Waiting != "" {
		text += ", waiting for " + printable(s.Waiting)
	}
	if s.ETA > 0 {
		text += fmt.Sprintf(", %v left", (time.Duration(s.ETA) * time.Millisecond).Round(time.Second))
	}
	return text
}

// report prints the outcome, and who could not be loaded.
func (w *warming) report(s prewarm.Status) error {
	out, err := json.Marshal(s.Result())
	if err != nil {
		return err
	}
	if err := w.printJSON(out); err != nil {
		return err
	}
	for _, c := range s.Sources {
		if n := c.Invalid + c.Skipped; n > 0 {
			fmt.Fprintf(w.stderr, "%s: %d entries were passed over, such as: %s\n", printable(c.Name), n,
				printable(strings.Join(c.Reasons, "; ")))
		}
	}
	for _, f := range s.Failures {
		fmt.Fprintf(w.stderr, "%s: %s\n", printable(f.ID), printable(f.Reason))
	}
	switch {
	case s.State != prewarm.Done:
		return fmt.Errorf("the run is %s%s", s.State, strings.TrimSuffix(": "+s.Error, ": "))
	case s.Errors > 0:
		return fmt.Errorf("%d of %d users could not be loaded", s.Errors, s.Planned)
	case s.TotalProcessed < s.Planned:
		return fmt.Errorf("%d of %d users were not loaded: Redis has lost a part of the plan", s.Planned-s.TotalProcessed, s.Planned)
	}
	err = sourcesFailed(s.Sources)
	if err == nil && s.Planned == 0 {
		fmt.Fprintf(w.stderr, "nothing to do: no source named anyone who was active in the last %d days\n", s.Options.DaysBack)
	}
	return err
}

// sayShort says of the node in --node that its memory is too small for what was loaded.
func (w *warming) sayShort(ctx context.Context) {
	var s node.Stats
	a, err := w.node.do(ctx, http.MethodGet, "/v1/stats", nil)
	if err == nil && json.Unmarshal(a.Body, &s) == nil && s.MemoryShort != "" {
		fmt.Fprintln(w.stderr, printable(s.MemoryShort+" (--l1-mib of the node)"))
	}
}

// sourcesFailed reports the sources that could not be read to their end: the plan lacks the users
// that they would have named.
func sourcesFailed(sources []prewarm.SourceCount) error {
	var errs []error
	for _, c := range sources {
		if c.Error != "" {
			errs = append(errs, fmt.Errorf("source %s: %s", c.Name, c.Error))
		}
	}
	return errors.Join(errs...)
}

func (w *warming) statusCommand() *cobra.Command {
	var node nodeClient
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show how the prewarm does, or did",
		Long:    "Prints how the cluster's prewarm does, or the last one did, as JSON.",
		Example: "  edgecache prewarm status\n  edgecache prewarm status | jq .share",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := node.do(cmd.Context(), http.MethodGet, "/v1/prewarm", nil)
			if err != nil {
				return err
			}
			return w.printJSON(a.Body)
		},
	}
	node.flags(w.program, cmd, auth.RoleRead)
	return cmd
}

func (w *warming) cancelCommand() *cobra.Command {
	var node nodeClient
	cmd := &cobra.Command{
		Use:     "cancel",
		Short:   "End the prewarm that is under way",
		Long:    "Ends the prewarm that is under way, on all nodes. What was loaded stays.",
		Example: "  edgecache prewarm cancel",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := node.do(cmd.Context(), http.MethodDelete, "/v1/prewarm", nil); err != nil {
				return err
			}
			fmt.Fprintln(w.stderr, "cancelled")
			return nil
		},
	}
	node.flags(w.program, cmd, auth.RoleAdmin)
	return cmd
}
