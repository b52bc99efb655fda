package gossip

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestNodesFindOneAnotherAndLeave(t *testing.T) {
	nodes := several(t, 3, func(i int, cfg *Config) { cfg.HTTP, cfg.Weight = "http://"+cfg.Name, i+1 })
	for _, c := range nodes {
		if got := names(c.Members()); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("%s has the members %q", c.cfg.Name, got)
		}
		got := find(c, "c")
		if got.HTTP != "http://c" || got.Weight != 3 || got.KeyID != KeyID(theKey()) || got.Addr != nodes[2].Self().Addr || got.Since.IsZero() {
			t.Errorf("%s sees c as %+v", c.cfg.Name, got)
		}
	}
	a, b, c := nodes[0], nodes[1], nodes[2]
	if !slices.Equal(owners(Owners(a.Members())), owners(Owners(c.Members()))) {
		t.Error("two nodes do not agree on who owns what")
	}
	drain(a)
	must(t, c.Close())
	await(t, "the others know that c left", func() bool { return agree(nodes[:2], 2) })
	expectSignal(t, a)
	if gone := a.Gone(); len(gone) != 1 || gone[0].Name != "c" || gone[0].State != Gone {
		t.Errorf("gone are %+v; want c", gone)
	}
	if len(c.Members()) != 0 || c.Self().State != Gone {
		t.Errorf("after Close c has the members %q", names(c.Members()))
	}
	start(t, Config{Name: "c", Seeds: []string{b.Self().Addr}})
	await(t, "c is back, at another address", func() bool { return agree(nodes[:2], 3) && len(a.Gone()) == 0 })
}

func drain(c *Cluster) {
	select {
	case <-c.Changed():
	default:
	}
}

func expectSignal(t *testing.T, c *Cluster) {
	t.Helper()
	select {
	case <-c.Changed():
	case <-time.After(patience):
		t.Fatal("a change was not signalled")
	}
}

func TestWarmthIsToldAndPaced(t *testing.T) {
	nodes := several(t, 2, nil)
	a, b := nodes[0], nodes[1]
	drain(a)
	before := b.Stats().Updates
	began := time.Now()
	for i := range 101 {
		b.SetWarmth(float64(i) / 100)
	}
	await(t, "a knows that b is warm", func() bool { return find(a, "b").Warmth == 1 })
	expectSignal(t, a)
	most := 2 + int64(time.Since(began)/b.cfg.timing.tellEvery)
	if n := b.Stats().Updates - before; n > most {
		t.Errorf("101 values were told in %d updates; want at most %d", n, most)
	}
	if b.Self().Warmth != 1 {
		t.Errorf("b has the warmth %v by itself", b.Self().Warmth)
	}
}

func TestSeedsThatComeLateAreJoined(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := ln.Addr().String()
	must(t, ln.Close())
	logger, book := testLogbook(t)
	a := start(t, Config{Name: "a", Seeds: []string{addr, "no-such-host.invalid:7946"}, Logger: logger})
	await(t, "failed attempts", func() bool { return a.Stats().JoinFailures >= 3 })
	for _, want := range []string{"seeds are missing", "attempt=1", "attempt=3", "pause=", "refused", "no-such-host.invalid"} {
		if book.count(want) == 0 {
			t.Errorf("the log does not have %q", want)
		}
	}
	start(t, Config{Name: "b", Bind: addr})
	await(t, "the late seed is a member", func() bool { return len(a.Members()) == 2 })
}

func TestSeedsAreNamesToo(t *testing.T) {
	a := start(t, Config{Name: "a", Bind: "localhost:0"})
	_, port, _ := net.SplitHostPort(a.Self().Addr)
	b := start(t, Config{Name: "b", Seeds: []string{"localhost:" + port}})
	if got := names(b.Members()); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("after Start b has the members %q", got)
	}
}

func TestAdvertiseIsWhatOthersSee(t *testing.T) {
	a := start(t, Config{Name: "a", Bind: "0.0.0.0:0", Advertise: "localhost:0", CIDRs: []string{"127.0.0.0/8", "::1/128"}})
	b := start(t, Config{Name: "b", Seeds: []string{a.Self().Addr}})
	got := find(b, "a").Addr
	if host, port, err := net.SplitHostPort(got); err != nil || host != "127.0.0.1" && host != "::1" || port == "0" {
		t.Errorf("b sees a at %q", got)
	}
}

func TestMistakesInTheConfig(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	key := theKey()
	for want, cfg := range map[string]Config{
		"Config.Bind is missing":                     {Keys: [][]byte{key}},
		`Config.Bind has "7946"; want HOST:PORT`:     {Bind: "7946", Keys: [][]byte{key}},
		"want a port from 0 to 65535":                {Bind: "127.0.0.1:70000", Keys: [][]byte{key}},
		`"0.0.0.0:7946", which is every interface`:   {Bind: "0.0.0.0:7946", Keys: [][]byte{key}},
		`"[::]:7946", which is every interface`:      {Bind: "[::]:7946", Keys: [][]byte{key}},
		`":7946", which is every interface`:          {Bind: ":7946", Keys: [][]byte{key}},
		`Config.Advertise is "0.0.0.0:7946"`:         {Bind: "0.0.0.0:7946", Advertise: "0.0.0.0:7946", Keys: [][]byte{key}},
		`Config.Seeds has "b"; want HOST:PORT`:       {Bind: "127.0.0.1:0", Seeds: []string{"b"}, Keys: [][]byte{key}},
		`Config.Seeds has "b:0"; want HOST:PORT`:     {Bind: "127.0.0.1:0", Seeds: []string{"b:0"}, Keys: [][]byte{key}},
		`Config.Name is "a b"`:                       {Name: "a b", Bind: "127.0.0.1:0", Keys: [][]byte{key}},
		"Config.Label has 256 bytes":                 {Label: strings.Repeat("x", 256), Bind: "127.0.0.1:0", Keys: [][]byte{key}},
		"Config.Weight is 101; want 1 to 100":        {Weight: 101, Bind: "127.0.0.1:0", Keys: [][]byte{key}},
		"Config.Weight is -1":                        {Weight: -1, Bind: "127.0.0.1:0", Keys: [][]byte{key}},
		"Config.HTTP is":                             {HTTP: strings.Repeat("x", 256), Bind: "127.0.0.1:0", Keys: [][]byte{key}},
		`Config.CIDRs is ["10.0.0.0"]; want network`: {CIDRs: []string{"10.0.0.0"}, Bind: "127.0.0.1:0", Keys: [][]byte{key}},
		"gossip: a key is required":                  {Bind: "127.0.0.1:0"},
		"both Config.KeyFile and Config.Keys":        {Bind: "127.0.0.1:0", KeyFile: "x", Keys: [][]byte{key}},
		"key 1 has 16 bytes; want 32":                {Bind: "127.0.0.1:0", Keys: [][]byte{key[:16]}},
		"is there twice":                             {Bind: "127.0.0.1:0", Keys: [][]byte{key, key}},
		"there are 9; want at most 8":                {Bind: "127.0.0.1:0", Keys: [][]byte{key, NewKey(), NewKey(), NewKey(), NewKey(), NewKey(), NewKey(), NewKey(), NewKey()}},
		"no such file":                               {Bind: "127.0.0.1:0", KeyFile: filepath.Join(dir, "none")},
		"a key is required, in ":                     {Bind: "127.0.0.1:0", KeyFile: write("empty", "# nothing\n\n")},
		"line 2 of ":                                 {Bind: "127.0.0.1:0", KeyFile: write("bad", "# one\nc2VjcmV0\n")},
		"more than 16384 bytes":                      {Bind: "127.0.0.1:0", KeyFile: write("huge", strings.Repeat("#", maxKeyFile+1))},
	} {
		_, err := New(cfg)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got the error %v; want %s", err, want)
		} else if strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("a line of a key file got out: %v", err)
		}
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	taken := prepare(t, Config{Bind: ln.Addr().String()})
	if err := taken.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("on an address that is taken Start returned %v", err)
	}
	must(t, ln.Close())
	if err := taken.Start(t.Context()); err != nil {
		t.Errorf("once the address is free Start returned %v", err)
	}
	for want, cfg := range map[string]Config{
		"does not have 127.0.0.1, this node's own": {CIDRs: []string{"10.0.0.0/8"}},
		`resolve "no-such-host.invalid:0"`:         {Bind: "no-such-host.invalid:0"},
	} {
		if err := prepare(t, cfg).Start(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got the error %v; want %s", err, want)
		}
	}
}

// silentSeed takes connections and says nothing.
func silentSeed(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	return ln.Addr().String()
}

func TestStartEndsWithItsContext(t *testing.T) {
	c := prepare(t, Config{Name: "a", Seeds: []string{silentSeed(t)}, timing: timing{tcpTimeout: time.Hour}})
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	go func() {
		await(t, "it listens", func() bool { return len(c.Members()) == 1 })
		cancel(why)
	}()
	if err := c.Start(ctx); !errors.Is(err, why) {
		t.Errorf("Start returned %v; want the cause of its context's end", err)
	}
	if n := len(c.Members()); n != 0 {
		t.Errorf("after a Start that was ended it has %d members", n)
	}
}

func TestCloseEndsAStartUnderWay(t *testing.T) {
	c := prepare(t, Config{Name: "a", Seeds: []string{silentSeed(t)}, timing: timing{tcpTimeout: time.Hour}})
	done := make(chan error, 1)
	go func() { done <- c.Start(context.WithoutCancel(t.Context())) }()
	await(t, "it listens", func() bool { return len(c.Members()) == 1 })
	must(t, c.Close())
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("Start returned %v; want ErrClosed", err)
	}
}

func TestStartAndCloseInAnyOrder(t *testing.T) {
	t.Run("close before start", func(t *testing.T) {
		c := prepare(t, Config{})
		must(t, c.Close())
		must(t, c.Close())
		if err := c.Start(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Start after Close returned %v", err)
		}
	})
	t.Run("start twice", func(t *testing.T) {
		c := start(t, Config{})
		if err := c.Start(t.Context()); err != nil {
			t.Errorf("the second Start returned %v; want nil", err)
		}
		must(t, c.Close())
		must(t, c.Close())
	})
	t.Run("everything at once", func(t *testing.T) {
		seed := start(t, Config{Name: "seed"})
		for range 15 {
			c := prepare(t, Config{Seeds: []string{seed.Self().Addr}})
			var wg sync.WaitGroup
			for _, f := range []func(){
				func() { _ = c.Start(t.Context()) }, func() { _ = c.Start(t.Context()) },
				func() { _ = c.Close() }, func() { _ = c.Close() },
				func() { c.Members(); c.Gone(); c.Self(); c.Stats() }, func() { c.SetWarmth(0.5); drain(c) },
			} {
				wg.Go(f)
			}
			wg.Wait()
			must(t, c.Close())
			if len(c.Members()) != 0 {
				t.Fatalf("after Close it has the members %q", names(c.Members()))
			}
		}
	})
}

func TestReportsAreToldAndLeavingIsNoDeath(t *testing.T) {
	nodes := several(t, 2, nil)
	a, b := nodes[0], nodes[1]
	want := Report{Fenced: true, Origin: 2, Lag: 4 * time.Second, Memory: 0.5, Capacity: 256, Functions: 3, Store: StoreOn, StoreEntries: 120_000, Version: "v1.2.3"}
	b.SetReport(want)
	await(t, "a knows how b does", func() bool { return find(a, "b").Report == want })
	must(t, b.Close())
	await(t, "b is gone", func() bool { return len(a.Gone()) == 1 })
	if gone := a.Gone()[0]; !gone.Report.Leaving || gone.Report.Version != "v1.2.3" {
		t.Errorf("b has left, and a knows %+v", gone.Report)
	}
}
