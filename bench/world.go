package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/bench/report"
	"github.com/chatapp-ngomna/edgecache/embedded"
	"github.com/chatapp-ngomna/edgecache/internal/redact"
	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/sample"
	"github.com/chatapp-ngomna/edgecache/source/sqlite"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

const (
	// reachWithin bounds what a server may take to answer at the start.
	reachWithin = 4 * time.Second
	// writeWithin bounds one pipeline that writes or deletes users.
	writeWithin = 10 * time.Second
	// idPrefix begins the ids of made-up users in a Redis that was given.
	idPrefix = "bench-"
	// page is how many users are written to Redis at once.
	page = 500
)

// world is what the suites share: Redis, the origin, the users, and the judge.
type world struct {
	conf     Config
	redisURL string
	redis    redis.UniversalClient
	truth    truth
	ids      []string
	popular  order // the users that a chat asks for
	judge    *judge
	progress progress
	closers  []func() error
	machine  report.Machine
	clean    bool // Redis held nothing at the start
}

// truth is the source of truth.
type truth struct {
	client  *origin.Client
	foreign bool // it is somebody's: nothing is changed there
}

func (w *world) add(closer func() error) { w.closers = append(w.closers, closer) }

// close closes everything, the last first.
func (w *world) close() error {
	if w == nil {
		return nil
	}
	var errs []error
	for _, closer := range slices.Backward(w.closers) {
		errs = append(errs, closer())
	}
	w.closers = nil
	return errors.Join(errs...)
}

// open starts the parts that the Config does not name. What is there already is to be closed beside
// an error, too.
func open(ctx context.Context, c Config) (*world, error) {
	w := &world{conf: c, judge: newJudge(), progress: progress{tell: c.Progress}, machine: readMachine()}
	w.watch()
	w.makeIDs()
	if len(c.Nodes) > 0 {
		w.machine.Redis, w.machine.Origin = "that of the nodes", "that of the nodes"
		w.truth.foreign = true
		return w, nil
	}
	if err := w.openRedis(ctx); err != nil {
		return w, err
	}
	return w, w.openOrigin(ctx)
}

// watch lets the judge watch the process until close.
func (w *world) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() { w.judge.watch(ctx) })
	w.add(func() error {
		cancel()
		watching.Wait()
		return nil
	})
}

func (w *world) makeIDs() {
	w.ids = slices.Clone(w.conf.IDs)
	for i := len(w.ids); i < w.conf.Users; i++ {
		w.ids = append(w.ids, strconv.Itoa(i+1))
	}
	if w.conf.Redis != "" && w.conf.Origin == nil {
		for i, id := range w.ids {
			w.ids[i] = idPrefix + id
		}
	}
	w.popular = w.conf.Order
	if len(w.popular) == 0 {
		w.popular = zipf(w.conf.Seed, len(w.ids), w.conf.Zipf)
	}
}

func (w *world) openRedis(ctx context.Context) (err error) {
	w.redisURL, w.clean = w.conf.Redis, true
	if w.redisURL == "" {
		server, err := embedded.StartRedis()
		if err != nil {
			return err
		}
		w.add(server.Close)
		w.redisURL, w.machine.Redis = server.URL(), "embedded in this process; its figures say nothing of a real one"
	}
	if w.redis, err = redisconn.Open(w.redisURL); err != nil {
		return fmt.Errorf("%w: --redis: %s", ErrConfig, strings.TrimPrefix(err.Error(), "redisconn: "))
	}
	w.add(w.redis.Close)
	// for users to be written, and not for what is measured
	if c, ok := w.redis.(*redis.Client); ok {
		w.redis = c.WithTimeout(writeWithin)
	}
	if w.conf.Redis == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	if err := w.redis.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("%w: Redis at %s (--redis): %w", ErrUnreachable, redact.Address(w.redisURL), err)
	}
	w.machine.Redis = redisVersion(ctx, w.redis) + " at " + redact.Address(w.redisURL)
	return w.checkEmpty(ctx)
}

// checkEmpty refuses a Redis that others use, unless that is wanted.
func (w *world) checkEmpty(ctx context.Context) error {
	keys, err := w.redis.DBSize(ctx).Result()
	if err != nil {
		return fmt.Errorf("%w: Redis at %s (--redis): %w", ErrUnreachable, redact.Address(w.redisURL), err)
	}
	if w.clean = keys == 0; !w.clean && !w.conf.InUse {
		return fmt.Errorf("%w: %s holds %d keys, and profiles and changes would be written there; give a database of its own, "+
			"such as redis://HOST:PORT/15, or --redis-in-use to do it all the same", ErrInUse, redact.Address(w.redisURL), keys)
	}
	w.add(w.sweep)
	return nil
}

// redisVersion returns what a server says it is.
func redisVersion(ctx context.Context, client redis.UniversalClient) string {
	info, _ := client.Info(ctx, "server").Result()
	for line := range strings.SplitSeq(info, "\r\n") {
		if v, ok := strings.CutPrefix(line, "redis_version:"); ok {
			return "redis-server " + v
		}
	}
	return "a server that does not tell its version"
}

// sweepWithin bounds how long the end of a run may take to delete its keys.
const sweepWithin = 3 * time.Second

// sweep deletes what the run has left in a Redis that was given.
func (w *world) sweep() error {
	ctx, cancel := context.WithTimeout(context.Background(), sweepWithin)
	defer cancel()
	var err error
	if !w.truth.foreign {
		err = w.forget(ctx, w.ids)
	}
	if w.clean {
		err = errors.Join(err, w.sweepOurs(ctx))
	}
	return err
}

// sweepOurs deletes the keys of edgecache's own from a Redis that had none.
func (w *world) sweepOurs(ctx context.Context) error {
	cluster, ok := w.redis.(*redis.ClusterClient)
	if !ok {
		return sweepServer(ctx, w.redis)
	}
	return cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return sweepServer(ctx, c) })
}

func sweepServer(ctx context.Context, client redis.Cmdable) error {
	for _, pattern := range []string{stream.Name + "*", "edgecache:*", "{edgecache:*"} {
		keys := client.Scan(ctx, 0, pattern, page).Iterator()
		for keys.Next(ctx) {
			if err := client.Unlink(ctx, keys.Val()).Err(); err != nil {
				return fmt.Errorf("delete %s from Redis: %w", keys.Val(), err)
			}
		}
		if err := keys.Err(); err != nil {
			return fmt.Errorf("look for keys to delete from Redis: %w", err)
		}
	}
	return nil
}

// forget deletes users from Redis, their guards and leases with them.
func (w *world) forget(ctx context.Context, ids []string) error {
	for some := range slices.Chunk(ids, page) {
		pipe := w.redis.Pipeline()
		for _, id := range some {
			key := profile.Key(id)
			pipe.Unlink(ctx, key, "{"+key+"}:guard", "{"+key+"}:lease")
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return fmt.Errorf("delete users from Redis: %w", err)
		}
	}
	return nil
}

// fills is how often a node is sent to bring users to Redis.
const fills = 3

// fill has nodes bring all users to Redis, as any node does. One node may not be enough: what it
// got from the origin without a lease, because a node that is gone has it or Redis was late, it
// keeps to itself.
func (w *world) fill(ctx context.Context) error {
	var missing []string
	for range fills {
		n, err := w.warmed(ctx, node.Config{NoPrewarm: true})
		if err != nil {
			return err
		}
		if err := n.Close(); err != nil {
			return err
		}
		if missing, err = w.missing(ctx); err != nil || len(missing) == 0 {
			return err
		}
		if err := w.forget(ctx, missing); err != nil { // their leases
			return err
		}
	}
	return fmt.Errorf("%d users, such as %q, did not get into Redis", len(missing), missing[0])
}

// missing returns the users that Redis does not have.
func (w *world) missing(ctx context.Context) (ids []string, err error) {
	for some := range slices.Chunk(w.ids, page) {
		pipe, there := w.redis.Pipeline(), make([]*redis.IntCmd, len(some))
		for i, id := range some {
			there[i] = pipe.Exists(ctx, profile.Key(id))
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, fmt.Errorf("look for users in Redis: %w", err)
		}
		for i, id := range some {
			if there[i].Val() == 0 {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

func (w *world) openOrigin(ctx context.Context) error {
	if w.conf.Origin != nil {
		w.truth = truth{client: w.conf.Origin, foreign: true}
		w.machine.Origin = w.conf.OriginName
		ctx, cancel := context.WithTimeout(ctx, reachWithin)
		defer cancel()
		if err := w.conf.Origin.Start(ctx); err != nil {
			return fmt.Errorf("%w: the origin at %s (--origin): %w", ErrUnreachable, w.conf.OriginName, err)
		}
		return nil
	}
	w.machine.Origin = "embedded in this process, on SQLite, asked over HTTP"
	addr, err := w.embedOrigin(ctx)
	if err != nil {
		return fmt.Errorf("start the embedded origin: %w", err)
	}
	client, err := origin.NewClient(origin.ClientConfig{URL: "http://" + addr, Logger: w.conf.Logger})
	if err != nil {
		return err
	}
	w.add(client.Close)
	w.truth = truth{client: client}
	return client.Start(ctx)
}

// embedOrigin starts a source of truth with the made-up users.
func (w *world) embedOrigin(ctx context.Context) (addr string, err error) {
	dir, err := os.MkdirTemp("", "edgecache-bench-")
	if err != nil {
		return "", err
	}
	w.add(func() error { return os.RemoveAll(dir) })
	store, err := sqlite.New(sqlite.Config{Path: filepath.Join(dir, "users.db"), NoSync: true})
	if err != nil {
		return "", err
	}
	w.add(store.Close)
	s, err := source.New(source.Config{Store: store, Redis: w.redis, Logger: w.conf.Logger, Service: source.ServiceConfig{Listen: "127.0.0.1:0"}})
	if err != nil {
		return "", err
	}
	w.add(s.Close)
	if err := store.Start(ctx); err != nil {
		return "", err
	}
	if _, err := store.BulkLoad(ctx, w.users); err != nil {
		return "", err
	}
	if err := s.Start(ctx); err != nil {
		return "", err
	}
	return s.Addr(), nil
}

// users makes up the users.
func (w *world) users(yield func(*profile.Profile) bool) {
	for i, id := range w.ids {
		p := sample.User(w.conf.Seed, i+1)
		if p.ID = id; !yield(p) {
			return
		}
	}
}

// never is a time to live so short that memory answers nobody.
const never = time.Nanosecond

// node starts a node; conf's Redis and origin are the world's.
func (w *world) node(ctx context.Context, conf node.Config) (*node.Node, error) {
	conf.RedisURL, conf.Origin, conf.Logger = w.redisURL, w.truth.client, w.conf.Logger
	conf.NoPrewarm = conf.NoPrewarm || !w.clean // who is active there is somebody else's to know
	n, err := node.New(conf)
	if err != nil {
		return nil, err
	}
	if err := n.Start(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// warmed starts a node that has all users in memory, so far as they fit.
func (w *world) warmed(ctx context.Context, conf node.Config) (*node.Node, error) {
	n, err := w.node(ctx, conf)
	if err != nil {
		return nil, err
	}
	for range 10 {
		misses, err := w.readAll(ctx, n)
		if err != nil {
			return nil, errors.Join(err, n.Close())
		}
		if misses == 0 {
			break
		}
	}
	return n, nil
}

// readAll reads all users once, and returns how many were not in memory.
func (w *world) readAll(ctx context.Context, n *node.Node) (misses int, err error) {
	for some := range slices.Chunk(w.ids, page) {
		got, err := n.BatchGet(ctx, some, tier.Want{})
		if err != nil {
			return 0, err
		}
		if len(got.Found) < len(some) {
			return 0, fmt.Errorf("%d of the users %q to %q are there; want all", len(got.Found), some[0], some[len(some)-1])
		}
		for _, r := range got.Found {
			if r.Tier != look.FromL1 {
				misses++
			}
		}
	}
	return misses, nil
}

func (w *world) result(began time.Time) *report.Result {
	c := &w.conf
	return &report.Result{
		Schema: report.Schema, Version: c.Version, Began: began, Machine: w.machine,
		Parameters: report.Parameters{
			Users: len(w.ids), Duration: int64(c.Duration), Rate: c.Rate, Zipf: c.Zipf, Trace: c.OrderName,
			Goroutines: c.Goroutines, Nodes: len(c.Nodes), Seed: c.Seed,
		},
	}
}

func (w *world) verdict() report.Verdict { return w.judge.verdict() }
