package edge

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/edge/fuel"
	"github.com/chatapp-ngomna/edgecache/profile"
)

func newEngine(t testing.TB, cfg Config) *Engine {
	t.Helper()
	e, err := NewEngine(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func compile(t testing.TB, e *Engine, wasm []byte) *Function {
	t.Helper()
	f, err := e.Compile(t.Context(), "test", wasm, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func user(id string) *profile.Profile {
	return &profile.Profile{ID: id, Nom: "Ngo Mbé", Prenom: "Awa", FullName: "Awa Ngo Mbé", Avatar: "/a/" + id + ".webp",
		Matricule: "623456-" + id, Ministere: "MINSANTE", Sexe: "F", UpdatedAt: 1700000000000, Attrs: map[string]string{"room": "12"}}
}

// view calls f for a user, with nothing else.
func view(t testing.TB, f *Function, p *profile.Profile, r Request) (*profile.Profile, error) {
	t.Helper()
	tail, err := f.AppendTail(nil, r)
	if err != nil {
		t.Fatal(err)
	}
	shown, used, err := f.View(t.Context(), p, profile.AppendMsgpack(nil, p), tail)
	if used < 0 || used > f.Fuel() {
		t.Errorf("used %d units of %d", used, f.Fuel())
	}
	return shown, err
}

func TestViewReturnsWhatTheFunctionShows(t *testing.T) {
	e := newEngine(t, Config{})
	if shown, err := view(t, compile(t, e, same().wasm()), user("1"), Request{}); shown != nil || err != nil {
		t.Errorf("a function that shows all as it is: %v, %v", shown, err)
	}
	f := compile(t, e, echo().wasm())
	for range 3 {
		if shown, err := view(t, f, user("1"), Request{}); err != nil || !reflect.DeepEqual(shown, user("1")) {
			t.Errorf("a function that copies: %+v, %v", shown, err)
		}
	}
	large := user("1")
	large.Attrs["text"] = strings.Repeat("a", 40<<10)
	if shown, err := view(t, f, large, Request{}); err != nil || !reflect.DeepEqual(shown, large) {
		t.Errorf("a profile of 40 KiB: %v", err)
	}
	large.Attrs["more"] = strings.Repeat("a", 23<<10)
	if _, err := view(t, f, large, Request{}); !errors.Is(err, ErrOutput) {
		t.Errorf("a profile for which the guest has no room: %v", err)
	}
}

// TestFailures has one function for each way to fail.
func TestFailures(t *testing.T) {
	e := newEngine(t, Config{})
	other := profile.AppendMsgpack(nil, user("2"))
	newer := user("1")
	newer.UpdatedAt++
	data := func(b []byte) []byte { // code that writes b at 3000 and returns it
		var code []byte
		for i, c := range b {
			code = cat(code, i32(3000+i), i32(int(c)), 0x3a, 0, 0)
		}
		return cat(code, span(3000, len(b)))
	}
	for name, c := range map[string]struct {
		view []byte
		want error
		says string
	}{
		"trap":                 {cat(0x00), ErrTrap, "unreachable"},
		"load out of bounds":   {cat(i32(-1), 0x28, 2, 0, 0x1a, i64(0)), ErrTrap, "out of bounds"},
		"endless":              {cat(loop(), 0x00), ErrFuel, "100000"},
		"endless recursion":    {cat(local(0), local(1), 0x10, 2), ErrDepth, "too deep"},
		"output out of bounds": {span(1<<16-2, 40), ErrOutput, "65536"},
		"4 GiB of output":      {i64(1<<32 | 0xffffffff), ErrOutput, "4294967295 bytes"},
		"output of nothing":    {i64(1 << 32), ErrOutput, "0 bytes"},
		"output of zeros":      {span(40000, 100), ErrOutput, "msgpack"},
		"another user":         {data(other), ErrIdentity, `"2"`},
		"another version":      {data(profile.AppendMsgpack(nil, newer)), ErrIdentity, "1700000000001"},
		"refusal":              {data(cat(0x92, 0, 0xa5, "guest")), ErrRefused, "guest"},
		"refusal in bin":       {data(cat(0x92, 0, 0xc4, 5, "guest")), ErrRefused, "guest"},
		"empty refusal":        {data(cat(0x92, 0, 0xa0)), ErrOutput, "reason"},
		"refusal, and more":    {data(cat(0x92, 0, 0xa1, "g", 0)), ErrOutput, "reason"},
		"refusal that lies":    {data(cat(0x92, 0, 0xdb, "\xff\xff\xff\xff", "x")), ErrOutput, "reason"},
		"not UTF-8":            {data(profile.AppendMsgpack(nil, &profile.Profile{ID: "1", Nom: "\xff", UpdatedAt: 1700000000000})), ErrOutput, "UTF-8"},
		"a map of 4 billion":   {data(cat(0xdf, "\xff\xff\xff\xff")), ErrOutput, "msgpack"},
	} {
		t.Run(name, func(t *testing.T) {
			f := compile(t, e, guest{view: c.view}.wasm())
			for range 2 {
				_, err := view(t, f, user("1"), Request{})
				failure, ok := errors.AsType[*Failure](err)
				if !ok || !errors.Is(err, c.want) || failure.Function != "test" || !strings.Contains(err.Error(), c.says) {
					t.Fatalf("got %v; want %v with %q", err, c.want, c.says)
				}
			}
			if s := f.Stats(); s.Calls != 2 || s.Refused+s.Failed != 2 || s.Instances > 1 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// TestModulesThatAreNoFunctions has one module for each rule of an upload.
func TestModulesThatAreNoFunctions(t *testing.T) {
	e := newEngine(t, Config{InitFuel: 1_000_000})
	with := func(change func(*guest)) []byte {
		g := same()
		change(&g)
		return g.wasm()
	}
	for name, c := range map[string]struct {
		wasm []byte
		want error
		says string
	}{
		"no module":             {[]byte("\x7fELF"), fuel.ErrMalformed, ""},
		"import of a host":      {with(func(g *guest) { g.imports = [][]byte{cat(named("env"), named("now"), 0, 3)} }), fuel.ErrImport, "env"},
		"import of a file":      {with(func(g *guest) { g.imports = [][]byte{cat(named(wasiModule), named("path_open"), 0, 3)} }), fuel.ErrImport, "path_open"},
		"no alloc":              {with(func(g *guest) { g.noExport = exportAlloc }), ErrModule, "(i32) -> i32"},
		"no describe":           {with(func(g *guest) { g.noExport = exportDescribe }), ErrModule, exportDescribe},
		"no view":               {with(func(g *guest) { g.noExport = exportView }), ErrModule, exportView},
		"another abi":           {with(func(g *guest) { g.about = `{"abi":2}` }), ErrModule, "abi 2"},
		"claims of another abi": {with(func(g *guest) { g.about = `{"abi":1,"files":true}` }), ErrModule, "files"},
		"claim twice":           {with(func(g *guest) { g.about = `{"abi":1,"claims":["a","a"]}` }), ErrModule, "twice"},
		"claim with a space":    {with(func(g *guest) { g.about = `{"abi":1,"claims":["a b"]}` }), ErrModule, "a b"},
		"no description":        {with(func(g *guest) { g.about = "x" }), ErrModule, "description"},
		"65 pages":              {with(func(g *guest) { g.pages = 65 }), fuel.ErrLimit, "65"},
		"buffer out of bounds":  {with(func(g *guest) { g.alloc = i32(1<<16 - 4) }), ErrOutput, "65536"},
		"buffer at nothing":     {with(func(g *guest) { g.alloc = i32(0) }), ErrOutput, "0x0"},
		"endless start":         {with(func(g *guest) { g.start = loop() }), ErrFuel, "start"},
		"start that traps":      {with(func(g *guest) { g.start = cat(0x00) }), ErrTrap, "start"},
		"endless buffer":        {with(func(g *guest) { g.alloc = cat(loop(), 0x00) }), ErrFuel, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := e.Compile(t.Context(), "test", c.wasm, 0)
			if f != nil || !errors.Is(err, ErrModule) || !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v; want %v with %q", err, c.want, c.says)
			}
		})
	}
	if _, err := newEngine(t, Config{MaxFuel: 5}).Compile(t.Context(), "test", same().wasm(), 6); !errors.Is(err, ErrModule) {
		t.Errorf("more fuel than the operator allows: %v", err)
	}
}

// spies are functions that keep what they saw, and return it to the next caller.
func spies() map[string]guest {
	// The input goes to 8192; if something is there already, that is returned.
	keep := cat(i32(8192), local(0), local(1), 0xfc, 10, 0, 0)
	tell := func(is, remember []byte) []byte {
		return cat(is, 0x04, 0x40, span(8194, 200), 0x0f, 0x0b, keep, remember, i64(0))
	}
	global := [][]byte{cat(0x7f, 1, i32(0), 0x0b)}
	return map[string]guest{
		"memory":  {view: tell(cat(i32(8192), 0x28, 2, 0), nil)},
		"global":  {globals: global, view: tell(cat(0x23, 0), cat(i32(1), 0x24, 0))},
		"growth":  {view: tell(cat(0x3f, 0, i32(1), 0x47), cat(i32(1), 0x40, 0, 0x1a))},
		"table":   {tables: [][]byte{cat(0x70, 0, 2)}, view: tell(cat(i32(0), 0x25, 0, 0xd1, 0x45), cat(i32(0), 0xd2, 2, 0x26, 0)), elements: [][]byte{cat(3, 0, 1, 2)}},
		"a trap":  {view: cat(i32(8192), 0x28, 2, 0, 0x04, 0x40, span(8194, 200), 0x0f, 0x0b, keep, 0x00)},
		"no fuel": {view: cat(i32(8192), 0x28, 2, 0, 0x04, 0x40, span(8194, 200), 0x0f, 0x0b, keep, loop(), 0x00)},
	}
}

// TestNothingOfACallIsLeft runs functions that try to show a caller what an earlier one saw.
func TestNothingOfACallIsLeft(t *testing.T) {
	e := newEngine(t, Config{})
	for name, g := range spies() {
		t.Run(name, func(t *testing.T) {
			f := compile(t, e, g.wasm())
			_, first := view(t, f, user("1"), Request{})
			for i := range 5 {
				shown, err := view(t, f, user(fmt.Sprint(i+2)), Request{})
				if shown != nil || fmt.Sprint(err) != fmt.Sprint(first) {
					t.Fatalf("call %d saw something: %v, %v; the first: %v", i+2, shown, err, first)
				}
			}
		})
	}
}

// TestSpiesSee shows that the spies of the test above would see something in an instance that is
// not put back.
func TestSpiesSee(t *testing.T) {
	e := newEngine(t, Config{})
	for name, g := range spies() {
		f := compile(t, e, g.wasm())
		i, err := f.another(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p, tail := user("1"), []byte{0x90, 0x90, 0xc0}
		_, _, first := i.view(f, p, profile.AppendMsgpack(nil, p), tail)
		if _, _, err := i.view(f, p, profile.AppendMsgpack(nil, p), tail); fmt.Sprint(err) == fmt.Sprint(first) {
			t.Errorf("%s: the second call on the same instance sees nothing: %v", name, err)
		}
		i.close(t.Context())
	}
}

// TestTenThousandCallsAtOnce looks that each gets its own answer, that few instances are made, and
// that all of them go.
func TestTenThousandCallsAtOnce(t *testing.T) {
	e := newEngine(t, Config{Concurrency: 4})
	f := compile(t, e, echo().wasm())
	var wg sync.WaitGroup
	failed := make(chan error, 10_000)
	for n := range 10_000 {
		wg.Go(func() {
			p := user(fmt.Sprint(n))
			shown, _, err := f.View(context.Background(), p, profile.AppendMsgpack(nil, p), []byte{0x90, 0x90, 0xc0})
			if err != nil || shown.ID != p.ID || shown.Matricule != p.Matricule {
				failed <- fmt.Errorf("%s got %+v, %w", p.ID, shown, err)
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	if s := f.Stats(); s.Calls != 10_000 || s.Failed != 0 || s.Instances > 4 || s.FuelP99 < s.FuelP50 || s.FuelP50 == 0 {
		t.Errorf("stats %+v", s)
	}
	f.Close()
	if s := f.Stats(); s.Instances != 0 {
		t.Errorf("%d instances after Close", s.Instances)
	}
	if _, err := view(t, f, user("1"), Request{}); !errors.Is(err, ErrClosed) {
		t.Errorf("a call after Close: %v", err)
	}
}

// TestCloseWhileCallsRun closes functions under their callers, as a swap does.
func TestCloseWhileCallsRun(t *testing.T) {
	e := newEngine(t, Config{Concurrency: 4})
	for range 20 {
		f := compile(t, e, echo().wasm())
		var wg sync.WaitGroup
		for n := range 8 {
			wg.Go(func() {
				p := user(fmt.Sprint(n))
				for range 50 {
					shown, _, err := f.View(context.Background(), p, profile.AppendMsgpack(nil, p), []byte{0x90, 0x90, 0xc0})
					if errors.Is(err, ErrClosed) {
						return
					}
					if err != nil || shown.ID != p.ID {
						t.Errorf("%+v, %v", shown, err)
					}
				}
			})
		}
		f.Close()
		wg.Wait()
		if f.compiled != nil || f.live != 0 {
			t.Errorf("%d instances and code %v are left", f.live, f.compiled != nil)
		}
	}
}

// TestMemoryComesBack lets a memory bomb go off 40 times: each takes 4 MiB while it runs.
func TestMemoryComesBack(t *testing.T) {
	f := compile(t, newEngine(t, Config{}), guest{view: cat(i32(63), 0x40, 0, 0x1a, i64(0))}.wasm())
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 40 {
		if _, err := view(t, f, user("1"), Request{}); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 || f.Stats().Instances != 0 {
		t.Errorf("the heap grew by %d KiB, %d instances", grown>>10, f.Stats().Instances)
	}
}

// TestACallAllocatesNothing is about calls that show the profile as it is. One that changes it
// allocates the new one.
func TestACallAllocatesNothing(t *testing.T) {
	f := compile(t, newEngine(t, Config{}), same().wasm())
	p := user("1")
	packed, tail := profile.AppendMsgpack(nil, p), []byte{0x90, 0x90, 0xc0}
	ctx := context.Background()
	if n := testing.AllocsPerRun(1000, func() {
		if _, _, err := f.View(ctx, p, packed, tail); err != nil {
			t.Error(err)
		}
	}); n > 0 {
		t.Errorf("%g allocations a call", n)
	}
}

// TestWaitingCallersLeave looks that a caller whose context ends does not wait for a slot.
func TestWaitingCallersLeave(t *testing.T) {
	e := newEngine(t, Config{Concurrency: 1})
	f := compile(t, e, same().wasm())
	if err := e.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	p := user("1")
	if _, _, err := f.View(ctx, p, profile.AppendMsgpack(nil, p), []byte{0x90, 0x90, 0xc0}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	e.leave()
	if _, err := view(t, f, p, Request{}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestTailIsWhatIsDeclared(t *testing.T) {
	g := same()
	g.about = `{"abi":1,"claims":["role","org"],"args":["size"],"locale":true}`
	f := compile(t, newEngine(t, Config{}), g.wasm())
	secret := Map{"role": "guest", "mail": "a@b"}
	for _, c := range []struct {
		request Request
		want    string
	}{
		{Request{}, "\x92\xc0\xc0\x91\xc0\xc0"},
		{Request{Claims: secret}, "\x92\xa5guest\xc0\x91\xc0\xc0"},
		{Request{Claims: Map{"org": ""}, Args: Map{"size": "64"}, Locale: "fr"}, "\x92\xc0\xa0\x91\xa264\xa2fr"},
		{Request{Args: Map{"size": strings.Repeat("x", 40)}}, "\x92\xc0\xc0\x91\xd9\x28" + strings.Repeat("x", 40) + "\xc0"},
	} {
		if got, err := f.AppendTail(nil, c.request); err != nil || string(got) != c.want {
			t.Errorf("%+v: % x, %v; want % x", c.request, got, err, c.want)
		}
	}
	for _, n := range []int{MaxTail, 1 << 17, 1 << 20} {
		if _, err := f.AppendTail(nil, Request{Claims: Map{"role": strings.Repeat("x", n)}}); !errors.Is(err, ErrRequest) {
			t.Errorf("a claim of %d bytes: %v", n, err)
		}
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{"": false, "a": true, "hide-matricule": true, "-a": false, "a-": false, "A": false,
		"a b": false, "a/b": false, strings.Repeat("a", 64): true, strings.Repeat("a", 65): false} {
		if got := CheckName(name) == nil; got != ok {
			t.Errorf("%q: %v", name, CheckName(name))
		}
	}
}
