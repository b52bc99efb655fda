package edge

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

// functionsOn starts Functions that tell nobody but themselves.
func functionsOn(t *testing.T, server *redistest.Proc, change func(*FunctionsConfig)) *Functions {
	t.Helper()
	options, err := redis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	options.DialTimeout, options.ReadTimeout, options.MaxRetries = 200*time.Millisecond, 200*time.Millisecond, -1
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	cfg := FunctionsConfig{Client: client, Announce: func(context.Context, string) error { return nil }}
	if change != nil {
		change(&cfg)
	}
	f, err := NewFunctions(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f
}

// calls looks a function up and calls it for a user.
func calls(t *testing.T, f *Functions, name string, fresh bool) error {
	t.Helper()
	s, _, err := f.Lookup(t.Context(), name, fresh)
	if err != nil {
		return err
	}
	fn, err := s.Function(t.Context())
	if err != nil {
		return err
	}
	_, err = view(t, fn, user("1"), Request{})
	return err
}

func TestOnlySignedFunctionsRun(t *testing.T) {
	server := redistest.Server(t)
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	careless := functionsOn(t, server, nil)
	strict := functionsOn(t, server, func(c *FunctionsConfig) { c.Keys = []ed25519.PublicKey{public} })
	wasm := same().wasm()
	if _, err := strict.Push(t.Context(), "f", wasm, PushOptions{}); !errors.Is(err, ErrSignature) {
		t.Errorf("an unsigned push: %v", err)
	}
	if _, err := careless.Push(t.Context(), "f", wasm, PushOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := calls(t, strict, "f", false); !errors.Is(err, ErrNotLoaded) || !strings.Contains(err.Error(), "signed") {
		t.Errorf("what another node took unsigned: %v", err)
	}
	probe, err := strict.Compile(t.Context(), "f", wasm, DefaultFuel)
	if err != nil {
		t.Fatal(err)
	}
	v := Version{Sum: probe.Sum(), Fuel: DefaultFuel}
	probe.Close()
	if _, err := strict.Push(t.Context(), "f", wasm, PushOptions{Signature: Sign(private, "f", v)}); err != nil {
		t.Fatal(err)
	}
	if err := calls(t, strict, "f", false); err != nil {
		t.Errorf("a signed one: %v", err)
	}
}

// TestWhatIsWrongInRedisRunsNowhere puts what is no function, and another module, where functions
// are kept.
func TestWhatIsWrongInRedisRunsNowhere(t *testing.T) {
	server := redistest.Server(t)
	f := functionsOn(t, server, nil)
	for _, name := range []string{"good", "changed", "gone"} {
		g := same()
		g.about = fmt.Sprintf(`{"abi":1,"args":[%q]}`, name)
		if _, err := f.Push(t.Context(), name, g.wasm(), PushOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	client, ctx := server.Client(), t.Context()
	records, err := f.Records(ctx)
	if err != nil {
		t.Fatal(err)
	}
	client.Set(ctx, moduleKey+records["changed"].Versions[0].Sum, "\x00asm", 0)
	client.Del(ctx, moduleKey+records["gone"].Versions[0].Sum)
	client.HSet(ctx, namesKey, "broken", "{", "Bad Name", "{}", "large", strings.Repeat(" ", maxRecord+1))
	late := functionsOn(t, server, nil) // one that has compiled nothing yet
	if err := calls(t, late, "good", true); err != nil {
		t.Errorf("the good one: %v", err)
	}
	for name, want := range map[string]error{"changed": ErrNotLoaded, "gone": ErrNotLoaded, "broken": ErrUnknown, "Bad Name": ErrUnknown, "large": ErrUnknown} {
		if err := calls(t, late, name, true); !errors.Is(err, want) {
			t.Errorf("%s: %v; want %v", name, err, want)
		}
	}
	if err := calls(t, f, "changed", false); err != nil {
		t.Errorf("who has it compiled goes on: %v", err)
	}
	g := same() // a push mends it
	g.about = `{"abi":1,"args":["changed"]}`
	if _, err := f.Push(t.Context(), "changed", g.wasm(), PushOptions{}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 10*time.Second, "the mended one", func() bool { return calls(t, late, "changed", false) == nil })
}

// TestWithoutRedisFunctionsGoOn stops Redis: lookups go on with what is known, and none waits for
// long.
func TestWithoutRedisFunctionsGoOn(t *testing.T) {
	server := redistest.Server(t)
	f := functionsOn(t, server, nil)
	if _, err := f.Push(t.Context(), "f", same().wasm(), PushOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := calls(t, f, "f", false); err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for range 100 {
		if err := calls(t, f, "f", false); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("100 lookups took %v", took)
	}
	if _, err := f.Push(t.Context(), "f", echo().wasm(), PushOptions{}); err == nil {
		t.Error("a push without Redis succeeded")
	}
}

// TestLifecycle calls what there is in other orders than usual.
func TestLifecycle(t *testing.T) {
	idle := redis.NewClient(&redis.Options{})
	defer idle.Close()
	for _, cfg := range []FunctionsConfig{{}, {Client: idle}} {
		if _, err := NewFunctions(cfg); !errors.Is(err, errConfig) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	server := redistest.Server(t)
	f := functionsOn(t, server, nil)
	if err := f.Start(t.Context()); err != nil {
		t.Errorf("a second Start: %v", err)
	}
	for range 2 {
		if err := f.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if n := server.Client().ZCard(t.Context(), nodesKey).Val(); n != 0 {
		t.Errorf("%d nodes are noted after Close", n)
	}
	if err := f.Start(t.Context()); err == nil {
		t.Error("a Start after Close succeeded")
	}
}

func TestClaims(t *testing.T) {
	c := Claims{"text": "a", "list": []any{"a", 7.0, true, []any{"x"}, nil}, "number": 1700000000.0, "yes": true, "object": map[string]any{}, "null": nil}
	for name, want := range map[string]string{"text": "a", "list": "a 7 true", "number": "1700000000", "yes": "true"} {
		if got, ok := c.Value(name); got != want || !ok {
			t.Errorf("%s: %q, %v; want %q", name, got, ok, want)
		}
	}
	for _, name := range []string{"object", "null", "absent"} {
		if got, ok := c.Value(name); ok {
			t.Errorf("%s: %q", name, got)
		}
	}
}
