// Package store measures what a store on disk (L1.5) is worth at a restart, and what it costs: a
// node restarted under load with and without it, thirty nodes restarted one after another,
// processor time under changes, hits of L1 and of the store.
//
//	go run -C benchmarks . store -out results
//
// Nodes run in this process and end in order; what kill -9 does is for TestKilledProcesses in
// package node.
package store

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source/sample"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/kv"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
)

// params are the sizes of a run.
type params struct {
	users, nodes, rate, changes int
	lasts                       time.Duration
	out                         string
}

// Run is the command store.
func Run(ctx context.Context, args []string, stdout io.Writer) error {
	var p params
	f := flag.NewFlagSet("store", flag.ContinueOnError)
	f.IntVar(&p.users, "users", 100_000, "users; a tenth of them are asked for nine times in ten")
	f.IntVar(&p.nodes, "nodes", 30, "nodes that are restarted one after another")
	f.IntVar(&p.rate, "rate", 2000, "lookups a second of each node that is measured")
	f.IntVar(&p.changes, "changes", 200, "changes a second")
	f.DurationVar(&p.lasts, "for", 5*time.Second, "how long a restarted node is measured")
	f.StringVar(&p.out, "out", "", "folder for store.md; default none is written")
	if err := f.Parse(args); err != nil {
		return err
	}
	if p.users < 100 || p.nodes < 1 || p.rate < 1 || p.changes < 0 || p.lasts < time.Second {
		return errors.New("want -users from 100, -nodes and -rate from 1, -changes from 0, -for from 1s")
	}
	text, err := report(ctx, p)
	if _, werr := io.WriteString(stdout, text); err != nil || werr != nil || p.out == "" {
		return errors.Join(err, werr)
	}
	return os.WriteFile(filepath.Join(p.out, "store.md"), []byte(text), 0o644)
}

// report measures everything, and says it as Markdown.
func report(ctx context.Context, p params) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "# A store on disk\n\n%d users, %d changes/s; Redis on the same machine, as are the lookups and the writer; "+
		"`go run -C benchmarks . store -out results`.\n\n", p.users, p.changes)
	for _, part := range []func(context.Context, params, *strings.Builder) error{restarts, rolling, costs} {
		if err := part(ctx, p, &b); err != nil {
			return b.String(), err
		}
	}
	return b.String(), nil
}

// world is a Redis, an origin that counts, and a writer.
type world struct {
	params
	server *redistest.Proc
	client redis.UniversalClient
	lower  *l2.Redis
	asked  atomic.Int64
	dir    string
	rnd    *rand.Rand
}

func newWorld(ctx context.Context, p params) (w *world, err error) {
	w = &world{params: p, rnd: rand.New(rand.NewPCG(1, 2))}
	if w.dir, err = os.MkdirTemp("", "edgecache-store-"); err != nil {
		return nil, err
	}
	if w.server, err = redistest.Start(ctx, redistest.Options{}); err != nil {
		return nil, errors.Join(err, os.RemoveAll(w.dir))
	}
	if w.client, err = redisconn.Open(w.server.URL()); err == nil {
		w.lower, err = l2.New(l2.Config{Client: w.client})
	}
	if err != nil {
		err = errors.Join(err, w.close())
	}
	return w, err
}

func (w *world) close() (err error) {
	if w.client != nil {
		err = w.client.Close()
	}
	return errors.Join(err, w.server.Close(), os.RemoveAll(w.dir))
}

// load is the origin: every user there is.
func (w *world) load(_ context.Context, ids []string) (profile.Batch, error) {
	b := profile.Batch{Found: map[string]*profile.Profile{}}
	w.asked.Add(int64(len(ids)))
	for _, id := range ids {
		n, err := strconv.Atoi(id)
		if err != nil {
			return b, err
		}
		b.Found[id] = sample.User(1, n)
		b.Found[id].ID = id
	}
	return b, nil
}

// open returns a node that has not started, with a store in the folder of that name; none when it
// is "".
func (w *world) open(name string) (*node.Node, error) {
	conf := node.Config{RedisURL: w.server.URL(), Origin: tier.LoaderFunc(w.load), NoPrewarm: true, NoWorker: true,
		Tier: tier.Config{L1Bytes: 64 << 20}}
	if name != "" {
		conf.Store = &kv.Config{Dir: filepath.Join(w.dir, name)}
		conf.NoWatch = name == alone
	}
	return node.New(conf)
}

// alone is the store of a node that compares nothing with Redis.
const alone = "hit"

// start is open and Start.
func (w *world) start(ctx context.Context, name string) (*node.Node, error) {
	n, err := w.open(name)
	if err != nil {
		return nil, err
	}
	if err := n.Start(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// id draws a user: nine times in ten one of the first tenth.
func (w *world) id() string {
	if w.rnd.IntN(10) > 0 {
		return strconv.Itoa(1 + w.rnd.IntN(w.users/10))
	}
	return strconv.Itoa(1 + w.rnd.IntN(w.users))
}

// warm has a node asked for all users that are asked for often.
func (w *world) warm(ctx context.Context, n *node.Node) error {
	for from := 1; from <= w.users/10; from += 500 {
		ids := make([]string, 0, 500)
		for id := from; id < from+500 && id <= w.users/10; id++ {
			ids = append(ids, strconv.Itoa(id))
		}
		if _, err := n.BatchGet(ctx, ids, tier.Want{}); err != nil {
			return err
		}
	}
	return nil
}

// change changes users until ctx ends.
func (w *world) change(ctx context.Context, rate int) error {
	if rate == 0 {
		return nil
	}
	publisher, err := stream.NewPublisher(stream.PublisherConfig{Client: w.server.Client()})
	if err != nil {
		return err
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for version := time.Now().UnixMilli(); ; version++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		p := sample.User(1, 1+rnd.IntN(w.users))
		p.UpdatedAt = version
		if _, err := w.lower.Apply(ctx, p); err != nil && ctx.Err() == nil {
			return err
		}
		e := stream.Event{Kind: profile.Updated, UserID: p.ID, Version: p.UpdatedAt, Profile: p}
		if _, err := publisher.Publish(ctx, e); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// reads is how often Redis was asked for a whole record, and how often for the right to load one.
func reads(ctx context.Context, c *redis.Client) (records int64, err error) {
	info, err := c.Info(ctx, "commandstats").Result()
	if err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(info, "\r\n") {
		if rest, ok := strings.CutPrefix(line, "cmdstat_hgetall:calls="); ok {
			number, _, _ := strings.Cut(rest, ",")
			return strconv.ParseInt(number, 10, 64)
		}
	}
	return 0, nil
}
