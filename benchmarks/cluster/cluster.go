// Package cluster prewarms clusters of real processes: redis-server, nodes that are the built
// binary, and an origin in this process that notes who is asked for and when. Nodes are killed and
// join while a run is on.
//
//	go run -C benchmarks . cluster -out results
//
// It takes about ten minutes; -only calm,contract,failing,join,kill chooses, -users, -kills and
// -rate make it smaller.
package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/chatapp-ngomna/edgecache/benchmarks/binary"
)

// params are the sizes of a run.
type params struct {
	users int // of a calm run
	rate  int // users a second that the whole cluster may ask for
	kills int
	few   int // users of a run in which a node is killed or joins
	bin   string
}

// scene is what is run on a cluster of its own, and what is to be reported of it.
type scene struct {
	name string
	run  func(ctx context.Context, p params) ([]line, error)
}

// line is one line of the report.
type line struct {
	what, wanted, got string
	ok                bool
}

func scenes() []scene {
	return []scene{{"calm", calm}, {"contract", contract}, {"failing", failing}, {"join", join}, {"kill", kill}}
}

// Run is the command cluster.
func Run(ctx context.Context, args []string, stdout io.Writer) error {
	var p params
	f := flag.NewFlagSet("cluster", flag.ContinueOnError)
	f.IntVar(&p.users, "users", 300_000, "users of a calm run")
	f.IntVar(&p.rate, "rate", 20_000, "users a second that the cluster may ask of the origin")
	f.IntVar(&p.few, "few", 40_000, "users of a run in which a node is killed or joins")
	f.IntVar(&p.kills, "kills", 20, "nodes to kill, one in each run")
	only := f.String("only", "", "scenes, comma-separated: calm,contract,failing,join,kill; default all")
	out := f.String("out", "", "folder for cluster.md; default none is written")
	if err := f.Parse(args); err != nil {
		return err
	}
	if p.users < 1 || p.rate < 1 || p.few < 1 || p.kills < 0 {
		return errors.New("want -users, -rate and -few from 1, -kills from 0")
	}
	dir, err := os.MkdirTemp("", "edgecache-cluster-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if p.bin, err = binary.Build(ctx, dir); err != nil {
		return err
	}
	var lines []line
	for _, s := range scenes() {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), s.name) {
			continue
		}
		fmt.Fprintf(stdout, "== %s\n", s.name)
		got, err := s.run(ctx, p)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		for _, l := range got {
			fmt.Fprintf(stdout, "%-4s %s: %s (wanted: %s)\n", mark(l.ok), l.what, l.got, l.wanted)
		}
		lines = append(lines, got...)
	}
	if *out != "" {
		if err := os.WriteFile(filepath.Join(*out, "cluster.md"), []byte(report(lines)), 0o644); err != nil {
			return err
		}
	}
	if i := slices.IndexFunc(lines, func(l line) bool { return !l.ok }); i >= 0 {
		return fmt.Errorf("%s: %s; wanted %s", lines[i].what, lines[i].got, lines[i].wanted)
	}
	return nil
}

func mark(ok bool) string {
	if ok {
		return "ok"
	}
	return "MISS"
}

func report(lines []line) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Prewarm of clusters of processes\n\nWritten by `go run -C benchmarks . cluster -out results`, %s; %d processors, %s, redis-server and all nodes on one machine. "+
		"The origin counts each user and each second.\n\n| what | wanted | measured | |\n|---|---|---|---|\n",
		time.Now().UTC().Format(time.RFC3339), runtime.NumCPU(), runtime.Version())
	for _, l := range lines {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", l.what, l.wanted, l.got, mark(l.ok))
	}
	return b.String()
}
