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
	"os"
	"slices"
	"strconv"
	"strings"
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

// TestAStrangerWithKeyAndLabelIsAMember shows that the strangers before are kept out by what they lack.
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

// TestStrangersWhoHoldConnectionsAreFew: those above the bound wait, and those that say nothing are let go.
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
	await(t, "those who said nothing are let go", func() bool { return len(a.transport.slots) == 0 })
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

// TestGarbageDoesNoHarm sends what is random, and what is random behind a beginning that is right, over loopback only.
func TestGarbageDoesNoHarm(t *testing.T) {
	const seed, bound = 7, 50 << 20
	packets, frames := form(1_000_000, 30_000), form(10_000, 300)
	count := &received{packets: make(chan *memberlist.Packet), stop: make(chan struct{})}
	a := start(t, Config{Name: "a", wrap: func(n memberlist.NodeAwareTransport) memberlist.NodeAwareTransport {
		count.NodeAwareTransport = n
		go count.run()
		return count
	}})
	b := start(t, Config{Name: "b", Seeds: []string{a.Self().Addr}})
	await(t, "two nodes", func() bool { return agree([]*Cluster{a, b}, 2) })
	if addr := netip.MustParseAddrPort(a.Self().Addr); !addr.Addr().IsLoopback() {
		t.Fatalf("%s is not on loopback", addr)
	}
	m := watchMemory(t)
	var wg sync.WaitGroup
	wg.Go(func() { throwPackets(t, a.Self().Addr, packets, seed, count) })
	for i := range 4 {
		wg.Go(func() { throwFrames(t, a.Self().Addr, frames/4, seed+uint64(i)) })
	}
	wg.Wait()
	grown := m.grown()
	t.Logf("%d packets arrived of %d; %d frames; memory grew by %d KiB; %d lines were not logged", count.n.Load(), packets, frames, grown>>10, a.Stats().LogDropped)
	if got := count.n.Load(); got < int64(packets)*9/10 {
		t.Errorf("of %d packets %d arrived: this tested too little", packets, got)
	}
	if grown > bound {
		t.Errorf("seed %d: memory grew by %d MiB; want at most 50", seed, grown>>20)
	}
	await(t, "the two nodes are well", func() bool { return agree([]*Cluster{a, b}, 2) })
	if n := a.Stats().Joins; n != 2 {
		t.Errorf("%d members came; want 2", n)
	}
	c := start(t, Config{Name: "c", Seeds: []string{a.Self().Addr}})
	await(t, "a third is taken in", func() bool { return agree([]*Cluster{a, b, c}, 3) })
	results.add(fmt.Sprintf("%d random UDP packets (%d arrived) and %d TCP frames at one node: growth of the resident set at its peak, sender included", packets, count.n.Load(), frames),
		fmt.Sprintf("%.1f MiB, no panic", float64(grown)/(1<<20)), "at most 50 MiB")
}

// garbage returns bytes that begin as a packet or frame of the cluster would, up to a point that differs.
func garbage(rng *rand.Rand, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	var head []byte
	switch label := append([]byte{244, byte(len(defaultLabel))}, defaultLabel...); rng.IntN(6) {
	case 0: // nothing is right
	case 1: // the label, and a known version of encryption
		head = append(label, byte(rng.IntN(2)))
	case 2: // the label, an encrypted frame and any length
		head = binary.BigEndian.AppendUint32(append(label, 10), rng.Uint32())
	case 3: // the label, an encrypted frame and the greatest length
		head = binary.BigEndian.AppendUint32(append(label, 10), 20<<20)
	case 4: // a message that is not encrypted: ping, compound, push and pull, compressed …
		head = append(label, byte(rng.IntN(16)))
	case 5: // a label that is cut off, or another
		head = []byte{244, byte(rng.Uint32())}
	}
	return append(head, b...)
}

func throwPackets(t *testing.T, addr string, n int, seed uint64, count *received) {
	rng := rand.New(rand.NewPCG(seed, 2))
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	pause := time.NewTicker(time.Millisecond)
	defer pause.Stop()
	for i := range n {
		_, _ = conn.Write(garbage(rng, 1+rng.IntN(1200)))
		// At most 200 on their way, or the kernel would drop them and nothing be tested. Some are lost all the same.
		for waited := 0; int64(i)-count.n.Load() > 200+int64(i)/20 && waited < 100; waited++ {
			<-pause.C
		}
	}
}

func throwFrames(t *testing.T, addr string, n int, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 3))
	for range n {
		conn, err := net.DialTimeout("tcp", addr, patience)
		if err != nil {
			t.Error(err)
			return
		}
		size := 1 + rng.IntN(4096)
		if rng.IntN(20) == 0 {
			size = maxStreamBytes + rng.IntN(maxStreamBytes)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = conn.Write(garbage(rng, size))
		_ = conn.Close()
	}
}

// memory watches the process's resident set.
type memory struct {
	before, most int64
	stop, done   chan struct{}
}

func watchMemory(t *testing.T) *memory {
	m := &memory{before: resident(t), stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(m.done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			m.most = max(m.most, resident(t))
			select {
			case <-tick.C:
			case <-m.stop:
				return
			}
		}
	}()
	return m
}

func (m *memory) grown() int64 {
	close(m.stop)
	<-m.done
	return m.most - m.before
}

// resident returns the resident set in bytes; without /proc this is not tested.
func resident(t testing.TB) int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Logf("memory is not measured: %v", err)
		return 0
	}
	pages, err := strconv.ParseInt(slices.Concat(strings.Fields(string(text)), []string{"", ""})[1], 10, 64)
	if err != nil {
		t.Errorf("/proc/self/statm is %q", text)
	}
	return pages * int64(os.Getpagesize())
}
