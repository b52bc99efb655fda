package edge

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// refusing refuses every caller.
func refusing() guest {
	var code []byte
	for i, c := range cat(0x92, 0, 0xa2, "no") {
		code = cat(code, i32(3000+i), i32(int(c)), 0x3a, 0, 0)
	}
	return guest{view: cat(code, span(3000, 5))}
}

// slow needs some fuel: it counts to n.
func slow(n int) guest {
	return guest{view: cat(i32(n), 0x21, 2, 0x03, 0x40, local(2), i32(1), 0x6b, 0x22, 2, 0x0d, 0, 0x0b, i64(0))}
}

// trapping fails each time.
func trapping() guest { return guest{view: cat(0x00)} }

// push pushes a module, and waits until it is known here.
func push(t *testing.T, f *Functions, g guest, o PushOptions) Pushed {
	t.Helper()
	p, err := f.Push(t.Context(), "f", g.wasm(), o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// servesWhom returns which version serves each of a thousand users.
func servesWhom(t *testing.T, f *Functions) map[int]map[string]bool {
	t.Helper()
	s, _, err := f.Lookup(t.Context(), "f", false)
	if err != nil {
		t.Fatal(err)
	}
	out := map[int]map[string]bool{}
	for i := range 1000 {
		id := strconv.Itoa(i)
		n := s.For(id).Version.Number
		if out[n] == nil {
			out[n] = map[string]bool{}
		}
		out[n][id] = true
	}
	return out
}

func TestATrialServesAShare(t *testing.T) {
	server := redistest.Server(t)
	f, other := functionsOn(t, server, nil), functionsOn(t, server, nil)
	if _, err := f.Push(t.Context(), "f", same().wasm(), PushOptions{Share: 0.1}); !errors.Is(err, ErrRequest) {
		t.Errorf("a share of a function that nobody serves: %v", err)
	}
	for _, bad := range []float64{-0.1, 1, 1.5} {
		if _, err := f.Push(t.Context(), "f", same().wasm(), PushOptions{Share: bad}); !errors.Is(err, ErrRequest) {
			t.Errorf("a share of %v: %v", bad, err)
		}
	}
	push(t, f, same(), PushOptions{})
	push(t, f, echo(), PushOptions{Share: 0.1})
	tenth := servesWhom(t, f)
	if n := len(tenth[2]); n < 60 || n > 140 || len(tenth[1])+n != 1000 {
		t.Errorf("version 2 serves %d of 1000 users; want a tenth", n)
	}
	if there := servesWhom(t, other); len(there[2]) != len(tenth[2]) {
		t.Errorf("another node has %d users on the trial, this one %d", len(there[2]), len(tenth[2]))
	}
	if p := push(t, f, echo(), PushOptions{Share: 0.5}); p.Version.Number != 2 {
		t.Errorf("the same module again is version %d", p.Version.Number)
	}
	half := servesWhom(t, f)
	for id := range tenth[2] {
		if !half[2][id] {
			t.Errorf("user %s left the trial when its share grew", id)
		}
	}
	if n := len(half[2]); n < 420 || n > 580 {
		t.Errorf("version 2 serves %d of 1000 users; want half", n)
	}
	if stats := f.Stats(); len(stats) != 2 || stats[1].Share != 0.5 || stats[1].Version != 2 {
		t.Errorf("stats: %+v", stats)
	}
	if p := push(t, f, echo(), PushOptions{}); p.Version.Number != 2 || len(servesWhom(t, f)[2]) != 1000 {
		t.Errorf("pushed for all: version %d serves %d", p.Version.Number, len(servesWhom(t, f)[2]))
	}
}

func TestRollbackEndsATrial(t *testing.T) {
	f := functionsOn(t, redistest.Server(t), nil)
	push(t, f, same(), PushOptions{})
	push(t, f, echo(), PushOptions{})
	push(t, f, slow(10), PushOptions{Share: 0.5})
	p, err := f.Rollback(t.Context(), "f", 0)
	if err != nil || p.Version.Number != 2 || len(servesWhom(t, f)[2]) != 1000 {
		t.Errorf("%+v, %v; want version 2 for all", p, err)
	}
	if p, err = f.Rollback(t.Context(), "f", 0); err != nil || p.Version.Number != 1 {
		t.Errorf("%+v, %v; want version 1", p, err)
	}
}

// A version on trial that is worse is given up by the nodes themselves, and the record says why.
func TestATrialThatIsWorseEnds(t *testing.T) {
	for name, c := range map[string]struct {
		g   guest
		why string
	}{
		"it fails":        {trapping(), "it failed five times"},
		"it refuses":      {refusing(), "of its calls refuse"},
		"it needs more":   {slow(5000), "units of fuel"},
		"it is not worse": {slow(20), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := functionsOn(t, redistest.Server(t), nil)
			push(t, f, slow(10), PushOptions{})
			push(t, f, c.g, PushOptions{Share: 0.5})
			s, _, err := f.Lookup(t.Context(), "f", false)
			if err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, 15*time.Second, "enough calls", func() bool {
				for i := range 400 {
					show(t, s.For(strconv.Itoa(i)), user(strconv.Itoa(i)))
				}
				records, err := f.Records(t.Context())
				return err == nil && (records["f"].Trial.Version == 0 || c.why == "")
			})
			if c.why == "" {
				time.Sleep(2 * judgeEvery) // two verdicts
			}
			records, err := f.Records(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			r := records["f"]
			if r.Current != 1 || (r.Trial.Version == 2) != (c.why == "") {
				t.Errorf("%+v", r)
			}
			if c.why != "" && (r.Ended == nil || r.Ended.Version != 2 || !strings.Contains(r.Ended.Why, c.why) || r.Ended.At == 0) {
				t.Errorf("it ended with %+v; want %q", r.Ended, c.why)
			}
		})
	}
}

// show has a version called for a user.
func show(t *testing.T, s *Serving, p *profile.Profile) {
	t.Helper()
	f, err := s.Function(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tail, err := f.AppendTail(nil, Request{})
	if err != nil {
		t.Fatal(err)
	}
	// its failures are counted
	_, _, _ = s.View(t.Context(), p, profile.AppendMsgpack(nil, p), tail)
}
