package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/chatapp-ngomna/edgecache/auth"
)

func (p *program) healthCommand() *cobra.Command {
	var node nodeClient
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a node whether it may have requests, for health checks",
		Long: `Asks a node for /readyz, or for the path in --node, and ends with 0 when the answer is good,
else with 1. It is the health check of a container that has no other program in it.`,
		Example: `  edgecache health
  edgecache health --node http://10.0.0.7:8003
  edgecache health --node http://127.0.0.1:8001/health      an origin`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.health(cmd.Context(), node) },
	}
	node.flags(p, cmd, auth.RoleRead)
	return cmd
}

func (p *program) health(ctx context.Context, node nodeClient) error {
	path := "/readyz"
	if u, err := url.Parse(node.url); err == nil && len(u.Path) > 1 {
		path = "" // do takes the path of the URL
	}
	if _, err := node.do(ctx, http.MethodGet, path, nil); err != nil {
		return err
	}
	_, err := fmt.Fprintln(p.stdout, "ok")
	return err
}
