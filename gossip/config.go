package gossip

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/chatapp-ngomna/edgecache/internal/nodename"
)

const (
	defaultLabel = "edgecache"
	maxName      = 128 // bytes
	maxHTTP      = 255 // bytes; its length is one byte of the metadata
	maxWeight    = 100
)

// Config configures a Cluster. Bind and one of KeyFile and Keys are required.
type Config struct {
	// Name is this node's name, unique in the cluster: 1 to 128 of A-Z a-z 0-9 . _ -. Default: host
	// name, process id and a random part. A name that survives a restart keeps the node's ranges
	// the same.
	Name string
	// Label separates clusters that can reach each other: packets with another label are dropped.
	// Up to 255 bytes. Default "edgecache".
	Label string
	// Bind is the HOST:PORT, UDP and TCP, on which this node listens. Required, with an explicit
	// host: 0.0.0.0, :: and an empty host are refused unless Advertise is given, because a node
	// that is reachable from everywhere should be so on purpose, and because others need one
	// address to reach it. A host name is resolved at Start. Port 0: any.
	Bind string
	// Advertise is the HOST:PORT at which others reach this node. A host name is resolved at Start;
	// port 0 is the port of Bind. Default: Bind.
	Advertise string
	// Seeds are HOST:PORT of nodes to join through. Names are resolved again at each attempt, and
	// each of their addresses is tried. Seeds that are not members are joined again for as long as
	// the node runs, which heals splits. The node's own address may be among them. Default: none;
	// the node waits for others to come.
	Seeds []string
	// KeyFile is the path of a file with the cluster's keys: 32 bytes each, base64, one a line; the
	// first is the primary, with which this node encrypts; "#" begins a comment. It is read again
	// every second, and a change is taken over while the node runs. Replace the file, do not write
	// into it: a half-written one may lack keys.
	KeyFile string
	// Keys are the keys themselves, 32 bytes each, the primary first: for embedders that keep them
	// elsewhere.
	Keys [][]byte
	// CIDRs are the networks that members may have addresses in, such as 10.0.0.0/8. They must
	// cover the node's own address. Default: any.
	CIDRs []string
	// Weight is this node's part of the ranges relative to the others': 1 to 100. Default 1.
	Weight int
	// HTTP is the address of the node's API, told to the others. Up to 255 bytes. Default: none.
	HTTP string
	// Logger gets a line for each failed attempt to join, and what memberlist says (at most ten
	// lines a second above the level Debug). Default: nothing is logged.
	Logger *slog.Logger

	timing timing
	// wrap stands between memberlist and the network, for tests that lose packets.
	wrap func(memberlist.NodeAwareTransport) memberlist.NodeAwareTransport
}

// timing is every time that a Cluster lives by. The zero value of a field means its default.
type timing struct {
	// probeEvery is how often a node asks one other whether it is alive; probeTimeout is for the
	// direct answer over UDP. The rest of the interval is for asking through three others and over
	// TCP.
	probeEvery, probeTimeout time.Duration
	// suspectMult times probeEvery is THE time from suspected to dead, for up to ten members; for n
	// members it is log10(n) times that. memberlist would let it vary between that and a multiple,
	// by how many others suspect the same node; here the multiple is one. Default 5 s; measured, a
	// node of 3 to 10 that falls silent is dead to all after 7 to 10 s; promised,
	// on a calm machine, are 12.
	suspectMult int
	// forgetAfter is for how long the dead are still told what the others think of them, so that
	// one who is not dead can object. After that only the seeds bring the two sides together again.
	forgetAfter time.Duration
	gossipEvery time.Duration // how often news is passed on
	syncEvery   time.Duration // how often two nodes compare all that they know, over TCP
	tcpTimeout  time.Duration // for a connection, and for each exchange over it
	// rejoinFirst to rejoinMost are the pauses between attempts to reach seeds that are missing.
	// Seeds that are there are looked at every rejoinMost/2.
	rejoinFirst, rejoinMost time.Duration
	keysEvery               time.Duration // how often the key file is read
	tellEvery               time.Duration // how often, at most, warmth is told
	leaveFor                time.Duration // how long Close tries to say that this node leaves
}

func (t timing) withDefaults() timing {
	t.probeEvery = cmp.Or(t.probeEvery, time.Second)
	t.probeTimeout = cmp.Or(t.probeTimeout, 500*time.Millisecond)
	t.suspectMult = cmp.Or(t.suspectMult, 5)
	t.forgetAfter = cmp.Or(t.forgetAfter, 30*time.Second)
	t.gossipEvery = cmp.Or(t.gossipEvery, 200*time.Millisecond)
	t.syncEvery = cmp.Or(t.syncEvery, 30*time.Second)
	t.tcpTimeout = cmp.Or(t.tcpTimeout, 5*time.Second)
	t.rejoinFirst = cmp.Or(t.rejoinFirst, time.Second)
	t.rejoinMost = cmp.Or(t.rejoinMost, 10*time.Second)
	t.keysEvery = cmp.Or(t.keysEvery, time.Second)
	t.tellEvery = cmp.Or(t.tellEvery, 2*time.Second)
	t.leaveFor = cmp.Or(t.leaveFor, 2*time.Second)
	return t
}

func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name = nodename.New()
	}
	c.Label = cmp.Or(c.Label, defaultLabel)
	c.Advertise = cmp.Or(c.Advertise, c.Bind)
	c.Weight = cmp.Or(c.Weight, 1)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.timing = c.timing.withDefaults()
	return c
}

func (c Config) validate(advertised bool) error {
	switch {
	case len(c.Name) > maxName || strings.ContainsFunc(c.Name, func(r rune) bool { return r > 0x7f || !nameByte(byte(r)) }):
		return fmt.Errorf("%w: Config.Name is %q; want 1 to %d of A-Z a-z 0-9 . _ -", errConfig, c.Name, maxName)
	case len(c.Label) > memberlist.LabelMaxSize:
		return fmt.Errorf("%w: Config.Label has %d bytes; want at most %d", errConfig, len(c.Label), memberlist.LabelMaxSize)
	case c.Weight < 1 || c.Weight > maxWeight:
		return fmt.Errorf("%w: Config.Weight is %d; want 1 to %d", errConfig, c.Weight, maxWeight)
	case len(c.HTTP) > maxHTTP || !printable(c.HTTP):
		return fmt.Errorf("%w: Config.HTTP is %q; want at most %d bytes, none of them a control character", errConfig, c.HTTP, maxHTTP)
	}
	if err := c.validateAddresses(advertised); err != nil {
		return err
	}
	if _, err := memberlist.ParseCIDRs(c.CIDRs); err != nil {
		return fmt.Errorf("%w: Config.CIDRs is %q; want networks such as 10.0.0.0/8", errConfig, c.CIDRs)
	}
	return c.validateKeys()
}

func (c Config) validateAddresses(advertised bool) error {
	if c.Bind == "" {
		return fmt.Errorf("%w: Config.Bind is missing; want the HOST:PORT on which this node listens", errConfig)
	}
	host, _, err := splitAddress("Bind", c.Bind)
	if err != nil {
		return err
	}
	if everywhere(host) && !advertised {
		return fmt.Errorf("%w: Config.Bind is %q, which is every interface of this machine, the public ones too, and no address "+
			"that others could be told; want one address, or Config.Advertise with it", errConfig, c.Bind)
	}
	if host, _, err = splitAddress("Advertise", c.Advertise); err != nil {
		return err
	}
	if everywhere(host) {
		return fmt.Errorf("%w: Config.Advertise is %q; want an address at which others reach this node", errConfig, c.Advertise)
	}
	for _, seed := range c.Seeds {
		host, port, err := splitAddress("Seeds", seed)
		if err != nil {
			return err
		}
		if port == 0 || everywhere(host) {
			return fmt.Errorf("%w: Config.Seeds has %q; want HOST:PORT of a node", errConfig, seed)
		}
	}
	return nil
}

func (c Config) validateKeys() error {
	switch {
	case c.KeyFile == "" && len(c.Keys) == 0:
		return ErrNoKey
	case c.KeyFile != "" && len(c.Keys) > 0:
		return fmt.Errorf("%w: both Config.KeyFile and Config.Keys are set; want one of them", errConfig)
	case c.KeyFile == "":
		return checkKeys(c.Keys)
	}
	return nil
}

func splitAddress(field, address string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("%w: Config.%s has %q; want HOST:PORT", errConfig, field, address)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%w: Config.%s has %q; want a port from 0 to 65535", errConfig, field, address)
	}
	return host, uint16(n), nil
}

// everywhere says whether a host is no address but all of them.
func everywhere(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

func nameByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '.' || b == '_' || b == '-'
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' })
}

// keys returns copies of the configured keys, or reads them.
func (c Config) keys() ([][]byte, error) {
	if c.KeyFile != "" {
		return ReadKeys(c.KeyFile)
	}
	keys := make([][]byte, len(c.Keys))
	for i, k := range c.Keys {
		keys[i] = bytes.Clone(k)
	}
	return keys, nil
}

var errConfig = errors.New("gossip: bad configuration")
