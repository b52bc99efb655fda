// Package verify measures what docs/verify.md describes: a real Redis, the origin and three nodes
// in processes of their own, a writer that makes a million changes, and "edgecache verify" over all
// of it. It writes the result as Markdown.
package verify

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/chatapp-ngomna/edgecache/benchmarks/binary"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/verify"
)

// maxShown is how many violations are shown.
const maxShown = 5

// goalNines is what the share of answers right within the first checkpoint has to reach.
const goalNines = 6

// params are the flags.
type params struct {
	binary       string // built by Run
	changes      int
	rate         int
	users, nodes int
}

// Run is the command verify.
func Run(ctx context.Context, args []string, out io.Writer) error {
	var p params
	f := flag.NewFlagSet("verify", flag.ContinueOnError)
	f.IntVar(&p.changes, "changes", 1_000_000, "how many changes to make")
	f.IntVar(&p.rate, "rate", 2500, "changes a second")
	f.IntVar(&p.users, "users", 45_000, "users, a third for each kind of change")
	f.IntVar(&p.nodes, "nodes", 3, "nodes")
	if err := f.Parse(args); err != nil {
		return err
	}
	if p.changes < 1 || p.rate < writers || p.users < 3*writers || p.nodes < 1 {
		return fmt.Errorf("want 1 change or more, a rate of %d or more, %d users or more, 1 node or more", writers, 3*writers)
	}
	dir, err := os.MkdirTemp("", "edgecache-verify-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if p.binary, err = binary.Build(ctx, dir); err != nil {
		return err
	}
	return measure(ctx, p, dir, out)
}

// measure starts the processes, makes the changes, and reports what was found.
func measure(ctx context.Context, p params, dir string, out io.Writer) (err error) {
	redis, err := redistest.Start(ctx, redistest.Options{})
	if err != nil {
		return err
	}
	defer redis.Close()
	r := &rig{params: p, redis: redis.URL(), dir: dir}
	defer func() { err = errors.Join(err, r.stopAll()) }()
	if err := r.start(); err != nil {
		return err
	}
	wrote, took, err := write(ctx, r.redis, p)
	if err != nil {
		return err
	}
	f, err := r.end()
	if err != nil {
		return err
	}
	if err := r.stopAll(); err != nil {
		return err
	}
	return errors.Join(report(out, p, wrote, took, f), r.cpu(out))
}

// rig is the processes.
type rig struct {
	params
	redis, dir string
	processes  []*process // in the order of their start
	verifier   *process
}

func (r *rig) start() error {
	origin, err := r.serve("origin", "--listen", "127.0.0.1:0", "--redis", r.redis, "--db", "sqlite:"+filepath.Join(r.dir, "users.db"),
		"--sample-users", strconv.Itoa(r.users))
	if err != nil {
		return err
	}
	var urls []string
	for range r.nodes {
		url, err := r.serve("serve", "--listen", "127.0.0.1:0", "--redis", r.redis, "--origin", origin)
		if err != nil {
			return err
		}
		urls = append(urls, url)
	}
	r.verifier, err = launch(r.binary, "verify", "--redis", r.redis, "--nodes", strings.Join(urls, ","), "--window", "30s", "--json")
	if err != nil {
		return err
	}
	r.processes = append(r.processes, r.verifier)
	return r.verifier.await("watching")
}

// serve starts a process that serves, and returns its URL.
func (r *rig) serve(args ...string) (string, error) {
	p, err := launch(r.binary, args...)
	if err != nil {
		return "", err
	}
	r.processes = append(r.processes, p)
	if err := p.await("ready on http://"); err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(p.text(), "ready on ")
	url, _, _ := strings.Cut(rest, "\n")
	return url, nil
}

// end has the verifier make the checks that wait, and returns what it found.
func (r *rig) end() (found, error) {
	code, err := r.verifier.interrupt()
	if err != nil {
		return found{}, err
	}
	f, err := decode(r.verifier.text())
	if err == nil && code != 0 && f.total.Violations() == 0 {
		err = fmt.Errorf("verify ended with %d: %s", code, r.verifier.text())
	}
	return f, err
}

// stopAll stops what still runs, the last started first.
func (r *rig) stopAll() (err error) {
	for i := len(r.processes) - 1; i >= 0; i-- {
		_, e := r.processes[i].interrupt()
		err = errors.Join(err, e)
	}
	return err
}

// cpu writes how busy each process was; call it after stopAll.
func (r *rig) cpu(out io.Writer) error {
	var texts []string
	for _, p := range r.processes {
		s := p.cmd.ProcessState
		texts = append(texts, fmt.Sprintf("%s %.0f s", p.cmd.Args[1], (s.UserTime()+s.SystemTime()).Seconds()))
	}
	_, err := fmt.Fprintf(out, "\nProcessor time: %s.\n", strings.Join(texts, ", "))
	return err
}

// report writes the result, and returns an error when a goal is missed.
func report(out io.Writer, p params, w made, took time.Duration, f found) error {
	fmt.Fprintf(out, "%d changes of %d users in %v, %.0f a second: %d whole profiles, %d parts as other services announce them, %d invalidations without a version; ",
		w.whole+w.parts+w.forgotten, p.users, took.Round(time.Second), float64(w.whole+w.parts+w.forgotten)/took.Seconds(), w.whole, w.parts, w.forgotten)
	fmt.Fprintf(out, "%d nodes, the origin, Redis, and edgecache verify in processes of their own on this machine. Each change is read on each node at both checkpoints. The writer passes the origin by, so that a node which has to ask it for a user with a later change marks the answer stale.\n\n", p.nodes)
	fmt.Fprintf(out, "```\n%s```\n\n", f.total)
	for _, v := range f.violations[:min(len(f.violations), maxShown)] {
		fmt.Fprintf(out, "```\n%s```\n\n", v)
	}
	first, last := f.total.After[0], f.total.After[len(f.total.After)-1]
	var missed []error
	goal := func(ok bool, format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		mark := "reached"
		if !ok {
			mark = "missed"
			missed = append(missed, errors.New("missed: "+text))
		}
		fmt.Fprintf(out, "- %s: %s\n", mark, text)
	}
	goal(int(f.total.Changes) >= p.changes && len(f.total.Gaps) == 0, "every change was seen: %d of %d, %d gaps", f.total.Changes, p.changes, len(f.total.Gaps))
	nines := min(goalNines, math.Log10(float64(p.changes))) // fewer changes cannot show as much
	goal(first.Nines >= nines, "at least %.2f nines within %v: %.2f", nines, first.After, first.Nines)
	goal(last.Violations == 0 && last.Checks > 0, "no violation at %v: %d in %d checks", last.After, last.Violations, last.Checks)
	return errors.Join(missed...)
}

// found is what the verifier said.
type found struct {
	total      verify.Report
	violations []verify.Violation
}
