package redistest

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"
)

// ScriptCase is one call of a script, and what is there before it.
type ScriptCase struct {
	Name    string
	Prepare func(context.Context, redis.Cmdable) error
	Script  *redis.Script
	Keys    []string
	Args    []any
}

// ScriptsAreWhole makes each call on a server that is full, and with each of its keys of another
// type than the script wants. A call that fails must have changed nothing, and made again once that
// is repaired it must do all that it does on a server that never failed.
func ScriptsAreWhole(t *testing.T, p *Proc, cases []ScriptCase) {
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			s := scriptTest{t: t, c: p.Client(), call: c}
			s.prepare()
			if err := s.run(); err != nil {
				t.Fatalf("on a server that is well: %v", err)
			}
			want := shape(s.contents())
			s.prepare()
			s.must(s.c.ConfigSet(t.Context(), "maxmemory", "1").Err())
			s.failing("a full server", want, func() { s.must(s.c.ConfigSet(t.Context(), "maxmemory", "0").Err()) })
			for _, key := range c.Keys {
				s.prepare()
				s.failing(key, want, s.spoil(key))
			}
		})
	}
}

type scriptTest struct {
	t    *testing.T
	c    *redis.Client
	call ScriptCase
}

func (s *scriptTest) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scriptTest) prepare() {
	s.must(s.c.FlushAll(s.t.Context()).Err())
	if s.call.Prepare != nil {
		s.must(s.call.Prepare(s.t.Context(), s.c))
	}
}

// run calls the script. One that does what it is to do about a key that it cannot use says so by
// another reply.
func (s *scriptTest) run() error {
	return s.call.Script.Run(s.t.Context(), s.c, s.call.Keys, s.call.Args...).Err()
}

func (s *scriptTest) contents() map[string]string {
	all, err := Contents(s.t.Context(), s.c)
	s.must(err)
	return all
}

// spoil gives a key another type, and returns what gives it back what it held.
func (s *scriptTest) spoil(key string) (repair func()) {
	ctx := s.t.Context()
	kind := s.c.Type(ctx, key).Val()
	if kind != "none" {
		s.must(s.c.Rename(ctx, key, key+"-kept").Err())
	}
	if err := s.c.SAdd(ctx, key, "a set, which no script uses").Err(); err != nil {
		s.t.Fatal(err)
	}
	return func() {
		s.must(s.c.Del(ctx, key).Err())
		if kind != "none" {
			s.must(s.c.Rename(ctx, key+"-kept", key).Err())
		}
	}
}

func (s *scriptTest) failing(what string, want map[string]string, repair func()) {
	before := s.contents()
	err := s.run()
	if after := s.contents(); err != nil && !maps.Equal(before, after) {
		s.t.Errorf("%s: %v, and it has changed\n%v\nto\n%v", what, err, before, after)
	}
	repair()
	if err == nil {
		return // the script replaces such a key, or does without it
	}
	s.t.Logf("%s: %v", what, err)
	s.must(s.run())
	if got := shape(s.contents()); !maps.Equal(got, want) {
		s.t.Errorf("%s: made again it leaves\n%v\nwant\n%v", what, got, want)
	}
}

var (
	times  = regexp.MustCompile(`[0-9]{13}|[0-9.]+e\+12`)
	member = regexp.MustCompile(`\{time [^{}]+\}`)
	scored = regexp.MustCompile(`^\[(` + member.String() + ` ?)+\]`)
)

// shape is contents without times, and without the order that they gave the members of a set.
func shape(all map[string]string) map[string]string {
	out := map[string]string{}
	for key, text := range all {
		text = times.ReplaceAllString(text, "time")
		out[key] = scored.ReplaceAllStringFunc(text, func(members string) string {
			each := member.FindAllString(members, -1)
			slices.Sort(each)
			return fmt.Sprint(each)
		})
	}
	return out
}
