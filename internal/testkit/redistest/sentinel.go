package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

const (
	// MasterName is what the sentinels call the master.
	MasterName = "edgecache"

	sentinels = 3
	quorum    = 2
)

// SentinelProc is a master and a replica, watched by three sentinels that fail over half a second
// after the master stops answering.
type SentinelProc struct {
	// Master and Replica are named by their first role; a failover swaps it, not the fields.
	Master, Replica *Proc
	// Sentinels may be killed and restarted like any server.
	Sentinels []*Proc

	client *redis.Client
}

// StartSentinel runs the five processes and returns once every sentinel knows all the others and
// could fail over. Options apply to master and replica. The caller closes it.
func StartSentinel(ctx context.Context, o Options) (*SentinelProc, error) {
	s := &SentinelProc{}
	if err := s.start(ctx, o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.client = redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: MasterName, SentinelAddrs: s.addrs(), Password: o.Password, TLSConfig: o.clientTLS(),
	})
	return s, nil
}

// URL is the address of the whole as edgecache's --redis takes it.
func (s *SentinelProc) URL() string {
	password := ""
	if p := s.Master.options.Password; p != "" {
		password = ":" + p + "@"
	}
	return s.Master.options.scheme() + "+sentinel://" + password + strings.Join(s.addrs(), ",") + "/" + MasterName
}

// Client returns the client that follows the master through failovers and that Close closes.
func (s *SentinelProc) Client() *redis.Client { return s.client }

// MasterAddr asks the sentinels, in order, where the master is.
func (s *SentinelProc) MasterAddr(ctx context.Context) (string, error) {
	var errs []error
	for _, p := range s.Sentinels {
		addr, err := masterAddr(ctx, p)
		if err == nil {
			return addr, nil
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("redistest: master address: %w", errors.Join(errs...))
}

// AwaitFailover returns the address of the new master once every sentinel that answers names one
// other than old.
func (s *SentinelProc) AwaitFailover(ctx context.Context, old string) (string, error) {
	now := old
	err := await(ctx, func() error {
		for _, p := range s.Sentinels {
			addr, err := masterAddr(ctx, p)
			if err == nil && addr == old {
				return fmt.Errorf("%w: %s still names %s", errNotYet, p.Addr, old)
			}
			if err == nil {
				now = addr
			}
		}
		if now == old {
			return fmt.Errorf("%w: no sentinel answers", errNotYet)
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("redistest: failover: %w", err)
	}
	return now, nil
}

// Close kills the five processes and removes what they wrote. It may be called twice.
func (s *SentinelProc) Close() error {
	var errs []error
	if s.client != nil {
		errs = append(errs, s.client.Close())
		s.client = nil
	}
	for _, p := range append(s.Sentinels, s.Replica, s.Master) {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	return errors.Join(errs...)
}

func (s *SentinelProc) addrs() []string {
	addrs := make([]string, 0, sentinels)
	for _, p := range s.Sentinels {
		addrs = append(addrs, p.Addr)
	}
	return addrs
}

func (s *SentinelProc) start(ctx context.Context, o Options) error {
	if err := s.startData(ctx, o); err != nil {
		return err
	}
	if err := s.startSentinels(ctx, o); err != nil {
		return err
	}
	return s.awaitAgreed(ctx)
}

func (s *SentinelProc) startData(ctx context.Context, o Options) (err error) {
	if s.Master, err = Start(ctx, o); err != nil {
		return err
	}
	o.Lines = append([]string{fmt.Sprintf("replicaof 127.0.0.1 %d", s.Master.port)}, o.Lines...)
	if s.Replica, err = Start(ctx, o); err != nil {
		return err
	}
	// In step before a sentinel looks: its first look decides, the next comes ten seconds later.
	return await(ctx, func() error { return inStep(ctx, s.Replica) })
}

func inStep(ctx context.Context, replica *Proc) error {
	info, err := replica.Client().Info(ctx, "replication").Result()
	if err == nil && !strings.Contains(info, "master_link_status:up\r\n") {
		err = fmt.Errorf("%w: replica in step", errNotYet)
	}
	return err
}

func (s *SentinelProc) startSentinels(ctx context.Context, o Options) error {
	lines := []string{
		fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d %d", MasterName, s.Master.port, quorum),
		"sentinel down-after-milliseconds " + MasterName + " 500",
		"sentinel failover-timeout " + MasterName + " 3000",
	}
	if o.Password != "" {
		lines = append(lines, "sentinel auth-pass "+MasterName+" "+o.Password)
	}
	for range sentinels {
		p, err := Start(ctx, Options{Lines: lines, TLS: o.TLS, sentinel: true})
		if err != nil {
			return err
		}
		s.Sentinels = append(s.Sentinels, p)
	}
	return nil
}

func (s *SentinelProc) awaitAgreed(ctx context.Context) error {
	for _, p := range s.Sentinels {
		if err := await(ctx, func() error { return agreed(ctx, p) }); err != nil {
			return fmt.Errorf("redistest: sentinel %s: %w", p.Addr, err)
		}
	}
	return nil
}

// agreed passes when this sentinel sees the other two, the replica, and the replica's link.
func agreed(ctx context.Context, p *Proc) error {
	c := redis.NewSentinelClient(p.clientOptions())
	defer c.Close()
	master, err := c.Master(ctx, MasterName).Result()
	if err != nil {
		return err
	}
	if got := master["num-other-sentinels"]; got != strconv.Itoa(sentinels-1) {
		return fmt.Errorf("%w: %s other sentinels", errNotYet, got)
	}
	replicas, err := c.Replicas(ctx, MasterName).Result()
	if err != nil {
		return err
	}
	if len(replicas) != 1 || replicas[0]["master-link-status"] != "ok" {
		return fmt.Errorf("%w: a replica in step", errNotYet)
	}
	return nil
}

func masterAddr(ctx context.Context, p *Proc) (string, error) {
	o := p.clientOptions()
	o.MaxRetries = -1
	c := redis.NewSentinelClient(o)
	defer c.Close()
	hostPort, err := c.GetMasterAddrByName(ctx, MasterName).Result()
	if err != nil {
		return "", fmt.Errorf("sentinel %s: %w", p.Addr, err)
	}
	if len(hostPort) != 2 {
		return "", fmt.Errorf("sentinel %s: answered %q", p.Addr, hostPort)
	}
	return net.JoinHostPort(hostPort[0], hostPort[1]), nil
}
