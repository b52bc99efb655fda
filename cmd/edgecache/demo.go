package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/auth/gate"
	"github.com/chatapp-ngomna/edgecache/embedded"
	"github.com/chatapp-ngomna/edgecache/gossip"
	"github.com/chatapp-ngomna/edgecache/internal/wire"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/ui"
)

// Names of the faults.
const (
	faultRedis  = "redis"
	faultCut    = "cut"
	faultOrigin = "origin"
)

// demoNodes are the names of the nodes of a demonstration; the first is the one that is served, and
// the last can be cut off. Never changed.
var demoNodes = []string{"douala", "yaounde", "bafoussam"}

// demoSlow is how much later each piece of an answer of the origin comes while it is slow.
const demoSlow = 600 * time.Millisecond

// demo is three nodes in one process, traffic for them, and what is broken.
type demo struct {
	redis    *embedded.Redis
	toRedis  *wire.Wire // of the last node
	toOrigin *wire.Wire // of all nodes
	key      []byte
	judge    *judge
	nodes    []*node.Node
	end      context.CancelFunc
	traffic  sync.WaitGroup
	log      *slog.Logger

	mu sync.Mutex
	on map[string]bool // guarded by mu
}

// checkDemo refuses a demonstration with parts of others, or one that others could reach.
func (s serveSettings) checkDemo() error {
	switch {
	case !s.demo:
		return nil
	case s.redis != "" || s.origin != "":
		return usagef("--demo breaks what is embedded, and --redis or --origin names another; leave them out")
	case s.cluster.bind != "":
		return usagef("--demo has nodes of its own; leave --cluster-bind out")
	case s.access.tokens.Enabled():
		return usagef("--demo is for this machine only, without tokens; leave JWT_SECRET and --token-key-file out")
	case !gate.Loopback(s.listen):
		return usagef("--demo with --listen %s: it is for this machine only; want 127.0.0.1, ::1 or localhost", s.listen)
	case s.sampleUsers < demoUsers:
		return usagef("--demo with --sample-users %d: want %d or more", s.sampleUsers, demoUsers)
	}
	return nil
}

func newDemo(redis *embedded.Redis, log *slog.Logger) (*demo, error) {
	d := &demo{redis: redis, key: gossip.NewKey(), on: map[string]bool{}, log: log, end: func() {}}
	var err error
	d.toRedis, err = wire.New(strings.TrimPrefix(redis.URL(), "redis://"))
	return d, err
}

// before puts the wire before the origin that listens at addr, and returns its address.
func (d *demo) before(addr string) (string, error) {
	var err error
	if d.toOrigin, err = wire.New(addr); err != nil {
		return "", err
	}
	return d.toOrigin.Addr(), nil
}

// config makes conf that of the i-th node.
func (d *demo) config(conf node.Config, i int, seeds []string) node.Config {
	conf.Cluster = &gossip.Config{Name: demoNodes[i], Bind: "127.0.0.1:0", Keys: [][]byte{d.key}, Seeds: seeds}
	if i == len(demoNodes)-1 {
		conf.RedisURL = "redis://" + d.toRedis.Addr()
	}
	return conf
}

// start starts the other nodes and the traffic. first is the node that is served, conf its
// settings, and truth the address of the origin itself.
func (d *demo) start(ctx context.Context, wait waiting, first *node.Node, conf node.Config, truth string) error {
	d.nodes = []*node.Node{first}
	seeds := []string{first.Cluster().Members[0].Addr}
	for i := 1; i < len(demoNodes); i++ {
		conf := d.config(conf, i, seeds)
		conf.Functions = nil
		n, err := node.New(conf)
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		d.nodes = append(d.nodes, n)
		if err := wait.reach(ctx, "Redis", n.Start); err != nil {
			return fmt.Errorf("demo: start node %s: %w", demoNodes[i], err)
		}
	}
	writer, err := origin.NewClient(origin.ClientConfig{URL: "http://" + truth})
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	var run context.Context
	run, d.end = context.WithCancel(context.WithoutCancel(ctx))
	d.judge = newJudge(d)
	d.traffic.Go(func() { defer writer.Close(); d.judge.write(run, writer) })
	for i, n := range d.nodes {
		d.traffic.Go(func() { d.judge.read(run, i, n) })
	}
	return nil
}

// stop ends the traffic and the other nodes.
func (d *demo) stop() error {
	d.end()
	d.traffic.Wait()
	var errs []error
	for _, n := range d.nodes[min(1, len(d.nodes)):] {
		errs = append(errs, n.Close())
	}
	return errors.Join(errs...)
}

// unplug closes the wires.
func (d *demo) unplug() error {
	err := d.toRedis.Close()
	if d.toOrigin != nil {
		err = errors.Join(err, d.toOrigin.Close())
	}
	return err
}

// Break implements ui.Demo.
func (d *demo) Break(fault string, on bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.on[fault] == on && isFault(fault) {
		return nil
	}
	var err error
	switch fault {
	case faultRedis:
		if on {
			d.redis.Kill()
		} else {
			err = d.redis.Revive()
		}
	case faultCut:
		d.toRedis.Cut(on)
	case faultOrigin:
		d.toOrigin.Slow(map[bool]time.Duration{true: demoSlow}[on])
	default:
		return fmt.Errorf("%w: %.40q; want %s, %s or %s", ui.ErrFault, fault, faultRedis, faultCut, faultOrigin)
	}
	if err != nil {
		return err
	}
	d.on[fault] = on
	d.log.Info("demo", "fault", fault, "on", on)
	d.judge.changed()
	return nil
}

func isFault(name string) bool { return name == faultRedis || name == faultCut || name == faultOrigin }

// connected reports whether a node is cut off from nothing.
func (d *demo) connected(i int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.on[faultRedis] && !(d.on[faultCut] && i == len(demoNodes)-1)
}

// State implements ui.Demo.
func (d *demo) State() ui.DemoState {
	d.mu.Lock()
	on := map[string]bool{faultRedis: d.on[faultRedis], faultCut: d.on[faultCut], faultOrigin: d.on[faultOrigin]}
	d.mu.Unlock()
	title := func(fault, begin, end string) string {
		if on[fault] {
			return end
		}
		return begin
	}
	return ui.DemoState{Faults: []ui.Fault{
		{Name: faultRedis, On: on[faultRedis], Title: title(faultRedis, "Kill Redis", "Start Redis again"),
			Says: "After 3 s memory is fenced: each answer then comes from the origin, or is marked stale."},
		{Name: faultCut, On: on[faultCut], Title: title(faultCut, "Cut a node off", "Mend its wire"),
			Says: demoNodes[len(demoNodes)-1] + " hears nothing from Redis any more; the other nodes go on."},
		{Name: faultOrigin, On: on[faultOrigin], Title: title(faultOrigin, "Slow the origin", "Let it be fast"),
			Says: fmt.Sprintf("Its answers come %v later; users in memory or in Redis are not concerned.", demoSlow)},
	}, Promises: d.judge.promises()}
}
