// Command benchmarks measures edgecache: beside the libraries that it stands on and beside its
// peers, and as a cluster of processes. Each command has flags of its own, which -h lists:
//
//	go run -C benchmarks . compare -out results
//
// They start private servers, need nothing else, and leave nothing running.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/chatapp-ngomna/edgecache/benchmarks/cluster"
	"github.com/chatapp-ngomna/edgecache/benchmarks/compare"
	"github.com/chatapp-ngomna/edgecache/benchmarks/fence"
	"github.com/chatapp-ngomna/edgecache/benchmarks/functions"
	"github.com/chatapp-ngomna/edgecache/benchmarks/growth"
	"github.com/chatapp-ngomna/edgecache/benchmarks/history"
	"github.com/chatapp-ngomna/edgecache/benchmarks/hitratio"
	"github.com/chatapp-ngomna/edgecache/benchmarks/store"
	"github.com/chatapp-ngomna/edgecache/benchmarks/verify"
	"github.com/chatapp-ngomna/edgecache/benchmarks/warm"
)

// command is one of the program's.
type command struct {
	name, does string
	run        func(ctx context.Context, args []string, stdout io.Writer) error
}

func commands() []command {
	return []command{
		{"compare", "each tier beside the bare library under it and its peers, in turns; about six minutes", compare.Run},
		{"fence", "what a shorter FenceAfter costs in Redis calls and processor time; under two minutes", fence.Run},
		{"functions", "edge functions beside hits of L1 and bare calls of wazero; under a minute", functions.Run},
		{"store", "restarts with and without a store on disk, thirty nodes one after another, and its cost; about two minutes", store.Run},
		{"hitratio", "hits of a node's memory on recorded requests, beside others and the optimum; two minutes", hitratio.Run},
		{"growth", "hits, memory and pauses with ten thousand users, a hundred thousand, a million; a minute", growth.Run},
		{"history", "the ratios of every committed run of compare, as one page", history.Run},
		{"cluster", "prewarms of three and ten processes, some of them killed; about ten minutes", cluster.Run},
		{"verify", "a million changes under edgecache verify; about seven minutes", verify.Run},
		{"warm", "the first minute of a recorded chat after a full restart, cold and prewarmed", warm.Run},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) == 0 {
		usage(stdout)
		return errors.New("want a command")
	}
	for _, c := range commands() {
		if c.name != args[0] {
			continue
		}
		if err := c.run(ctx, args[1:], stdout); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		return nil
	}
	usage(stdout)
	return fmt.Errorf("%q is none of the commands", args[0])
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "usage: go run -C benchmarks . COMMAND [FLAGS]")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-9s %s\n", c.name, c.does)
	}
}
