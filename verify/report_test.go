package verify

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestNines(t *testing.T) {
	for _, c := range []struct {
		checks, violations uint64
		nines, proven      float64
	}{{0, 0, 0, 0}, {1, 0, 0, 0}, {1_000_000, 1, 6, 6}, {1_000_000, 0, 6, 5.5229}, {3_000_000, 0, 6.4771, 6}, {1000, 1000, 0, 0}, {1000, 10, 2, 2}} {
		n := Counts{Checks: c.checks, Violations: c.violations}
		if math.Abs(n.Nines()-c.nines) > 1e-4 || math.Abs(n.Proven()-c.proven) > 1e-4 {
			t.Errorf("%+v: %v, %v; want %v, %v", n, n.Nines(), n.Proven(), c.nines, c.proven)
		}
	}
}

// verifier returns one that never starts.
func verifier(t *testing.T, set func(*Config)) *Verifier {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = client.Close() })
	cfg := Config{Client: client, Nodes: []string{"http://a:1", "http://b:1"}}
	if set != nil {
		set(&cfg)
	}
	v, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

func TestReportsAddUp(t *testing.T) {
	v := verifier(t, nil)
	v.tally.start(epoch)
	for range 3 {
		v.tally.change(true)
	}
	v.tally.change(false)
	v.tally.count(0, 0, Counts{Checks: 1234567})
	v.tally.count(1, 0, Counts{Checks: 3, Stale: 2, Failed: 1})
	v.tally.count(1, 1, Counts{Checks: 200, Violations: 2, Absent: 1, Dropped: 1000})
	v.tally.read(0, 500)
	v.tally.lagged(1700 * time.Millisecond)
	v.tally.lateBy(0, 7*time.Millisecond)
	v.tally.gap("trimmed")
	first := v.tally.window(v, epoch.Add(10*time.Second))
	want := `03:04:15  4 changes, 3 sampled, worst lag 1.7s
  250ms  no violation in 1,234,570 checks: at least 6.09 nines, 5.61 of them 95 % sure (read up to 7ms later); 2 marked stale; 1 failed
  2.5s   2 of 200 checks violated: 2.00 nines (read up to 0s later); 1 absent; 1,000 dropped
  http://a:1  50 reads/s
  http://b:1  0 reads/s; 2 marked stale; 1 absent; 1 failed; 1,000 dropped
  stream: trimmed, 1 times; what changed then was not checked
`
	if got := first.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	v.tally.prove(1, 1)
	second := v.tally.window(v, epoch.Add(20*time.Second))
	if n := second.After[1].Counts; n != (Counts{Checks: 1, Violations: 1, Absent: ^uint64(0)}) {
		t.Errorf("the second window has %+v", n)
	}
	whole := v.tally.whole(v, epoch.Add(20*time.Second))
	if n := whole.After[1].Counts; n != (Counts{Checks: 201, Violations: 3, Dropped: 1000}) || whole.Violations() != 3 ||
		whole.WorstLag.Duration() != 1700*time.Millisecond || whole.After[0].Late.Duration() != 7*time.Millisecond || whole.Gaps["trimmed"] != 1 {
		t.Errorf("the whole is %+v", whole)
	}
}

func TestConfigs(t *testing.T) {
	for want, set := range map[string]func(*Config){
		"Client is nil":  func(c *Config) { c.Client = nil },
		"Nodes is empty": func(c *Config) { c.Nodes = nil },
		`node "10.0.0.7:8003"; want http://HOST:PORT`:   func(c *Config) { c.Nodes = []string{"10.0.0.7:8003"} },
		`node "ftp://u:xxxxx@h"; want http://HOST:PORT`: func(c *Config) { c.Nodes = []string{"ftp://u:secret@h"} },
		"node http://a:1 is named twice":                func(c *Config) { c.Nodes = []string{"http://a:1", "http://a:1/"} },
		"Sample is 1.5":                                 func(c *Config) { c.Sample = 1.5 },
		"Sample is -1":                                  func(c *Config) { c.Sample = -1 },
		"Sample is NaN":                                 func(c *Config) { c.Sample = math.NaN() },
		"MaxRate is -1":                                 func(c *Config) { c.MaxRate = -1 },
		"History is -1":                                 func(c *Config) { c.History = -1 },
		"MaxViolations -1":                              func(c *Config) { c.MaxViolations = -1 },
		"Timeout is 1ns":                                func(c *Config) { c.Timeout = 1 },
		"After is [2s 1s]; want rising":                 func(c *Config) { c.After = []time.Duration{2 * time.Second, time.Second} },
		"After is [1s 1s]":                              func(c *Config) { c.After = []time.Duration{time.Second, time.Second} },
		"After is [11s]":                                func(c *Config) { c.After = []time.Duration{11 * time.Second} },
		"After is [0s]":                                 func(c *Config) { c.After = []time.Duration{0} },
	} {
		client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
		cfg := Config{Client: client, Nodes: []string{"http://a:1"}}
		set(&cfg)
		if _, err := New(cfg); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v; want %s", err, want)
		}
		_ = client.Close()
	}
}

func TestALaneTakesWhatIsDue(t *testing.T) {
	v := verifier(t, func(c *Config) { c.MaxPending = 5; c.MaxRate = 20 })
	l := v.lanes[0]
	push := func(id string, known int) {
		c := changed(1, 5, known)
		l.push(&user{id: id, changes: []*change{c}}, c)
	}
	push("a", 0)
	push("b", 10)
	push("b", 20) // the fifth check waits, the sixth is dropped
	if l.waiting != 5 || v.tally.total.cells[0][1].Dropped != 1 {
		t.Fatalf("%d wait, %+v", l.waiting, v.tally.total.cells[0])
	}
	if b := l.take(at(249)); b != nil {
		t.Errorf("took %v before it was due", b.ids)
	}
	l.budget = 1
	l.filled = at(300)
	if b := l.take(at(300)); b == nil || len(b.ids) != 1 || len(b.checks["a"]) != 1 {
		t.Errorf("with one read allowed it took %+v", b)
	}
	if b := l.take(at(310)); b != nil {
		t.Errorf("took %v beyond the rate", b.ids)
	}
	if b := l.take(at(360)); b == nil || len(b.ids) != 1 || len(b.checks["b"]) != 2 {
		t.Errorf("two changes of a user are one read: %+v", b)
	}
	l.failing = true
	if b := l.take(at(2500 + 251)); b == nil || len(b.checks["b"]) != 1 || v.tally.total.cells[0][1].Failed != 1 {
		t.Errorf("what is due for too long is given up: %+v, %+v", b, v.tally.total.cells[0])
	}
}
