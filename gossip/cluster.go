// Package gossip knows which nodes of the cluster are alive, and which of them owns which range of
// ids.
//
// Membership is hashicorp/memberlist's (SWIM with Lifeguard) over UDP and TCP, encrypted with a key
// that every node has. Ownership is advice for work that should be done once, such as prewarming:
// for some seconds after a member came or went two nodes may both own a range, or none. No
// invalidation travels over gossip.
package gossip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/chatapp-ngomna/edgecache/internal/life"
)

var (
	// ErrClosed comes from a Cluster that was closed.
	ErrClosed = life.ErrClosed
	// ErrNoKey says that there is no key to encrypt with. A cluster without encryption would take
	// anyone in.
	ErrNoKey = errors.New("gossip: a key is required")
	// ErrKeys says that keys cannot be used as they are.
	ErrKeys = errors.New("gossip: bad keys")
)

// Cluster is this node's membership. Its methods may be called concurrently.
type Cluster struct {
	cfg      Config
	allowed  func(netip.Addr) bool
	roster   *roster
	told     *told
	counters counters

	life life.Life

	// Of one start, under the lock of life.
	wg        sync.WaitGroup
	end       context.CancelCauseFunc // of the goroutines; nil when not started
	list      *memberlist.Memberlist
	transport *transport
	journal   *journal
	ring      *memberlist.Keyring
	bound     string // HOST:PORT on which it listens
	self      string // HOST:PORT told to others

	addr   atomic.Pointer[string] // self, for those who do not hold mu
	health atomic.Pointer[memberlist.Memberlist]
}

// New returns a Cluster that has not started. It reads the keys, so that a bad file is known at
// once.
func New(cfg Config) (*Cluster, error) {
	advertised := cfg.Advertise != ""
	cfg = cfg.withDefaults()
	if err := cfg.validate(advertised); err != nil {
		return nil, err
	}
	keys, err := cfg.keys()
	if err != nil {
		return nil, err
	}
	c := &Cluster{
		cfg: cfg, allowed: allow(cfg.CIDRs), roster: newRoster(),
		told: newTold(meta{weight: cfg.Weight, http: cfg.HTTP, keys: keyIDs(keys)}),
	}
	return c, nil
}

// allow returns a function that says whether an address is in one of the networks, or true for all
// when there are none.
func allow(cidrs []string) func(netip.Addr) bool {
	nets, _ := memberlist.ParseCIDRs(cidrs) // checked before
	return func(a netip.Addr) bool {
		for _, n := range nets {
			if n.Contains(a.AsSlice()) {
				return true
			}
		}
		return len(nets) == 0
	}
}

// Start listens, and exchanges all that is known with the seeds once: when it returns, Members has
// those that the seeds know. Seeds that do not answer are no error, because the first node of a
// cluster finds nobody; they are tried again from then on. ctx bounds the start only. Errors:
// ErrClosed, a bad key file, an address that cannot be resolved or listened on, the end of ctx.
// After all but the first Start may be called again; once it succeeded that does nothing.
func (c *Cluster) Start(ctx context.Context) error { return c.life.Start(ctx, c.begin) }

func (c *Cluster) begin(ctx context.Context) error {
	file, err := c.open(ctx)
	if err != nil {
		return err
	}
	run, end := context.WithCancelCause(c.life.Context())
	c.end = end
	first := make(chan error, 1)
	c.wg.Go(func() { first <- c.reachSeeds(ctx) })
	select {
	case err = <-first:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		c.shutdown(context.Cause(ctx))
		return fmt.Errorf("gossip: join: %w", context.Cause(ctx))
	}
	c.work(run, err, file)
	return nil
}

// work starts what goes on until Close.
func (c *Cluster) work(ctx context.Context, joined error, file []byte) {
	c.wg.Go(func() { c.tell(ctx) })
	if len(c.cfg.Seeds) > 0 {
		c.wg.Go(func() { c.rejoin(ctx, joined) })
	}
	if c.cfg.KeyFile != "" {
		c.wg.Go(func() { c.watchKeys(ctx, file) })
	}
}

// open starts memberlist. It returns the text of the key file that is in use.
func (c *Cluster) open(ctx context.Context) (file []byte, err error) {
	keys, file, err := c.loadKeys()
	if err != nil {
		return nil, err
	}
	if c.ring, err = newKeyring(keys); err != nil {
		return nil, err
	}
	c.told.setKeys(keyIDs(keys))
	if err := c.listen(ctx); err != nil {
		return nil, err
	}
	mc, err := c.memberlistConfig()
	if err == nil {
		c.roster.open()
		c.list, err = memberlist.Create(mc)
	}
	if err != nil {
		c.list = nil
		c.silence()
		_ = c.transport.Shutdown()
		return nil, fmt.Errorf("gossip: start: %w", err)
	}
	c.addr.Store(&c.self)
	c.health.Store(c.list)
	return file, nil
}

func (c *Cluster) loadKeys() (keys [][]byte, file []byte, err error) {
	if c.cfg.KeyFile == "" {
		keys, err = c.cfg.keys()
		return keys, nil, err
	}
	if file, err = readKeyFile(c.cfg.KeyFile); err != nil {
		return nil, nil, err
	}
	keys, err = parseKeys(c.cfg.KeyFile, file)
	return keys, file, err
}

// listen opens the sockets and fixes the addresses.
func (c *Cluster) listen(ctx context.Context) error {
	bind, err := resolveOne(ctx, c.cfg.Bind, netip.Addr{})
	if err != nil {
		return err
	}
	self, err := resolveOne(ctx, c.cfg.Advertise, bind.Addr())
	if err != nil {
		return err
	}
	if self.Addr().IsUnspecified() {
		return fmt.Errorf("%w: %q, at which others should reach this node, is %s", errConfig, c.cfg.Advertise, self.Addr())
	}
	if !c.allowed(self.Addr()) {
		return fmt.Errorf("%w: Config.CIDRs is %q, which does not have %s, this node's own address", errConfig, c.cfg.CIDRs, self.Addr())
	}
	c.journal = &journal{to: c.cfg.Logger, dropped: &c.counters.logDropped}
	c.transport, err = listen(bind, c.allowed)
	if err != nil {
		return fmt.Errorf("gossip: listen on %s: %w", c.cfg.Bind, err)
	}
	port := c.transport.port()
	if self.Port() == 0 {
		self = netip.AddrPortFrom(self.Addr(), port)
	}
	c.bound, c.self = netip.AddrPortFrom(bind.Addr(), port).String(), self.String()
	return nil
}

func (c *Cluster) memberlistConfig() (*memberlist.Config, error) {
	self, err := netip.ParseAddrPort(c.self)
	if err != nil {
		return nil, err
	}
	t := c.cfg.timing
	mc := memberlist.DefaultLANConfig()
	mc.Name, mc.Label = c.cfg.Name, c.cfg.Label
	mc.Transport = c.transport
	if c.cfg.wrap != nil {
		mc.Transport = c.cfg.wrap(c.transport)
	}
	mc.BindPort = int(c.transport.port())
	mc.AdvertiseAddr, mc.AdvertisePort = self.Addr().String(), int(self.Port())
	mc.Keyring, mc.GossipVerifyIncoming, mc.GossipVerifyOutgoing = c.ring, true, true
	if len(c.cfg.CIDRs) > 0 {
		mc.CIDRsAllowed, _ = memberlist.ParseCIDRs(c.cfg.CIDRs)
	}
	mc.Delegate, mc.Events, mc.Logger = c.told, c.roster, c.journal.logger()
	mc.ProbeInterval, mc.ProbeTimeout = t.probeEvery, t.probeTimeout
	mc.SuspicionMult, mc.SuspicionMaxTimeoutMult = t.suspectMult, 1
	mc.GossipInterval, mc.GossipToTheDeadTime = t.gossipEvery, t.forgetAfter
	mc.PushPullInterval, mc.TCPTimeout = t.syncEvery, t.tcpTimeout
	// or a node that comes back with another address stays out until it is forgotten
	mc.DeadNodeReclaimTime = t.forgetAfter
	return mc, nil
}

// Close tells the others that this node leaves, for two seconds at most, and waits for its
// goroutines. It may be called twice and before Start; it ends a Start that is under way.
//
// The sockets and what reads them are closed and awaited. memberlist's Shutdown does not await its
// goroutines, and offers no way to. They end on their own and can do nothing any more, as the
// sockets are closed, their log is silent and their events are dropped: those that take packets and
// connections (at once), a probe under way (up to its interval of 1 s, 8 s on a node that found
// itself slow), the relay of a probe (0.5 s), and timers of suspicion (5 s).
func (c *Cluster) Close() error {
	return c.life.Close(func() error {
		if c.list != nil {
			c.shutdown(life.ErrClosed)
		}
		return nil
	})
}

// shutdown undoes open and waits for whatever runs.
func (c *Cluster) shutdown(cause error) {
	c.end(cause)
	c.told.setLeaving()
	_ = c.list.UpdateNode(c.cfg.timing.gossipEvery) // or the others take the leaving for a death
	if err := c.list.Leave(c.cfg.timing.leaveFor); err != nil {
		c.cfg.Logger.Warn("gossip: nobody may have heard that this node leaves", "error", err)
	}
	c.silence()
	c.health.Store(nil)
	if err := c.list.Shutdown(); err != nil {
		c.cfg.Logger.Warn("gossip: shutdown", "error", err)
	}
	c.wg.Wait()
	c.list = nil
}

// silence keeps what memberlist has still to say after its end from everyone.
func (c *Cluster) silence() {
	c.roster.close()
	c.journal.off.Store(true)
}

// Members returns the members that are alive, this node included, sorted by name, in a slice of the
// caller's own. None before Start and after Close.
func (c *Cluster) Members() []Member { return c.roster.members() }

// Gone returns the members that left or were declared dead in the last ten minutes and have not
// come back, the latest first: 64 at most.
func (c *Cluster) Gone() []Member { return c.roster.left() }

// Self returns this node as it tells of itself. Its address is empty before Start.
func (c *Cluster) Self() Member {
	var addr string
	if p := c.addr.Load(); p != nil {
		addr = *p
	}
	m := c.told.get().member(c.cfg.Name, addr, time.Time{})
	for _, seen := range c.Members() {
		if seen.Name == m.Name {
			m.Since = seen.Since
			return m.clone()
		}
	}
	m.State = Gone
	return m.clone()
}

// Changed returns a channel that has something to read whenever Members or what they tell may have
// changed since it was read last. It is always the same one, has room for one signal, and is never
// closed: meant for one reader.
func (c *Cluster) Changed() <-chan struct{} { return c.roster.changed }

// SetWarmth tells the others how warm this node is: 0 to 1; what is below or above counts as these.
// It is told in steps of one percent and at most every two seconds, the latest value then.
func (c *Cluster) SetWarmth(share float64) { c.told.setWarmth(share) }
