package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chatapp-ngomna/edgecache/api"
	"github.com/chatapp-ngomna/edgecache/embedded"
	"github.com/chatapp-ngomna/edgecache/internal/redact"
	"github.com/chatapp-ngomna/edgecache/internal/redisconn"
	"github.com/chatapp-ngomna/edgecache/internal/tracing"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier"
)

// serveSettings are the flags of serve.
type serveSettings struct {
	listen       string
	redis        string // empty: embedded
	redisURL     string // where the embedded one is, once it runs
	origin       string // empty: embedded
	originListen string
	sampleUsers  int
	dataDir      string
	l1MiB        int
	streamMaxLen int
	drainDelay   time.Duration
	fenceAfter   time.Duration
	cluster      clusterSettings
	hedge        bool
	access       accessSettings
	redisFiles   redisFiles
	toOrigin     originAccess
	times        times
	functions    functionSettings
	foreign      foreignOrigin
	wait         waiting
	store        storeSettings
	traces       traceSettings
	tracer       *tracing.Tracer // nil for none
	demo         bool
	debug        debugSettings
}

func (p *program) serveCommand() *cobra.Command {
	var s serveSettings
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve profiles from memory, Redis and the source of truth",
		Long: `Runs a node: profiles over HTTP, from its memory, from Redis, or from the source of truth.
Without --redis and --origin it embeds both, to try it out; what is embedded is not for
production.

With JWT_SECRET in the environment, or JWT_SECRET_FILE, each request needs a bearer token, see
'edgecache token', and the node signs its own requests to --origin. Without it, and without
--token-key-file, the node listens on this machine only.`,
		Example: `  edgecache serve
  curl -i 127.0.0.1:8003/v1/users/123

  edgecache serve --redis redis://10.0.0.5:6379 --origin http://10.0.0.6:8001
  edgecache serve --redis redis+sentinel://s1:26379,s2:26379/mymaster --origin http://10.0.0.6:8001`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.foreign.check(s.origin); err != nil {
				return err
			}
			for _, name := range []string{"sample-users", "data-dir"} {
				if s.origin != "" && cmd.Flags().Changed(name) {
					return usagef("--%s is for the embedded origin, and --origin names another; leave one out", name)
				}
			}
			if err := s.cluster.check(cmd); err != nil {
				return err
			}
			return p.runServe(cmd.Context(), s)
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.listen, "listen", "127.0.0.1:8003", "`HOST:PORT` to serve on [CHAT_FILE_SERVICE_PORT]")
	f.StringVar(&s.redis, "redis", "", "`URL` of Redis; embedded when not given [REDIS_URL, REDIS_HOST, REDIS_PORT]")
	f.StringVar(&s.origin, "origin", "", "`URL` of the source of truth; embedded when not given [AUTH_USER_SERVICE_URL]")
	s.foreign.flags(f)
	s.wait.flags(f)
	f.StringVar(&s.originListen, "origin-listen", "127.0.0.1:8001", "`HOST:PORT` of the embedded origin [AUTH_USER_SERVICE_PORT]")
	f.IntVar(&s.sampleUsers, "sample-users", 1000, "make up `N` users in the embedded origin, with the ids 1 to N")
	f.StringVar(&s.dataDir, "data-dir", "", "`DIR` that keeps the embedded origin's users; a temporary one when not given")
	f.IntVar(&s.l1MiB, "l1-mib", 256, "memory for profiles, in `MiB`")
	streamMaxLenFlag(f, &s.streamMaxLen)
	drainDelayFlag(f, &s.drainDelay)
	f.DurationVar(&s.fenceAfter, "fence-after", 3*time.Second,
		"answer from memory for `TIME` after the stream last proved that it is fresh; 250ms or more, less costs Redis calls")
	s.cluster.flags(cmd)
	f.BoolVar(&s.hedge, "origin-hedge", false, "ask the origin a second time when it is slower than usual, for at most one lookup in 20")
	s.access.flags(f)
	s.redisFiles.flags(cmd)
	s.toOrigin.flags(f)
	s.times.flags(f)
	s.functions.flags(f)
	s.store.flags(f)
	s.traces.flags(f)
	f.BoolVar(&s.demo, "demo", false, "run three embedded nodes with traffic, and have the dashboard at /ui break things; for this machine only")
	s.debug.flags(f)
	return cmd
}

// streamMaxLenFlag is the same for all who write to the stream: the least of them wins.
func streamMaxLenFlag(f *pflag.FlagSet, n *int) {
	f.IntVar(n, "stream-max-len", stream.DefaultMaxLen, "keep about `N` entries of the stream of changes; the same in all that write to it")
}

// drainDelayFlag is the same for all who serve.
func drainDelayFlag(f *pflag.FlagSet, d *time.Duration) {
	f.DurationVar(d, "drain-delay", 0, "when told to end, go on serving for `TIME`, not ready, so that clients and balancers turn away")
}

func checkDrainDelay(d time.Duration) error {
	if d < 0 || d > time.Hour {
		return usagef("--drain-delay %v: want 0 to 1h", d)
	}
	return nil
}

func checkStreamMaxLen(n int) error {
	if n < 1 {
		return usagef("--stream-max-len %d: want 1 or more", n)
	}
	return nil
}

func (p *program) runServe(ctx context.Context, s serveSettings) error {
	log, err := p.logger()
	if err != nil {
		return err
	}
	if err := s.access.settle(p, log); err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return err
	}
	up := &parts{log: log, drain: s.drainDelay}
	s.wait.log = log
	server, err := up.startNode(ctx, &s)
	if err != nil {
		return closeAfter(up, err)
	}
	s.listen = server.Addr().String()
	fmt.Fprint(p.stdout, s.greeting())
	defer p.sayStarted(log, "a node on "+s.listen)()
	select {
	case <-ctx.Done():
		log.Info("stopping")
		return up.close()
	case <-server.Done(): // the listener failed
		return errors.Join(server.Close(), up.close())
	}
}

// closeAfter closes what was started before err. A start that a signal cut short is no failure.
func closeAfter(up *parts, err error) error {
	_ = up.close() // err says more
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// check refuses what cannot work before anything is started.
func (s serveSettings) check() error {
	if err := s.wait.check(); err != nil {
		return err
	}
	if err := s.checkDemo(); err != nil {
		return err
	}
	if err := s.debug.check(s.access.tokens); err != nil {
		return err
	}
	if s.l1MiB < 1 {
		return usagef("--l1-mib %d: want 1 or more", s.l1MiB)
	}
	if err := checkStreamMaxLen(s.streamMaxLen); err != nil {
		return err
	}
	if err := checkDrainDelay(s.drainDelay); err != nil {
		return err
	}
	if s.fenceAfter < node.MinFenceAfter {
		return usagef("--fence-after %v: want %v or more", s.fenceAfter, node.MinFenceAfter)
	}
	if err := s.store.check(); err != nil {
		return err
	}
	if err := s.times.check(); err != nil {
		return err
	}
	if err := s.toOrigin.check(s.origin); err != nil {
		return err
	}
	if s.origin == "" && s.access.tokens.KeyFile != "" && s.access.tokens.Secret == "" {
		return usagef("--token-key-file needs JWT_SECRET too, or --origin URL: nothing else could sign for the embedded origin")
	}
	redisURL, err := s.redisFiles.complete(s.redis)
	if err != nil {
		return err
	}
	if redisURL != "" {
		client, err := redisconn.Open(redisURL)
		if err != nil {
			return usageRedis(err)
		}
		_ = client.Close() // it never connected
	}
	if s.origin != "" {
		if u, err := url.Parse(s.origin); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return usagef("--origin: %s is no URL of a service; want http://HOST:PORT", redactURL(s.origin))
		}
	}
	return checkListen("listen", s.listen)
}

// redactURL returns raw with its passwords hidden, whether it parses or not.
func redactURL(raw string) string { return redact.Address(raw) }

// embedRedis starts a Redis in this process, which a demonstration can break, and returns its URL.
func (up *parts) embedRedis(s *serveSettings) (string, error) {
	redis, err := embedded.StartRedis()
	if err != nil {
		return "", err
	}
	up.add(redis.Close)
	s.redisURL = redis.URL()
	if !s.demo {
		return s.redisURL, nil
	}
	if up.demo, err = newDemo(redis, up.log); err != nil {
		return "", err
	}
	up.add(up.demo.unplug)
	return s.redisURL, nil
}

// startNode starts Redis and the origin where s names none, then the node, then the API. It leaves
// in s where they are.
func (up *parts) startNode(ctx context.Context, s *serveSettings) (*api.Server, error) {
	log := up.log
	redisURL, err := s.redisFiles.complete(s.redis)
	if err != nil {
		return nil, err
	}
	if redisURL == "" {
		log = slog.New(severe{log.Handler()})
		if redisURL, err = up.embedRedis(s); err != nil {
			return nil, err
		}
	}
	if s.tracer, err = up.trace(s.traces, "edgecache-node"); err != nil {
		return nil, err
	}
	client, err := up.connectOrigin(ctx, s, redisURL)
	if err != nil {
		return nil, err
	}
	conf := node.Config{RedisURL: redisURL, Origin: client, Tier: tier.Config{L1Bytes: int64(s.l1MiB) << 20, FenceAfter: s.fenceAfter},
		StreamMaxLen: int64(s.streamMaxLen), Store: s.store.node(), Logger: log, Version: build()}
	s.times.apply(&conf)
	if s.tracer != nil {
		conf.Tier.Trace, conf.Tier.TraceID = s.tracer.Span, s.tracer.TraceID
	}
	if err := s.cluster.apply(&conf, s.listen); err != nil {
		return nil, err
	}
	if conf.Functions, err = s.functions.node(); err != nil {
		return nil, err
	}
	if up.demo != nil {
		conf = up.demo.config(conf, 0, nil)
	}
	n, err := node.New(conf)
	if err != nil {
		return nil, usagef("%w", err)
	}
	up.add(n.Close)
	if err := up.meetOrigin(ctx, s, n, client.Start); err != nil {
		return nil, err
	}
	if err := s.wait.reach(ctx, "Redis", n.Start); err != nil {
		return nil, startError(err, redisURL)
	}
	if up.demo != nil {
		up.add(up.demo.stop)
		if err := up.demo.start(ctx, s.wait, n, conf, s.originListen); err != nil {
			return nil, err
		}
	}
	return up.startAPI(ctx, n, s)
}

// startAPI serves a node that has started.
func (up *parts) startAPI(ctx context.Context, n *node.Node, s *serveSettings) (*api.Server, error) {
	server, err := up.newAPI(n, s)
	if err != nil {
		return nil, err
	}
	up.add(server.Close)
	if _, err := up.startDebug(ctx, s.debug, s.access.tokens); err != nil {
		return nil, err
	}
	if err := server.Start(ctx); err != nil {
		return nil, listenError(err, "listen", s.listen)
	}
	return server, nil
}

// newAPI returns the node's API, which does not listen yet.
func (up *parts) newAPI(n *node.Node, s *serveSettings) (*api.Server, error) {
	conf := api.Config{Node: n, Listen: s.listen, Tokens: s.access.tokens, Access: s.access.access, WorkTimeout: s.times.work(),
		Functions: s.functions.api(n), DrainDelay: s.drainDelay, DrainTimeout: 2 * time.Second, Logger: up.log}
	if s.tracer != nil {
		conf.Trace = s.tracer
	}
	if up.demo != nil {
		conf.Demo = up.demo
	}
	var err error
	if s.access.tls.Any() {
		if conf.TLS, err = s.access.tls.Server(up.log); err != nil {
			return nil, usagef("--tls-cert, --tls-key, --tls-client-ca: %w", err)
		}
	}
	server, err := api.New(conf)
	if err != nil {
		return nil, usagef("%s", strings.TrimPrefix(err.Error(), api.ErrConfig.Error()+": "))
	}
	return server, nil
}

// startError says which of what a node needs did not answer.
func startError(err error, redisURL string) error {
	if errors.Is(err, node.ErrGossip) {
		return fmt.Errorf("cannot take part in the cluster (--cluster-bind): %w", err)
	}
	return fmt.Errorf("cannot reach Redis at %s (--redis): %w", redactURL(redisURL), err)
}

// connectOrigin returns a client of the origin that s names, or of one that it embeds; the client
// has not started.
func (up *parts) connectOrigin(ctx context.Context, s *serveSettings, redisURL string) (*origin.Client, error) {
	target := s.origin
	if target == "" {
		addr, err := up.embedOrigin(ctx, s, redisURL)
		if err != nil {
			return nil, err
		}
		s.originListen, target = addr, "http://"+addr
		if up.demo != nil {
			if addr, err = up.demo.before(addr); err != nil {
				return nil, err
			}
			target = "http://" + addr
		}
	}
	conf := origin.ClientConfig{URL: target, Hedge: s.hedge, Logger: up.log}
	s.times.applyOrigin(&conf)
	if s.tracer != nil {
		conf.Trace = s.tracer.Call
	}
	if s.origin != "" {
		s.foreign.apply(&conf)
	}
	if err := s.toOrigin.apply(&conf, s.access.tokens, up.log); err != nil {
		return nil, err
	}
	client, err := origin.NewClient(conf)
	if err != nil {
		return nil, usagef("--origin: %w", err)
	}
	up.add(client.Close)
	return client, nil
}

func (up *parts) embedOrigin(ctx context.Context, s *serveSettings, redisURL string) (string, error) {
	dir := s.dataDir
	if dir == "" {
		temp, err := os.MkdirTemp("", "edgecache-")
		if err != nil {
			return "", fmt.Errorf("make a folder for the embedded origin: %w", err)
		}
		up.add(func() error { return os.RemoveAll(temp) })
		dir = temp
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the folder of --data-dir: %w", err)
	}
	return up.startOrigin(ctx, originSettings{wait: s.wait, listen: s.originListen, listenFlag: "origin-listen", redis: redisURL, access: s.access.embedded(),
		db: "sqlite:" + filepath.Join(dir, "users.db"), sampleUsers: s.sampleUsers, streamMaxLen: s.streamMaxLen, traces: s.traces, noSync: s.dataDir == "", newIsNormal: s.dataDir == "", drain: time.Second})
}
