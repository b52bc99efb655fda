package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/bench/report"
	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

const batchNote = "Lookups of many users at once, each batch at 80 % of how many such batches can be had; the latency is that of the whole batch. " +
	"From Redis, all users alike: edgecache's memory keeps nobody, and the Redis client alone sends one pipeline. From memory: the same " +
	"node that has all of them. With --nodes the nodes are asked over HTTP in turn."

// batchSizes are how many users are asked for at once.
var batchSizes = []int{1, 10, 100, 1000}

// underWay is how many users may be asked for at once, over all batches: more would only wait.
const underWay = 2000

// bulk looks up many users, and returns an error unless all are there.
type bulk func(ctx context.Context, ids []string) error

// batcher is a contender of the batch suite.
type batcher struct {
	name  string
	fetch bulk
	close func() error
}

// measureBatch compares lookups of many at once.
func measureBatch(ctx context.Context, w *world, s *report.Suite) error {
	s.Title, s.Note = "many users at once", batchNote
	if len(w.conf.Nodes) > 0 {
		return w.sizes(ctx, s, w.remoteBatch())
	}
	if err := w.fill(ctx); err != nil {
		return err
	}
	stop := w.churn(ctx)
	defer stop()
	for _, open := range []func(context.Context) (batcher, error){w.pipeline, w.batchL2, w.batchL1} {
		b, err := open(ctx)
		if err != nil {
			return err
		}
		if err := w.sizes(ctx, s, b); err != nil {
			return err
		}
	}
	return nil
}

// sizes measures a contender with each size, and closes it.
func (w *world) sizes(ctx context.Context, s *report.Suite, b batcher) (err error) {
	defer func() { err = errors.Join(err, b.close()) }()
	all := uniform(w.conf.Seed, len(w.ids))
	for _, size := range batchSizes {
		if size > len(w.ids)/2 {
			break
		}
		c := &contender{name: b.name, workers: max(1, min(w.conf.Goroutines, underWay/size)), op: func(ctx context.Context, _ int, n uint64) error {
			ids := make([]string, size)
			for i := range ids {
				ids[i] = w.ids[all.at(n*uint64(size)+uint64(i))]
			}
			return b.fetch(ctx, ids)
		}}
		if err := w.oneSize(ctx, s, c, size); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) oneSize(ctx context.Context, s *report.Suite, c *contender, size int) error {
	name := fmt.Sprintf("of %d", size)
	w.progress.say(s.Name + ": " + c.name + ", " + name)
	rate := w.conf.Rate
	if rate == 0 {
		most, band, err := c.saturation(ctx, w.probe())
		if err != nil {
			return fmt.Errorf("%s, %s: %w", c.name, name, err)
		}
		rate = 0.8 * most
		per := float64(size)
		s.Figures = append(s.Figures, report.Figure{Contender: c.name, Name: "saturation, batches " + name, Unit: "users/s", Value: per * most,
			Band: report.Band{Low: per * band.Low, High: per * band.High}, MoreIsBetter: true})
	}
	row, _, err := w.under(ctx, c, name, rate, max(w.conf.Duration/4, 10*time.Millisecond))
	if err != nil {
		return fmt.Errorf("%s, %s: %w", c.name, name, err)
	}
	s.Rows = append(s.Rows, row)
	return nil
}

// pipeline is one pipeline of the Redis client, decoded.
func (w *world) pipeline(context.Context) (batcher, error) {
	client, err := redisconn.Open(w.redisURL)
	if err != nil {
		return batcher{}, err
	}
	return batcher{"bare go-redis pipeline", func(ctx context.Context, ids []string) error {
		pipe, replies := client.Pipeline(), make([]*redis.MapStringStringCmd, len(ids))
		for i, id := range ids {
			replies[i] = pipe.HGetAll(ctx, profile.Key(id))
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
		for i, id := range ids {
			if _, err := decode(id, replies[i].Val(), nil); err != nil {
				return err
			}
		}
		return nil
	}, client.Close}, nil
}

func (w *world) batchL2(ctx context.Context) (batcher, error) {
	n, err := w.node(ctx, node.Config{Tier: tier.Config{L1TTL: never}, NoPrewarm: true})
	if err != nil {
		return batcher{}, err
	}
	return batcher{report.Subject + " BatchGet, from Redis", w.judgedBatch("batch L2", n), n.Close}, nil
}

func (w *world) batchL1(ctx context.Context) (batcher, error) {
	n, err := w.warmed(ctx, node.Config{Tier: tier.Config{L1Bytes: w.l1Bytes()}})
	if err != nil {
		return batcher{}, err
	}
	return batcher{report.Subject + " BatchGet, from memory", w.judgedBatch("batch L1", n), n.Close}, nil
}

// judgedBatch is a node's BatchGet, whose first answer the oracle judges.
func (w *world) judgedBatch(name string, n *node.Node) bulk {
	seen := w.judge.oracle.Node(name)
	return func(ctx context.Context, ids []string) error {
		read := seen.Begin(ids[0])
		got, err := n.BatchGet(context.WithoutCancel(ctx), ids, tier.Want{})
		if err != nil {
			return err
		}
		for _, id := range ids {
			if _, ok := got.Found[id]; !ok {
				return fmt.Errorf("%w: %q: %w", errMiss, id, got.Errors[id])
			}
		}
		first := got.Found[ids[0]]
		read.End(first.Version(), first.Tier == look.FromStale)
		return nil
	}
}

// remoteBatch asks the running nodes in turn.
func (w *world) remoteBatch() batcher {
	client := w.caller()
	next := make(chan int, 1)
	next <- 0
	return batcher{report.Subject + " nodes, POST /v1/users/batch", func(ctx context.Context, ids []string) error {
		i := <-next
		next <- i + 1
		body, err := json.Marshal(map[string][]string{"ids": ids})
		if err != nil {
			return err
		}
		answer, err := w.ask(ctx, client, http.MethodPost, w.conf.Nodes[i%len(w.conf.Nodes)]+"/v1/users/batch", body)
		if err != nil {
			return err
		}
		var got struct{ Users map[string]json.RawMessage }
		if err := json.Unmarshal(answer, &got); err != nil {
			return fmt.Errorf("%w: %w", errAnswer, err)
		}
		if _, ok := got.Users[ids[0]]; !ok {
			return fmt.Errorf("%w: %q", errMiss, ids[0])
		}
		return nil
	}, func() error { client.CloseIdleConnections(); return nil }}
}
