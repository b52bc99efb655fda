package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/chatapp-ngomna/edgecache/auth"
)

func (p *program) putCommand() *cobra.Command {
	var node nodeClient
	cmd := &cobra.Command{
		Use:   "put ID [PROFILE]",
		Short: "Tell the cache what the source of truth already says",
		Long: `Gives the cache a whole profile, as JSON, with the version (updatedAt) that the source of
truth gave it; every node shows it at once. Without PROFILE it is read from the
standard input. The truth itself is not changed: do that at the origin.`,
		Example: `  edgecache put 123 "{\"nom\":\"Dupont\",\"prenom\":\"Jean\",\"updatedAt\":$(date +%s000)}"
  curl -s 127.0.0.1:8001/123 | edgecache put 123`,
		Args: wantArgs(1, 2, `123 "{\"nom\":\"Dupont\",\"updatedAt\":$(date +%s000)}"`),
		RunE: func(cmd *cobra.Command, args []string) error { return p.put(cmd.Context(), node, args) },
	}
	node.flags(p, cmd, auth.RoleWrite)
	return cmd
}

func (p *program) put(ctx context.Context, node nodeClient, args []string) error {
	path, err := userPath(args[0])
	if err != nil {
		return err
	}
	body, err := p.profileText(args[1:])
	if err != nil {
		return err
	}
	_, err = node.do(ctx, http.MethodPut, path, body)
	if e, ok := errors.AsType[*refusal](err); ok && e.status == http.StatusConflict && p.hasVersion(ctx, node, path, body) {
		fmt.Fprintln(p.stderr, "edgecache put: the node shows that version already")
		return nil
	}
	return err
}

// hasVersion reports whether the node shows the version that body has: there is nothing to put
// then.
func (p *program) hasVersion(ctx context.Context, node nodeClient, path string, body []byte) bool {
	var given, shown struct {
		UpdatedAt int64 `json:"updatedAt"`
	}
	a, err := node.do(ctx, http.MethodGet, path, nil)
	return err == nil && json.Unmarshal(a.Body, &shown) == nil && json.Unmarshal(body, &given) == nil &&
		given.UpdatedAt == shown.UpdatedAt
}

// profileText returns the profile in the argument, else that on the standard input.
func (p *program) profileText(args []string) (body []byte, err error) {
	switch {
	case len(args) > 0:
		body = []byte(args[0])
	case !terminal(p.stdin):
		body, err = p.read("-")
	}
	if err == nil && len(bytes.TrimSpace(body)) == 0 {
		err = usagef("put wants a profile as JSON, as its second argument or on the standard input")
	}
	return body, err
}

func (p *program) invalidateCommand() *cobra.Command {
	var node nodeClient
	cmd := &cobra.Command{
		Use:   "invalidate ID...",
		Short: "Make Redis and every node forget users",
		Long: `Drops every copy of the users, in Redis and in the memory of every node, so that the next
lookup asks the source of truth. Users that nobody knows are no error.`,
		Example: "  edgecache invalidate 123\n  edgecache invalidate 123 456 --node http://10.0.0.7:8003",
		Args:    wantArgs(1, math.MaxInt, "123"),
		RunE:    func(cmd *cobra.Command, ids []string) error { return invalidate(cmd.Context(), node, ids) },
	}
	node.flags(p, cmd, auth.RoleInvalidate)
	return cmd
}

func invalidate(ctx context.Context, node nodeClient, ids []string) error {
	for done, id := range ids {
		path, err := userPath(id)
		if err == nil {
			_, err = node.do(ctx, http.MethodPost, path+"/invalidate", nil)
		}
		if err != nil && done > 0 {
			return fmt.Errorf("%w (the %d before it are invalidated)", err, done)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
