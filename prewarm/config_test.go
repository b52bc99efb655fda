package prewarm

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/tier"
)

func TestBadConfigsSayWhatIsWrong(t *testing.T) {
	client, cache := redis.NewClient(&redis.Options{}), new(tier.Cache)
	defer client.Close()
	for want, err := range map[string]error{
		"Config.Client is nil":               Config{Cache: cache}.withDefaults().validate(),
		"Config.Cache is nil":                Config{Client: client}.withDefaults().validate(),
		"Config.Node has 300 bytes":          Config{Client: client, Cache: cache, Node: strings.Repeat("x", 300)}.withDefaults().validate(),
		"Settle is 1s; want at least 2.5s":   Config{Client: client, Cache: cache, Members: &citizen{}, Settle: time.Second}.withDefaults().validate(),
		"Fill is 1.5":                        Config{Client: client, Cache: cache, Fill: 1.5}.withDefaults().validate(),
		"source 0 is nil":                    Config{Client: client, Cache: cache, Sources: []Source{nil}}.withDefaults().validate(),
		"MaxUsers is -1":                     Options{MaxUsers: -1}.withDefaults().validate(),
		"MaxUsers is 10000001":               Options{MaxUsers: MostUsers + 1}.withDefaults().validate(),
		"DaysBack is -2":                     Options{DaysBack: -2}.withDefaults().validate(),
		"BatchSize is 501":                   Options{BatchSize: 501}.withDefaults().validate(),
		"Rate is 0.01":                       Options{Rate: 0.01}.withDefaults().validate(),
		"Rate is NaN":                        Options{Rate: math.NaN()}.withDefaults().validate(),
		"source 1 is nil":                    Options{Sources: []Source{list{}, nil}}.withDefaults().validate(),
		`JSONLConfig.Path is "" and Reader`:  second(NewJSONL(JSONLConfig{})),
		`JSONLConfig.Path is "x" and Reader`: second(NewJSONL(JSONLConfig{Path: "x", Reader: strings.NewReader("")})),
	} {
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v; want %q", err, want)
		}
	}
	if err := (Config{Client: client, Cache: cache, Settle: time.Second}).withDefaults().validate(); err != nil {
		t.Errorf("a short Settle of a node on its own: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestOptionsAreTheContracts(t *testing.T) {
	o := Options{}.withDefaults()
	if o.MaxUsers != 10_000 || o.DaysBack != 7 || o.BatchSize != 500 || math.Abs(o.Rate-1000.0/3) > 1e-9 || o.Unlimited {
		t.Errorf("the defaults are %+v", o)
	}
	for _, o := range []Options{{Rate: -1}, {Unlimited: true, Rate: 5}, {Delay: -1}} {
		if o := o.withDefaults(); !o.Unlimited || o.Rate != 0 || o.validate() != nil {
			t.Errorf("without a limit: %+v", o)
		}
	}
	if o := (Options{BatchSize: 100, Delay: time.Second}).withDefaults(); o.Rate != 100 {
		t.Errorf("100 each second: %+v", o)
	}
}

func TestLifecycle(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	conf := Config{Client: open(t, server.URL()), Cache: new(tier.Cache), Node: "n"}
	r, err := New(conf)
	check(t, err)
	if _, err := r.Begin(t.Context(), Options{}); !errors.Is(err, ErrNotStarted) {
		t.Errorf("Begin before Start: %v", err)
	}
	if _, err := r.Cancel(t.Context()); !errors.Is(err, ErrNotStarted) {
		t.Errorf("Cancel before Start: %v", err)
	}
	if s := r.Status(); s.State != Idle || s.Node != "n" {
		t.Errorf("status before Start: %+v", s)
	}
	check(t, server.Kill())
	if err := r.Start(t.Context()); err == nil {
		t.Error("Start on a dead server succeeded")
	}
	check(t, server.Restart())
	check(t, r.Start(t.Context()))
	check(t, r.Start(t.Context()))
	if _, err := r.Begin(t.Context(), Options{}); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "no source") {
		t.Errorf("Begin without a source: %v", err)
	}
	if _, err := r.Begin(t.Context(), Options{Rate: 0.01, Sources: from(nil)}); !errors.Is(err, ErrConfig) {
		t.Errorf("Begin with a bad rate: %v", err)
	}
	if _, err := r.Cluster(t.Context()); !errors.Is(err, ErrNoRun) {
		t.Errorf("Cluster without a run: %v", err)
	}
	check(t, r.Close())
	check(t, r.Close())
	if err := r.Start(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Start after Close: %v", err)
	}
	if _, err := r.Begin(t.Context(), Options{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Begin after Close: %v", err)
	}
	r, err = New(conf)
	check(t, err)
	check(t, r.Close())
}

// TestRunOverEachRedis runs two nodes over every kind of Redis.
func TestRunOverEachRedis(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"embedded", "redis", "cluster"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runTwice(t, redistest.Kinds()[name](t))
		})
	}
}

func runTwice(t *testing.T, url string) {
	w := newTown(t, url, nil)
	w.found()
	w.found()
	w.origin.fail = func(id string, _ int) error {
		if id == "u7" {
			return errDown
		}
		return nil
	}
	users := people(700)
	s := w.run(Options{Sources: from(users), Unlimited: true})
	if s.State != Done || s.Cached != 699 || s.Errors != 1 || len(s.Failures) != 1 || s.Failures[0].ID != "u7" {
		t.Errorf("ended with %+v", s)
	}
	if asked, again := w.origin.total(); asked != 701 || again != 1 {
		t.Errorf("%d asked, %d of them again", asked, again)
	}
	w.warm(append(users[:6:6], users[7:]...))
	_, err := w.living[1].Begin(t.Context(), Options{Sources: from(users[:1])})
	check(t, err)
}

func TestRecordsThatCannotBeRead(t *testing.T) {
	for name, fields := range map[string]map[string]string{
		"planned": {"id": "x", "planned": "many"},
		"options": {"id": "x", "options": "{"},
		"sources": {"id": "x", "sources": "[1"},
		"filled":  {"id": "x", "filled": "00"},
	} {
		if _, err := decodeRecord(fields); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEveryKeyEnds looks at what a run leaves in Redis.
func TestEveryKeyEnds(t *testing.T) {
	t.Parallel()
	w := onRedis(t, 1, func(c *Config) { c.Members = nil })
	w.origin.fail = func(id string, _ int) error {
		if id == "u3" {
			return errDown
		}
		return nil
	}
	w.run(Options{Sources: from(people(50)), Unlimited: true})
	client := w.living[0].store.client
	keys, err := client.Keys(t.Context(), "*prewarm*").Result()
	check(t, err)
	for _, key := range keys {
		if ttl, err := client.PTTL(t.Context(), key).Result(); err != nil || ttl <= 0 || ttl > runTTL {
			t.Errorf("%s has TTL %v, %v", key, ttl, err)
		}
	}
	if len(keys) < 40 {
		t.Errorf("only %d keys: %v", len(keys), keys)
	}
}
