package functions

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/embedded"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
)

// many is how many users are looked up in turn.
const many = 10_000

// kept measures answers of functions that are kept, beside hits of L1.
func kept(ctx context.Context, w io.Writer, rounds int) error {
	redis, err := embedded.StartRedis()
	if err != nil {
		return err
	}
	defer redis.Close()
	origin := tier.LoaderFunc(func(_ context.Context, ids []string) (profile.Batch, error) {
		b := profile.Batch{Found: make(map[string]*profile.Profile, len(ids))}
		for _, id := range ids {
			p := user()
			p.ID = id
			b.Found[id] = p
		}
		return b, nil
	})
	n, err := node.New(node.Config{RedisURL: redis.URL(), Origin: origin, Functions: &edge.FunctionsConfig{}})
	if err != nil {
		return err
	}
	defer n.Close()
	if err := n.Start(ctx); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n## A kept answer\n\nOf %d users in L1, through `node.Get` and `node.View`.\n\n| function | L1 hit | kept answer | ratio |\n|---|---|---|---|\n", many)
	for _, e := range examples() {
		if err := keptOf(ctx, w, rounds, n, e); err != nil {
			return err
		}
	}
	return nil
}

func keptOf(ctx context.Context, w io.Writer, rounds int, n *node.Node, e example) error {
	wasm, err := module(e.name, "as")
	if err != nil {
		return err
	}
	if _, err := n.Functions().Push(ctx, e.name, wasm, edge.PushOptions{}); err != nil {
		return err
	}
	ids := make([]string, many)
	for i := range ids {
		ids[i] = fmt.Sprint("u", i)
	}
	through := node.Through{Functions: []string{e.name}, Request: e.request}
	at, next := 0, func() string { return "" }
	next = func() string {
		if at++; at == many {
			at = 0
		}
		return ids[at]
	}
	hit := func() error {
		_, err := n.Get(ctx, next())
		return err
	}
	view := func() error {
		v, err := n.View(ctx, next(), through, tier.Want{})
		if err == nil && v.Tag == 0 {
			err = errors.New("an answer without a tag")
		}
		return err
	}
	if _, err := turns(2, many, hit, view); err != nil { // everything is in memory then
		return err
	}
	t, err := turns(rounds, many/20, hit, view)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "| %s | %v | %v | %.2f x |\n", e.name, t[0], t[1], ratio(t[1], t[0]))
	return nil
}
