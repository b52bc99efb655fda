package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/chatapp-ngomna/edgecache/auth"
)

// get is the command "get".
type get struct {
	*program
	node    nodeClient
	verbose bool
}

func (p *program) getCommand() *cobra.Command {
	g := get{program: p}
	cmd := &cobra.Command{
		Use:   "get ID...",
		Short: "Show users as a node sees them",
		Long: `Asks a node for one user after another and prints each profile as JSON. Ends with 1 when
one of them is missing; the others are printed all the same.`,
		Example: `  edgecache get 123
  edgecache get 123 456 --verbose
  edgecache get 123 --node http://10.0.0.7:8003`,
		Args: wantArgs(1, math.MaxInt, "123"),
		RunE: func(cmd *cobra.Command, ids []string) error { return g.run(cmd.Context(), ids) },
	}
	g.node.flags(p, cmd, auth.RoleRead)
	cmd.Flags().BoolVarP(&g.verbose, "verbose", "v", false, "say on stderr which tier answered, and how old the answer is")
	return cmd
}

// run shows every user that it can, and returns what the node said of the others.
func (g *get) run(ctx context.Context, ids []string) error {
	var refused []error
	for _, id := range ids {
		err := g.show(ctx, id)
		if no := (*refusal)(nil); errors.As(err, &no) {
			refused = append(refused, err)
		} else if err != nil {
			return err
		}
	}
	return errors.Join(refused...)
}

func (g *get) show(ctx context.Context, id string) error {
	path, err := userPath(id)
	if err != nil {
		return err
	}
	a, err := g.node.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	if err := g.printJSON(a.Body); err != nil || !g.verbose {
		return err
	}
	h := a.Header
	_, err = fmt.Fprintf(g.stderr, "%s: %s; age %s s; ETag %s\n", id, printable(h.Get("Cache-Status")), printable(h.Get("Age")), printable(h.Get("ETag")))
	return err
}

func (p *program) statsCommand() *cobra.Command {
	var node nodeClient
	cmd := &cobra.Command{
		Use:     "stats",
		Short:   "Show what a node counted",
		Long:    "Prints the counters of a node as JSON; /metrics has them for Prometheus.",
		Example: "  edgecache stats\n  edgecache stats --node http://10.0.0.7:8003 | jq .cache.l1Hits",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := node.do(cmd.Context(), http.MethodGet, "/v1/stats", nil)
			if err != nil {
				return err
			}
			return p.printJSON(a.Body)
		},
	}
	node.flags(p, cmd, auth.RoleRead)
	return cmd
}
