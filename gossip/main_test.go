package gossip

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	long = flag.Bool("long", false, "run the tests of loss, partitions and intruders in full: eight minutes with -parallel 8")
	out  = flag.String("out", "", "folder to which the long forms write gossip.md")
)

// TestMain finds goroutines that do not end. memberlist ends its own without being awaited (see
// Close), a probe on a slow machine up to eight intervals later; so what is left is looked at until
// it is gone, for ten seconds, and nothing is excepted.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		var err error
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
			if err = goleak.Find(); err == nil { // tries for half a second itself
				break
			}
		}
		if err == nil {
			err = results.write(*out)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// patience is how long a test waits for what has to happen. Generous: the machine may be busy with
// other tests.
const patience = time.Minute

// await polls until ok, and returns how long that took.
func await(t testing.TB, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Since(began) > patience {
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
		<-tick.C
	}
	return time.Since(began)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// logbook is where a test's loggers write, for tests that read it and for the output of those that
// fail.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logbook) count(text string) int { return strings.Count(l.String(), text) }

func testLogbook(t testing.TB) (*slog.Logger, *logbook) {
	l := &logbook{}
	t.Cleanup(func() {
		if t.Failed() {
			text := l.String()
			t.Logf("log:\n%s", text[max(0, len(text)-4000):])
		}
	})
	return slog.New(slog.NewTextHandler(l, nil)), l
}

// quick is every time a fifth of what it is, or less, so that tests are.
func quick() timing {
	return timing{
		probeEvery: 200 * time.Millisecond, probeTimeout: 100 * time.Millisecond, suspectMult: 5,
		forgetAfter: 2 * time.Second, gossipEvery: 20 * time.Millisecond, syncEvery: 2 * time.Second,
		tcpTimeout: 2 * time.Second, rejoinFirst: 50 * time.Millisecond, rejoinMost: 500 * time.Millisecond,
		keysEvery: 20 * time.Millisecond, tellEvery: 50 * time.Millisecond,
	}
}

// theKey is the key of tests that are not about keys.
func theKey() []byte { return bytes.Repeat([]byte{7}, keySize) }

// start runs a node on loopback until the end of the test. What cfg does not say is quick, and has
// theKey.
func start(t testing.TB, cfg Config) *Cluster {
	t.Helper()
	c := prepare(t, cfg)
	must(t, c.Start(t.Context()))
	return c
}

func prepare(t testing.TB, cfg Config) *Cluster {
	t.Helper()
	cfg.Bind = cmp.Or(cfg.Bind, "127.0.0.1:0")
	if cfg.KeyFile == "" && cfg.Keys == nil {
		cfg.Keys = [][]byte{theKey()}
	}
	if cfg.Logger == nil {
		cfg.Logger, _ = testLogbook(t)
	}
	cfg.timing = cmp.Or(cfg.timing, quick())
	c, err := New(cfg)
	must(t, err)
	t.Cleanup(func() { must(t, c.Close()) })
	return c
}

// several runs nodes named a, b, c, … that all have the same seeds: the first two.
func several(t testing.TB, n int, change func(i int, cfg *Config)) []*Cluster {
	t.Helper()
	nodes := make([]*Cluster, n)
	var seeds []string
	for i := range nodes {
		cfg := Config{Name: string(rune('a' + i)), Seeds: seeds}
		if change != nil {
			change(i, &cfg)
		}
		nodes[i] = start(t, cfg)
		if i < 2 {
			seeds = append(slices.Clone(seeds), nodes[i].Self().Addr)
		}
	}
	await(t, "all nodes see one another", func() bool { return agree(nodes, n) })
	return nodes
}

// agree says whether each of the nodes has n members.
func agree(nodes []*Cluster, n int) bool {
	return !slices.ContainsFunc(nodes, func(c *Cluster) bool { return len(c.Members()) != n })
}

func names(members []Member) (list []string) {
	for _, m := range members {
		list = append(list, m.Name)
	}
	return list
}

func find(c *Cluster, name string) Member {
	for _, m := range c.Members() {
		if m.Name == name {
			return m
		}
	}
	return Member{State: Gone}
}
