package gossip

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

// stranger runs a bare memberlist on loopback.
func stranger(t *testing.T, name, label string, key []byte) *memberlist.Memberlist {
	t.Helper()
	cfg := memberlist.DefaultLocalConfig()
	cfg.Name, cfg.Label, cfg.SecretKey = name, label, key
	cfg.BindAddr, cfg.BindPort, cfg.AdvertisePort = "127.0.0.1", 0, 0
	cfg.Logger = log.New(io.Discard, "", 0)
	list, err := memberlist.Create(cfg)
	must(t, err)
	t.Cleanup(func() { must(t, list.Shutdown()) })
	return list
}

func TestWhoHasNoPlaceHereIsNoMember(t *testing.T) {
	nodes := several(t, 3, nil)
	for what, s := range map[string]*memberlist.Memberlist{
		"no key":                   stranger(t, "nokey", defaultLabel, nil),
		"no key, no label":         stranger(t, "nothing", "", nil),
		"a wrong key":              stranger(t, "wrongkey", defaultLabel, bytes.Repeat([]byte{8}, keySize)),
		"a short key":              stranger(t, "shortkey", defaultLabel, bytes.Repeat([]byte{7}, 16)),
		"a wrong label":            stranger(t, "wronglabel", "other", theKey()),
		"no label":                 stranger(t, "nolabel", "", theKey()),
		"the name of one of three": stranger(t, "b", defaultLabel, bytes.Repeat([]byte{8}, keySize)),
	} {
		for _, c := range nodes {
			if n, err := s.Join([]string{c.Self().Addr}); n != 0 || err == nil {
				t.Errorf("%s: joined %s", what, c.cfg.Name)
			}
			// The other way round: a node that is sent to the stranger as to a seed.
			if err := joinOne(c.list, s.LocalNode().Address()); err == nil {
				t.Errorf("%s: was joined by %s", what, c.cfg.Name)
			}
			must(t, s.SendToAddress(memberlist.Address{Addr: c.Self().Addr}, []byte("hello")))
		}
		if s.NumMembers() != 1 {
			t.Errorf("%s: sees %d members; want itself alone", what, s.NumMembers())
		}
	}
	for _, c := range nodes {
		if got := c.Stats(); got.Joins != 3 || got.Leaves != 0 {
			t.Errorf("%s saw %d come and %d go; want 3 and 0", c.cfg.Name, got.Joins, got.Leaves)
		}
	}
	if !agree(nodes, 3) {
		t.Error("a stranger is a member, or a member is not")
	}
	results.add("no key, wrong key, wrong label, none of both, a member's name: 7 strangers at 3 nodes that became a member", "0", "0")
}

// TestAStrangerWithKeyAndLabelIsAMember shows that the strangers before are kept out by what they
// lack.
func TestAStrangerWithKeyAndLabelIsAMember(t *testing.T) {
	a := start(t, Config{Name: "a"})
	s := stranger(t, "plain", defaultLabel, theKey())
	if n, err := s.Join([]string{a.Self().Addr}); n != 1 || err != nil {
		t.Fatalf("joined %d, error %v", n, err)
	}
	await(t, "it is a member", func() bool { return len(a.Members()) == 2 })
	if got := find(a, "plain"); got.Weight != 1 || got.HTTP != "" || got.KeyID != "" {
		t.Errorf("a member without metadata is %+v; want weight 1 and nothing else", got)
	}
	if a.Stats().OddMeta == 0 {
		t.Error("metadata that is not understood was not counted")
	}
}

func TestNobodyJoinsFromOutsideTheCIDRs(t *testing.T) {
	a := start(t, Config{Name: "a", Bind: "127.0.0.1:0", CIDRs: []string{"127.0.0.1/32"}})
	b := start(t, Config{Name: "b", Bind: "127.0.0.2:0", Seeds: []string{a.Self().Addr}})
	await(t, "attempts are refused", func() bool { return b.Stats().JoinFailures > 2 })
	if a.transport.refused.Load() == 0 || len(a.Members()) != 1 || len(b.Members()) != 1 {
		t.Errorf("a has %q, b has %q", names(a.Members()), names(b.Members()))
	}
}

func TestStreamsAreBounded(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	s := &stream{Conn: ours, left: maxStreamBytes, close: ours.Close}
	go func() {
		for buf := make([]byte, 1<<16); ; {
			if _, err := theirs.Write(buf); err != nil {
				return
			}
		}
	}()
	n, err := io.Copy(io.Discard, s)
	if n != maxStreamBytes || err == nil {
		t.Errorf("read %d bytes, error %v; want %d and an error", n, err, maxStreamBytes)
	}
	must(t, s.Close())
}

// TestStrangersWhoHoldConnectionsAreFew: those above the bound wait, and those that say nothing are
// let go.
func TestStrangersWhoHoldConnectionsAreFew(t *testing.T) {
	cfg := Config{Name: "a", timing: quick()}
	cfg.timing.tcpTimeout = 300 * time.Millisecond
	a := start(t, cfg)
	for range 3 * maxStreams {
		conn, err := net.Dial("tcp", a.Self().Addr)
		must(t, err)
		defer conn.Close()
	}
	most := 0
	await(t, "connections are served", func() bool {
		most = max(most, len(a.transport.slots))
		return most == maxStreams
	})
	b := start(t, Config{Name: "b", Seeds: []string{a.Self().Addr}})
	await(t, "a member comes in behind them", func() bool { return agree([]*Cluster{a, b}, 2) })
	// one is for the next
	await(t, "those who said nothing are let go", func() bool { return len(a.transport.slots) <= 1 })
}

// received counts the packets that reach memberlist.
type received struct {
	memberlist.NodeAwareTransport
	packets chan *memberlist.Packet
	n       atomic.Int64
	stop    chan struct{}
}

func (r *received) PacketCh() <-chan *memberlist.Packet { return r.packets }

func (r *received) run() {
	for {
		select {
		case p := <-r.NodeAwareTransport.PacketCh():
			r.n.Add(1)
			select {
			case r.packets <- p:
			case <-r.stop:
			}
		case <-r.stop:
			return
		}
	}
}

func (r *received) Shutdown() error {
	err := r.NodeAwareTransport.Shutdown()
	close(r.stop)
	return err
}

// TestGarbageDoesNoHarm sends what is random, and what is random behind a beginning that is right,
// over loopback only.
func TestGarbageDoesNoHarm(t *testing.T) {
	const seed, bound, throwers = 7, 50 << 20, 4
	packets, frames := form(1_000_000, 30_000), form(10_000, 300)
	count := &received{packets: make(chan *memberlist.Packet), stop: make(chan struct{})}
	a := start(t, Config{Name: "a", timing: timing{}.withDefaults(), wrap: func(n memberlist.NodeAwareTransport) memberlist.NodeAwareTransport {
		count.NodeAwareTransport = n
		go count.run()
		return count
	}})
	b := start(t, Config{Name: "b", timing: timing{}.withDefaults(), Seeds: []string{a.Self().Addr}})
	await(t, "two nodes", func() bool { return agree([]*Cluster{a, b}, 2) })
	if addr := netip.MustParseAddrPort(a.Self().Addr); !addr.Addr().IsLoopback() {
		t.Fatalf("%s is not on loopback", addr)
	}
	random := randomBytes(seed)
	thrower := func(i uint64) *garbage { return &garbage{rand.New(rand.NewPCG(seed, i)), random} }
	m := watchMemory(t)
	var wg sync.WaitGroup
	wg.Go(func() { thrower(0).throwPackets(t, a.Self().Addr, packets, count) })
	for i := range throwers {
		wg.Go(func() { thrower(1+uint64(i)).throwFrames(t, a.Self().Addr, frames/throwers) })
	}
	wg.Wait()
	grown := m.grown()
	t.Logf("%d packets and %d frames arrived; memory grew by %d KiB; %d lines were not logged", count.n.Load(), frames, grown>>10, a.Stats().LogDropped)
	if got := count.n.Load(); got < int64(packets)*9/10 {
		t.Errorf("of %d packets %d arrived: this tested too little", packets, got)
	}
	if grown > bound {
		t.Errorf("seed %d: memory grew by %d MiB; want at most 50", seed, grown>>20)
	}
	await(t, "the two nodes are well", func() bool { return agree([]*Cluster{a, b}, 2) })
	// so loud a noise may make one seem dead for a while
	for _, m := range slices.Concat(a.Members(), a.Gone(), b.Gone()) {
		if m.Name != "a" && m.Name != "b" {
			t.Errorf("%+v came out of garbage", m)
		}
	}
	c := start(t, Config{Name: "c", Seeds: []string{a.Self().Addr}})
	await(t, "a third is taken in", func() bool { return agree([]*Cluster{a, b, c}, 3) })
	results.add(fmt.Sprintf("%d random UDP packets and %d TCP frames that arrived at one node: growth of the resident set at its peak, sender included", count.n.Load(), frames),
		fmt.Sprintf("%.1f MiB, no panic", float64(grown)/(1<<20)), "at most 50 MiB")
}

// garbage makes bytes that begin as a packet or frame of the cluster would, up to a point that
// differs.
type garbage struct {
	rng    *rand.Rand
	random []byte // shared by all, so that what throwers need hardly counts
}

func randomBytes(seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, 3*maxStreamBytes)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// next returns a beginning and what follows it.
func (g *garbage) next(size int) (head, body []byte) {
	at := g.rng.IntN(len(g.random) - size)
	body = g.random[at : at+size]
	label := append([]byte{244, byte(len(defaultLabel))}, defaultLabel...)
	switch g.rng.IntN(6) {
	case 0: // nothing is right
		return nil, body
	case 1: // the label, and a known version of encryption
		return append(label, byte(g.rng.IntN(2))), body
	case 2: // the label, an encrypted frame and any length
		return binary.BigEndian.AppendUint32(append(label, 10), g.rng.Uint32()), body
	case 3: // the label, an encrypted frame and the greatest length
		return binary.BigEndian.AppendUint32(append(label, 10), 20<<20), body
	case 4: // a message that is not encrypted: ping, compound, push and pull, compressed …
		return append(label, byte(g.rng.IntN(16))), body
	}
	return []byte{244, byte(g.rng.Uint32())}, body // a label that is cut off, or another
}

func (g *garbage) throwPackets(t *testing.T, addr string, n int, count *received) {
	packet := make([]byte, 0, 2048)
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	pause := time.NewTicker(time.Millisecond)
	defer pause.Stop()
	for i := 0; count.n.Load() < int64(n) && i < n+n/5; i++ {
		head, body := g.next(1 + g.rng.IntN(1200))
		_, _ = conn.Write(append(append(packet[:0], head...), body...))
		// A few hundred on their way at most, or the kernel would drop most. Some are lost all the
		// same, and made up for.
		for waited := 0; int64(i)-count.n.Load() > 200+int64(i)/20 && waited < 100; waited++ {
			<-pause.C
		}
	}
}

func (g *garbage) throwFrames(t *testing.T, addr string, n int) {
	for range n {
		conn, err := net.DialTimeout("tcp", addr, patience)
		if err != nil {
			t.Error(err)
			return
		}
		size := 1 + g.rng.IntN(4096)
		if g.rng.IntN(20) == 0 {
			size = maxStreamBytes + g.rng.IntN(maxStreamBytes)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		head, body := g.next(size)
		_, _ = (&net.Buffers{head, body}).WriteTo(conn)
		_ = conn.Close()
	}
}
