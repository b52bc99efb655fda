package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/chatapp-ngomna/edgecache/internal/life"
)

const (
	resolveFor = 5 * time.Second
	// maxSeedAddresses is how many addresses are tried in one attempt; a name may have thousands.
	maxSeedAddresses = 64
	joinsAtOnce      = 8
)

// rejoin goes on for as long as the node runs: seeds that are not members are joined again. That a
// side of a split has forgotten the other is healed by nothing else. err is how the first attempt
// ended.
func (c *Cluster) rejoin(ctx context.Context, err error) {
	for attempt := 0; ctx.Err() == nil; err = c.reachSeeds(ctx) {
		if attempt++; err == nil {
			attempt = 0
		}
		pause := c.pause(attempt)
		if err != nil && ctx.Err() == nil {
			c.counters.joinFailures.Add(1)
			c.cfg.Logger.WarnContext(ctx, "gossip: seeds are missing", "attempt", attempt, "error", err, "pause", pause)
		}
		life.Wait(ctx, pause)
	}
}

// pause doubles from rejoinFirst to rejoinMost with each failed attempt, less a random half, so
// that nodes do not come back in step. After an attempt that did not fail it is the longest.
func (c *Cluster) pause(attempt int) time.Duration {
	if attempt == 0 {
		return life.Jitter(c.cfg.timing.rejoinMost)
	}
	return life.Backoff(attempt, c.cfg.timing.rejoinFirst, c.cfg.timing.rejoinMost)
}

// reachSeeds joins what is missing.
func (c *Cluster) reachSeeds(ctx context.Context) error {
	missing, err := c.missingSeeds(ctx)
	if len(missing) == 0 {
		return err
	}
	return errors.Join(err, c.joinAll(missing))
}

// missingSeeds resolves the seeds and returns the addresses at which there is neither a member nor
// this node. Those that cannot be resolved are in the error.
func (c *Cluster) missingSeeds(ctx context.Context) (missing []string, err error) {
	have := map[string]bool{c.self: true, c.bound: true}
	for _, m := range c.roster.members() {
		have[m.Addr] = true
	}
	for _, seed := range c.cfg.Seeds {
		addrs, rerr := resolve(ctx, seed, c.transport.from)
		if rerr != nil {
			err = errors.Join(err, rerr)
		}
		for _, a := range addrs {
			if text := a.String(); !have[text] && len(missing) < maxSeedAddresses {
				have[text] = true
				missing = append(missing, text)
			}
		}
	}
	return missing, err
}

// joinAll exchanges all that is known with each address, and returns why some did not answer.
func (c *Cluster) joinAll(addrs []string) error {
	c.counters.joinAttempts.Add(1)
	errs := make([]error, len(addrs))
	slots := make(chan struct{}, joinsAtOnce)
	var wg sync.WaitGroup
	for i, addr := range addrs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = joinOne(c.list, addr)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func joinOne(list *memberlist.Memberlist, addr string) error {
	_, err := list.Join([]string{addr})
	if first := errors.Unwrap(err); first != nil {
		return first // out of a list of one, whose text has several lines
	}
	return err
}

// resolve returns every address of HOST:PORT to which there is a way from an address, that is,
// those of the same kind, IPv4 or IPv6. From all addresses, or from none, there is a way to each.
func resolve(ctx context.Context, address string, from netip.Addr) ([]netip.AddrPort, error) {
	host, port, err := splitAddress("Seeds", address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, resolveFor)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("gossip: resolve %q: %w", address, err)
	}
	var addrs []netip.AddrPort
	for _, ip := range ips {
		if ip = ip.Unmap(); !from.IsValid() || from.IsUnspecified() || from.Is4() == ip.Is4() {
			addrs = append(addrs, netip.AddrPortFrom(ip, port))
		}
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("gossip: resolve %q: no address to which there is a way from %s: %v", address, from, ips)
	}
	return addrs, nil
}

// resolveOne returns the first of them; an empty host is every interface.
func resolveOne(ctx context.Context, address string, from netip.Addr) (netip.AddrPort, error) {
	if host, port, err := net.SplitHostPort(address); err == nil && host == "" {
		address = net.JoinHostPort("::", port)
	}
	addrs, err := resolve(ctx, address, from)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return addrs[0], nil
}
