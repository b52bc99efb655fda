package redistest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	masters   = 3
	slotCount = 16384
)

// ClusterProc is a Redis Cluster of three masters that hold all slots between them.
type ClusterProc struct {
	// Nodes are the masters; each may be killed, paused and restarted.
	Nodes []*Proc
	// Addrs are their addresses, in the same order.
	Addrs []string

	client *redis.ClusterClient
}

// StartCluster runs a cluster and returns once every node says that it is whole. Options apply to
// each node. The caller closes it.
func StartCluster(ctx context.Context, o Options) (*ClusterProc, error) {
	o.Lines = append([]string{
		"cluster-enabled yes",
		"cluster-node-timeout 2000",
	}, o.Lines...)
	if o.TLS != nil {
		o.Lines = append(o.Lines, "tls-cluster yes")
	}
	c := &ClusterProc{}
	for range masters {
		p, err := Start(ctx, o)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.Nodes, c.Addrs = append(c.Nodes, p), append(c.Addrs, p.Addr)
	}
	c.client = redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: c.Addrs, Password: o.Password, TLSConfig: o.clientTLS(), MaintNotificationsConfig: quiet(),
	})
	err := c.form(ctx)
	if err == nil {
		err = c.AwaitOK(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// URL is the cluster's address as edgecache's --redis takes it.
func (c *ClusterProc) URL() string {
	password := ""
	if p := c.Nodes[0].options.Password; p != "" {
		password = ":" + p + "@"
	}
	return c.Nodes[0].options.scheme() + "+cluster://" + password + strings.Join(c.Addrs, ",")
}

// Client returns the client of this cluster that Close closes.
func (c *ClusterProc) Client() *redis.ClusterClient { return c.client }

// AwaitOK returns once every node knows every other and an owner for every slot, or with the
// context's error. Call it after restarting a node.
func (c *ClusterProc) AwaitOK(ctx context.Context) error {
	for _, p := range c.Nodes {
		err := await(ctx, func() error { return clusterWhole(ctx, p.Client()) })
		if err != nil {
			return fmt.Errorf("redistest: cluster node %s: %w", p.Addr, err)
		}
	}
	return nil
}

// Close kills every node and removes what they wrote. It may be called twice.
func (c *ClusterProc) Close() error {
	var errs []error
	if c.client != nil {
		errs = append(errs, c.client.Close())
		c.client = nil
	}
	for _, p := range c.Nodes {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

// form gives each node its share of the slots and introduces the first node to the others, which
// then hear of each other by gossip.
func (c *ClusterProc) form(ctx context.Context) error {
	for i, p := range c.Nodes {
		first, last := i*slotCount/masters, (i+1)*slotCount/masters-1
		_, err := p.Client().Pipelined(ctx, func(pipe redis.Pipeliner) error {
			// equal epochs would be settled later, one by one
			pipe.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1)
			pipe.ClusterAddSlotsRange(ctx, first, last)
			pipe.ClusterMeet(ctx, "127.0.0.1", strconv.Itoa(c.Nodes[0].port))
			return nil
		})
		if err != nil {
			return fmt.Errorf("redistest: form cluster: %w", err)
		}
	}
	return nil
}

func clusterWhole(ctx context.Context, client *redis.Client) error {
	info, err := client.ClusterInfo(ctx).Result()
	if err != nil {
		return err
	}
	for _, want := range []string{
		"cluster_state:ok",
		"cluster_known_nodes:" + strconv.Itoa(masters),
		"cluster_slots_ok:" + strconv.Itoa(slotCount),
	} {
		if !strings.Contains(info, want+"\r\n") {
			return fmt.Errorf("%w: %s", errNotYet, want)
		}
	}
	return nil
}

var errNotYet = errors.New("not reached yet")

// await polls until check passes or the context ends, whose error then carries check's last one.
func await(ctx context.Context, check func() error) error {
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(pollEvery):
		}
	}
}

// quiet turns off a feature of managed services that self-hosted servers do not know.
func quiet() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}
