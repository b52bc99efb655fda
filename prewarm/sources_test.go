package prewarm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// collect reads a source to its end.
func collect(t testing.TB, s Source, since time.Time) (users []User, err error) {
	t.Helper()
	for u, err := range s.Active(t.Context(), since) {
		if err != nil {
			return users, err
		}
		users = append(users, u)
	}
	return users, nil
}

func TestJSONLReadsWhatIsActive(t *testing.T) {
	text := lines(
		`{"id":"1","lastActive":1700000000000}`,
		`{"userId":"2","lastActive":"2023-11-14T22:13:21Z","more":[1,{"a":2}]}`,
		``,
		`  {"id":3,"lastActive":1700000002000}  `,
		`{"id":"old","lastActive":1600000000000}`,
		`{"id":"1","lastActive":"2023-11-14T22:13:23.5+01:00"}`,
		`{"id":"4","lastActive":1700000004000}`)
	path := filepath.Join(t.TempDir(), "active.jsonl")
	check(t, os.WriteFile(path, []byte(text), 0o600))
	for name, conf := range map[string]JSONLConfig{"a file": {Path: path}, "a reader": {Reader: strings.NewReader(text + "\n")}} {
		t.Run(name, func(t *testing.T) {
			j, err := NewJSONL(conf)
			check(t, err)
			users, err := collect(t, j, time.UnixMilli(1_650_000_000_000))
			check(t, err)
			var got []string
			for _, u := range users {
				got = append(got, fmt.Sprintf("%s@%d", u.ID, u.LastActive.UnixMilli()-1_700_000_000_000))
			}
			want := []string{"1@0", "2@1000", "3@2000", "1@-3596500", "4@4000"}
			if !slices.Equal(got, want) || j.Name() != "jsonl" {
				t.Errorf("got %v; want %v", got, want)
			}
			if n, faults := j.Skipped(); n != 0 || faults != nil {
				t.Errorf("passed over %d: %v", n, faults)
			}
		})
	}
}

func TestJSONLPassesOverBadLines(t *testing.T) {
	good := `{"id":"1","lastActive":1700000000000}`
	for name, c := range map[string]struct{ line, want string }{
		"no JSON":                             {`{"id":`, "unexpected end"},
		"no object":                           {`[1]`, "cannot unmarshal"},
		"no id":                               {`{"lastActive":1}`, "it is empty"},
		"an id that cannot be":                {`{"id":"a b","lastActive":1}`, `"a b"`},
		"an id that is a list":                {`{"id":["a"],"lastActive":1}`, "invalid id"},
		"no time":                             {`{"id":"2"}`, "want milliseconds since 1970, or ISO 8601"},
		"a negative time":                     {`{"id":"2","lastActive":-5}`, "-5"},
		"true as an id":                       {`{"id":true,"lastActive":1}`, "want a text or a whole number"},
		"half of an id":                       {`{"id":1.5,"lastActive":1}`, "1.5"},
		"a time that is none":                 {`{"id":"2","lastActive":"yesterday"}`, "yesterday"},
		"a line that is too long":             {`{"id":"2","lastActive":1,"x":"` + strings.Repeat("x", maxLine) + `"}`, "longer than 65536 bytes"},
		"a long line that ends in the buffer": {strings.Repeat("x", maxLine), "longer than 65536 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			j, err := NewJSONL(JSONLConfig{Reader: strings.NewReader(lines(good, c.line, good))})
			check(t, err)
			users, err := collect(t, j, time.Time{})
			n, faults := j.Skipped()
			if err != nil || len(users) != 2 || n != 1 {
				t.Fatalf("%d users, %v, %d lines passed over; want 2 and 1", len(users), err, n)
			}
			if text := faults[0].Error(); !strings.HasPrefix(text, "line 2: prewarm: malformed") || !strings.Contains(text, c.want) {
				t.Errorf("fault is %q; want line 2 and %q", text, c.want)
			}
		})
	}
}

func TestJSONLEndsAfterTooManyBadLines(t *testing.T) {
	for most, lines := range map[int]int{-1: 1, 3: 4} {
		j, err := NewJSONL(JSONLConfig{Reader: strings.NewReader(strings.Repeat("bad\n", 20)), MaxFaults: most})
		check(t, err)
		_, err = collect(t, j, time.Time{})
		if want := fmt.Sprintf("line %d", lines); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), want) {
			t.Errorf("MaxFaults %d: %v; want %s", most, err, want)
		}
	}
}

func TestJSONLReportsItsFile(t *testing.T) {
	j, err := NewJSONL(JSONLConfig{Path: filepath.Join(t.TempDir(), "none")})
	check(t, err)
	if _, err := collect(t, j, time.Time{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	j, err = NewJSONL(JSONLConfig{Reader: strings.NewReader(`{"id":"1","lastActive":1}`)})
	check(t, err)
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errDown)
	for _, err := range j.Active(ended, time.Time{}) {
		if !errors.Is(err, errDown) {
			t.Errorf("with an ended context: %v", err)
		}
	}
}

func FuzzJSONLLine(f *testing.F) {
	f.Add([]byte(`{"id":"1","lastActive":1700000000000}`))
	f.Add([]byte(`{"userId":7,"lastActive":"2023-11-14T22:13:21Z"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if u, err := decodeLine(line); err != nil && (!errors.Is(err, ErrMalformed) || u != (User{})) {
			t.Errorf("%q is %v, %v", line, u, err)
		}
	})
}

// TestGatheringKeepsTheNewest compares with a plain fold of everything.
func TestGatheringKeepsTheNewest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 30).Draw(t, "most")
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 2))
		stream := make([]User, rapid.IntRange(0, 8000).Draw(t, "length"))
		for i := range stream {
			stream[i] = User{"u" + strconv.Itoa(rnd.IntN(5000)), time.UnixMilli(rnd.Int64N(500))}
		}
		g := newGathering(most, time.Time{})
		all := newGathering(1<<30, time.Time{})
		for _, u := range stream {
			g.add(u)
			all.add(u)
		}
		want := all.newest()
		want = want[:min(most, len(want))]
		// Of users of one time, any may be forgotten early.
		got := g.newest()
		if len(got) != len(want) {
			t.Fatalf("%d users; want %d", len(got), len(want))
		}
		for i := range got {
			if !got[i].LastActive.Equal(want[i].LastActive) {
				t.Fatalf("user %d is %v; want %v", i, got[i], want[i])
			}
		}
		if len(g.seen) > roomFactor*most+1000 {
			t.Errorf("%d users are held for %d", len(g.seen), most)
		}
	})
}
