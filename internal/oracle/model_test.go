package oracle

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is the oracle's promise without its speed: every acknowledgement in a list.
type model struct {
	acks     []modelAck
	removing map[string]int
	seen     map[string]int64
	told     map[string]int64
}

type modelAck struct {
	key string
	Ack
}

type modelRead struct {
	Read
	key        string
	at         time.Time
	bound      time.Duration
	seen, told int64
}

func (m *model) end(r modelRead, version int64, stale bool, nowBound time.Duration) Kind {
	if version < r.told {
		return Told
	}
	if stale {
		return 0
	}
	var old, resurrected bool
	for _, a := range m.bound(r, nowBound) {
		old = old || !a.Removed && version < a.Version
		resurrected = resurrected || a.Removed && version <= a.Version
	}
	if old || resurrected {
		return Old // which of the two is a matter of words
	}
	if version < r.seen {
		return Back
	}
	m.seen[r.key] = max(m.seen[r.key], version)
	return 0
}

func (m *model) missing(r modelRead, nowBound time.Duration) Kind {
	var live int64
	for _, a := range m.bound(r, nowBound) {
		if !a.Removed {
			live = max(live, a.Version)
		}
	}
	excused := live == 0 || m.removing[r.key] > 0
	for _, a := range m.acks {
		excused = excused || a.key == r.key && a.Removed && a.Version >= live
	}
	if excused {
		return 0
	}
	return Lost
}

func (m *model) bound(r modelRead, nowBound time.Duration) (acks []Ack) {
	for _, a := range m.acks {
		if a.key == r.key && r.at.Sub(a.At) > max(r.bound, nowBound) {
			acks = append(acks, a.Ack)
		}
	}
	return acks
}

// machine drives an oracle and the model side by side.
type machine struct {
	oracle *Oracle
	node   *Node
	at     clock
	model  model
	limit  time.Duration
	now    int // ms
	reads  []modelRead
}

// longestRead is how long a read may last here before the oracle forgets what binds it.
const longestRead = 700 * time.Millisecond

func newMachine() *machine {
	o := New(Config{Bound: bound, MaxBound: 4 * bound, History: 4})
	o.keep = int64(4*bound + longestRead) // forget early: what is dropped must still count
	return &machine{oracle: o, node: o.Node("n"), at: clock{o.origin}, limit: bound, model: model{
		removing: map[string]int{}, seen: map[string]int64{}, told: map[string]int64{},
	}}
}

func (m *machine) actions() map[string]func(*rapid.T) {
	key := func(t *rapid.T) string { return rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key") }
	version := func(t *rapid.T) int64 { return rapid.Int64Range(1, 12).Draw(t, "version") }
	moment := func(t *rapid.T) time.Time {
		m.now += rapid.IntRange(0, 200).Draw(t, "ms passed")
		return m.at.ms(m.now - rapid.IntRange(0, 300).Draw(t, "ms ago"))
	}
	return map[string]func(*rapid.T){
		"acked": func(t *rapid.T) {
			a := modelAck{key(t), Ack{Version: version(t), At: moment(t)}}
			m.model.acks = append(m.model.acks, a)
			m.oracle.Acked(a.key, a.Version, a.At)
		},
		"removing": func(t *rapid.T) {
			k := key(t)
			m.model.removing[k]++
			m.oracle.Removing(k)
		},
		"removed": func(t *rapid.T) {
			a := modelAck{key(t), Ack{Version: version(t), Removed: true, At: moment(t)}}
			if m.model.removing[a.key] == 0 {
				m.oracle.Removing(a.key)
				m.model.removing[a.key]++
			}
			m.model.removing[a.key]--
			m.model.acks = append(m.model.acks, a)
			m.oracle.Removed(a.key, a.Version, a.At)
		},
		"told": func(t *rapid.T) {
			k, v := key(t), rapid.Int64Range(1, 4).Draw(t, "oldest")
			m.model.told[k] = max(m.model.told[k], v)
			m.node.Told(k, v)
		},
		"bound": func(t *rapid.T) {
			m.limit = time.Duration(rapid.IntRange(1, 4).Draw(t, "bounds")) * bound
			m.node.SetBound(m.limit)
		},
		"begin": func(t *rapid.T) {
			k, at := key(t), moment(t)
			m.reads = append(m.reads, modelRead{
				Read: m.node.BeginAt(k, at), key: k, at: at, bound: m.limit, seen: m.model.seen[k], told: m.model.told[k],
			})
		},
		"end": func(t *rapid.T) { m.end(t) },
	}
}

func (m *machine) end(t *rapid.T) {
	if len(m.reads) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.reads)-1).Draw(t, "which read")
	r := m.reads[i]
	m.reads = append(m.reads[:i], m.reads[i+1:]...)
	if m.at.ms(m.now).Sub(r.at) >= longestRead {
		return
	}
	var got *Violation
	var want Kind
	if rapid.Bool().Draw(t, "missing") {
		got, want = r.Missing(), m.model.missing(r, m.limit)
	} else {
		v, stale := rapid.Int64Range(0, 13).Draw(t, "answer"), rapid.Bool().Draw(t, "stale")
		got, want = r.End(v, stale), m.model.end(r, v, stale, m.limit)
	}
	k := kind(got)
	if k == Resurrected {
		k = Old
	}
	if k != want {
		t.Fatalf("the oracle says %v, the model %v; %v", k, want, got)
	}
}

func TestOracleAgreesWithAListOfAcknowledgements(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { t.Repeat(newMachine().actions()) })
}

// cache is the least that an oracle can watch: one value per key, and a copy that may be refreshed.
type cache struct{ truth, copied [64]atomic.Int64 }

func TestOracleSeesACacheThatForgetsToInvalidate(t *testing.T) {
	for _, forgets := range []bool{false, true} {
		t.Run("forgets "+strconv.FormatBool(forgets), func(t *testing.T) {
			o := New(Config{Bound: 0})
			n := o.Node("n")
			var c cache
			var writers, readers sync.WaitGroup
			done := make(chan struct{})
			for w := range 2 {
				writers.Go(func() { c.write(o, w, forgets) })
			}
			for range 4 {
				readers.Go(func() { c.read(n, done) })
			}
			writers.Wait()
			close(done)
			readers.Wait()
			if saw := o.Err() != nil; saw != forgets {
				t.Fatalf("the cache forgets: %t; the oracle: %v", forgets, o.Err())
			}
			t.Log(o.Stats())
		})
	}
}

// write changes one half of the keys, each in turn, and may forget to refresh the copy of the last
// version of each.
func (c *cache) write(o *Oracle, half int, forgets bool) {
	const writes = 10_000
	for i := range writes {
		k := half*32 + i%32
		v := c.truth[k].Add(1)
		if !forgets || i < writes-32 {
			c.copied[k].Store(v)
		}
		o.Acked(strconv.Itoa(k), v, time.Now())
	}
}

// read goes over all keys until done, and once more.
func (c *cache) read(n *Node, done <-chan struct{}) {
	for last := false; !last; {
		select {
		case <-done:
			last = true
		default:
		}
		for k := range c.copied {
			r := n.Begin(strconv.Itoa(k))
			r.End(c.copied[k].Load(), false)
		}
	}
}

func TestConcurrentWritersOfOneKeyLoseNoAcknowledgement(t *testing.T) {
	o, at := fresh()
	const writers, each = 8, 500
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range each {
				v := int64(i*writers + w + 1)
				o.Acked("k", v, at.ms(int(v)))
			}
		})
	}
	group.Wait()
	for v := int64(1); v <= writers*each; v++ {
		start := at.ms(int(v) + 251)
		if bad, good := o.BeginAt("k", start).End(v-1, false), o.BeginAt("k", start).End(v, false); bad == nil || good != nil {
			t.Fatalf("at version %d: %v, %v", v, bad, good)
		}
	}
}

func TestARightReadAllocatesNothing(t *testing.T) {
	o := New(Config{Bound: bound})
	n := o.Node("n")
	o.Acked("k", 1, time.Now())
	n.Begin("k").End(1, false)
	if got := testing.AllocsPerRun(1000, func() { n.Begin("k").End(1, false) }); got != 0 {
		t.Fatalf("%v allocations", got)
	}
}

func BenchmarkRead(b *testing.B) {
	o := New(Config{Bound: bound})
	n := o.Node("n")
	keys := make([]string, 10_000)
	for i := range keys {
		keys[i] = strconv.Itoa(i)
		o.Acked(keys[i], 1, time.Now())
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			n.Begin(keys[i%len(keys)]).End(1, false)
		}
	})
}

func BenchmarkAcked(b *testing.B) {
	o := New(Config{Bound: bound})
	b.ReportAllocs()
	for i := range b.N {
		o.Acked("k", int64(i+1), o.origin.Add(time.Duration(i)*time.Millisecond))
	}
}
