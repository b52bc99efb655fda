package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/node"
)

// why is the command "why".
type why struct {
	*program
	node  nodeClient
	json  bool
	alone bool
}

func (p *program) whyCommand() *cobra.Command {
	w := why{program: p}
	cmd := &cobra.Command{
		Use:   "why ID",
		Short: "Say why a user is shown as it is, on each node",
		Long: `Asks each node of the cluster what it holds of a user, and says in words: what a read would be
answered there and why, what is in Redis, what the source of truth says, and the last events
of the user on the stream. Nothing is changed by it.

It needs the role admin, and shows its token to each node that the one in --node knows.`,
		Example: `  edgecache why 123
  edgecache why 123 --node http://10.0.0.7:8003
  edgecache why 123 --json | jq '.[].read'`,
		Args: wantArgs(1, 1, "123"),
		RunE: func(cmd *cobra.Command, args []string) error { return w.run(cmd.Context(), args[0]) },
	}
	w.node.flags(p, cmd, auth.RoleAdmin)
	cmd.Flags().BoolVar(&w.json, "json", false, "print the answers of the nodes as they are, in a list")
	cmd.Flags().BoolVar(&w.alone, "alone", false, "ask the node in --node alone")
	return cmd
}

// whyAnswer is what one node said, or why it said nothing.
type whyAnswer struct {
	name string
	body json.RawMessage
	why  node.Why
	err  error
}

func (w *why) run(ctx context.Context, id string) error {
	path, err := userPath(id)
	if err != nil {
		return err
	}
	first := w.ask(ctx, w.node, "", path+"/why")
	if first.err != nil {
		return first.err
	}
	answers := append([]whyAnswer{first}, w.others(ctx, path+"/why")...)
	if w.json {
		return w.printAll(answers)
	}
	_, err = io.WriteString(w.stdout, whyText(answers))
	return err
}

// ask asks one node.
func (w *why) ask(ctx context.Context, at nodeClient, name, path string) whyAnswer {
	out := whyAnswer{name: name}
	a, err := at.do(ctx, http.MethodGet, path, nil)
	if err == nil {
		out.body = a.Body
		err = json.Unmarshal(a.Body, &out.why)
	}
	out.name, out.err = cmp.Or(name, out.why.Node), err
	return out
}

// whyAtOnce is how many nodes are asked at once.
const whyAtOnce = 16

// others asks all nodes but the one in --node, which knows them.
func (w *why) others(ctx context.Context, path string) []whyAnswer {
	if w.alone {
		return nil
	}
	members, err := w.members(ctx)
	if err != nil {
		return []whyAnswer{{name: "the other nodes", err: err}}
	}
	answers := make([]whyAnswer, len(members))
	var all errgroup.Group
	all.SetLimit(whyAtOnce)
	for i, m := range members {
		all.Go(func() error {
			answers[i] = w.askMember(ctx, m, path)
			return nil
		})
	}
	_ = all.Wait() // the answers hold their errors
	return answers
}

// members are the other nodes that the one in --node knows.
func (w *why) members(ctx context.Context) ([]node.Member, error) {
	var c node.Cluster
	a, err := w.node.do(ctx, http.MethodGet, "/v1/cluster", nil)
	if err == nil {
		err = json.Unmarshal(a.Body, &c)
	}
	return slices.DeleteFunc(c.Members, func(m node.Member) bool { return m.Name == c.Self }), err
}

// askMember asks another node, where it told the others that its API is, by the protocol of --node.
func (w *why) askMember(ctx context.Context, m node.Member, path string) whyAnswer {
	if m.HTTP == "" {
		return whyAnswer{name: m.Name, err: errors.New("it does not say where its API is")}
	}
	scheme, _, _ := strings.Cut(w.node.url, "://")
	at := w.node
	at.url = scheme + "://" + m.HTTP
	return w.ask(ctx, at, m.Name, path)
}

// printAll prints the answers as they are; a node that did not answer has its error in place of
// one.
func (w *why) printAll(answers []whyAnswer) error {
	list := make([]json.RawMessage, len(answers))
	for i, a := range answers {
		if list[i] = a.body; a.err != nil {
			list[i], _ = json.Marshal(map[string]string{"node": a.name, "error": a.err.Error()})
		}
	}
	text, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("the nodes' answers are no JSON: %w", err)
	}
	return w.printJSON(text)
}
