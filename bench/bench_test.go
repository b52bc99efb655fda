package bench

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chatapp-ngomna/edgecache/bench/report"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// one per process, for ever
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		// ends up to 10 s after its client
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*HostClient).connsCleaner"),
		// ends up to 10 s after its server
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// short is a Config that ends soon; its figures are worth nothing.
func short(suites ...string) Config {
	return Config{Suites: suites, Users: 200, Duration: 20 * time.Millisecond, Zipf: 1, Goroutines: 4}
}

// measured runs a Config. On a machine that stalls an operation may time out, which is no fault of
// what is tested: then it is run again.
func measured(t *testing.T, c Config) *report.Result {
	t.Helper()
	for attempt := 1; ; attempt++ {
		r, err := Run(t.Context(), c)
		switch {
		case err == nil && !r.Failed:
			return r
		case r == nil:
			t.Fatal(err)
		case r.Verdict.Violations > 0 || attempt == 3:
			t.Fatalf("%v\n%s", err, report.Text(r))
		}
		t.Logf("attempt %d: %v", attempt, err)
	}
}

// TestEverySuiteOnEmbeddedParts runs all and looks whether what is to be there is, and whether the
// oracle has judged.
func TestEverySuiteOnEmbeddedParts(t *testing.T) {
	c, last := short(), 0.0
	c.Progress = func(share float64, _ time.Duration, what string) {
		if share < 0 || share > 1 || what == "" {
			t.Errorf("progress %v of %q", share, what)
		}
		last = share
	}
	r := measured(t, c)
	if r.Interrupted || len(r.Suites) != len(Names()) {
		t.Fatalf("interrupted %v, %d suites\n%s", r.Interrupted, len(r.Suites), report.Text(r))
	}
	for name, want := range map[string]struct{ rows, figures, curves int }{
		"l1": {9, 2, 3}, "l2": {9, 3, 3}, "origin": {6, 2, 0}, "http": {6, 2, 0}, "batch": {9, 9, 0},
		"change": {3, 0, 0}, "prewarm": {0, 2, 0}, "mixed": {3, 1, 0},
	} {
		s := r.Suite(name)
		t.Logf("%s took %.1f s", name, s.Seconds)
		if len(s.Rows) != want.rows || len(s.Figures) != want.figures || len(s.Curves) != want.curves || s.Note == "" {
			t.Errorf("%s: %d rows, %d figures, %d curves; want %+v", name, len(s.Rows), len(s.Figures), len(s.Curves), want)
		}
		for _, row := range s.Rows {
			if row.Samples == 0 || row.Failed > 0 || row.Offered <= 0 || row.At(100) < row.At(50) || row.P50.High < row.P50.Low {
				t.Errorf("%s, %s at %s: %+v", name, row.Contender, row.Load, row)
			}
		}
	}
	if v := r.Verdict; v.Reads < 1000 || v.Changes == 0 || v.Violations > 0 {
		t.Errorf("the oracle's verdict is %+v", v)
	}
	if last == 0 || len(report.TierRows(r)) != 3 {
		t.Errorf("progress ended at %v; %d tiers", last, len(report.TierRows(r)))
	}
}

// TestOnARealRedis measures L2 and the origin, and leaves Redis as it was.
func TestOnARealRedis(t *testing.T) {
	server := redistest.Server(t)
	c := short("l2", "prewarm")
	c.Redis = server.URL()
	r := measured(t, c)
	if !strings.Contains(r.Machine.Redis, "redis-server ") {
		t.Errorf("Redis is called %q", r.Machine.Redis)
	}
	for _, name := range c.Suites {
		for _, row := range r.Suite(name).Rows {
			if strings.HasPrefix(row.Contender, report.Subject) && float64(row.Strays) > 0.05*float64(row.Samples) {
				t.Errorf("%s: %d of %d lookups were answered by another tier", name, row.Strays, row.Samples)
			}
		}
	}
	if keys := server.Client().Keys(t.Context(), "*").Val(); len(keys) > 0 {
		t.Errorf("%d keys are left in Redis, such as %q", len(keys), keys[0])
	}
}

func TestARedisInUseIsRefused(t *testing.T) {
	server := redistest.Server(t)
	if err := server.Client().Set(t.Context(), "somebody", "else", 0).Err(); err != nil {
		t.Fatal(err)
	}
	c := short("change", "prewarm")
	c.Redis = server.URL()
	if _, err := Run(t.Context(), c); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "holds 1 keys") {
		t.Fatalf("a Redis in use: %v", err)
	}
	c.InUse = true
	if r := measured(t, c); len(r.Suite("change").Rows) == 0 || r.Suite("prewarm").Skipped == "" {
		t.Fatalf("where it is wanted:\n%s", report.Text(r))
	}
	if got := server.Client().Get(t.Context(), "somebody").Val(); got != "else" {
		t.Errorf("the key of somebody else is %q", got)
	}
}

func TestWhatIsNotThereIsSaidSoon(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // it accepts, and says nothing
	c, began := short(), time.Now()
	c.Redis = "redis://" + l.Addr().String()
	if _, err := Run(t.Context(), c); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), c.Redis) {
		t.Errorf("a silent Redis: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v to say so", took)
	}
	node := httptest.NewServer(nil) // knows nobody
	defer node.Close()
	c = short("http", "batch")
	c.Nodes = []string{node.URL}
	r, err := Run(t.Context(), c)
	if !errors.Is(err, errAnswer) || !r.Failed {
		t.Errorf("a node that knows nobody: %v", err)
	}
	for _, name := range c.Suites { // each is tried
		if s := r.Suite(name); s == nil || !strings.Contains(s.Failure, "404") {
			t.Errorf("%s of a node that knows nobody: %+v", name, s)
		}
	}
}

func TestAnInterruptKeepsWhatThereIs(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := short("prewarm", "mixed")
	c.Duration = time.Hour
	c.Progress = func(_ float64, _ time.Duration, what string) {
		if strings.HasPrefix(what, "mixed") {
			cancel()
		}
	}
	r, err := Run(ctx, c)
	if err != nil || !r.Interrupted || len(r.Suites) != 1 || r.Suite("prewarm") == nil {
		t.Fatalf("%v: %+v", err, r)
	}
}

func TestBadConfigurations(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"--users 3: want 100":             func(c *Config) { c.Users = 3 },
		"--duration 1ms: want 10ms":       func(c *Config) { c.Duration = time.Millisecond },
		"--rate -1: want":                 func(c *Config) { c.Rate = -1 },
		"--zipf 9: want 0 to 5":           func(c *Config) { c.Zipf = 9 },
		"--goroutines 5000: want 1":       func(c *Config) { c.Goroutines = 5000 },
		`"l3" is no suite; want l1, l2`:   func(c *Config) { c.Suites = []string{"l1", "l3"} },
		`"localhost" is no URL of a node`: func(c *Config) { c.Nodes = []string{"localhost"} },
		"without --redis and --origin":    func(c *Config) { c.Nodes, c.Redis = []string{"http://x"}, "redis://y" },
		"--redis: bad Redis URL":          func(c *Config) { c.Redis = "localhost:1" },
	} {
		c := short("l1")
		change(&c)
		if _, err := Run(t.Context(), c); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
	}
}

// TestTheJudgeExcusesWhatTheProcessMissed has a change unseen for 300 ms, in 100 of which nothing
// ran.
func TestTheJudgeExcusesWhatTheProcessMissed(t *testing.T) {
	for _, c := range []struct {
		stood time.Duration
		right bool
	}{{0, false}, {100 * time.Millisecond, true}} {
		j, now := newJudge(), time.Now()
		j.note(stall{now, now.Add(c.stood)})
		j.acked("7", 5, now)
		j.oracle.Node("n").BeginAt("7", now.Add(300*time.Millisecond)).End(4, false)
		v := j.verdict()
		if (v.Violations == 0) != c.right || (v.Excused == 1) != c.right || v.Reads != 1 || v.Changes != 1 {
			t.Errorf("stood still for %v: %+v", c.stood, v)
		}
	}
}

func TestOrders(t *testing.T) {
	counts := map[int]int{}
	for i := range uint64(orderLength) {
		counts[zipfOnce.at(i%7)]++
	}
	if len(counts) > 7 {
		t.Errorf("%d users in the first seven places", len(counts))
	}
	once := map[int]bool{}
	o := inTurn(1, 100)
	for i := range uint64(100) {
		once[o.at(i)] = true
	}
	if len(once) != 100 {
		t.Errorf("in turn: %d of 100 users", len(once))
	}
	popular := map[int]int{}
	for i := range uint64(orderLength) {
		popular[zipfOnce.at(i)]++
	}
	most := 0
	for _, n := range popular {
		most = max(most, n)
	}
	// The most popular of 100 by 1/k has 1 of 5.19.
	if share := float64(most) / orderLength; share < 0.18 || share > 0.21 {
		t.Errorf("the most popular has a share of %v; want 0.193", share)
	}
}

var zipfOnce = zipf(3, 100, 1)

func TestCheckAnswer(t *testing.T) {
	body := `{"id":"7","fullName":"x","updatedAt":1700000000123,"attrs":{"a":"b"}}`
	if v, err := checkAnswer("7", 200, []byte(body)); v != 1700000000123 || err != nil {
		t.Errorf("%d, %v", v, err)
	}
	for id, status := range map[string]int{"7": 404, "8": 200} {
		if _, err := checkAnswer(id, status, []byte(body)); !errors.Is(err, errAnswer) {
			t.Errorf("%s, %s: %v", id, strconv.Itoa(status), err)
		}
	}
}
