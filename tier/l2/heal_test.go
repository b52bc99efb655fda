package l2

import (
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// A key of another type at a record, a guard or a lease blocks nothing: it is removed by whatever
// meets it first.
func TestKeysOfAnotherTypeAreRemoved(t *testing.T) {
	server := redistest.Server(t)
	client := open(t, server.URL())
	r, err := New(Config{Client: client})
	check(t, err)
	for place := range 3 {
		for name, do := range map[string]func(id string) error{
			"apply":      func(id string) error { _, err := r.Apply(t.Context(), user(id, 5)); return err },
			"remove":     func(id string) error { _, err := r.Remove(t.Context(), id, 5); return err },
			"invalidate": func(id string) error { return r.Invalidate(t.Context(), id) },
			"begin": func(id string) error {
				return r.Begin(t.Context(), asksFor([]string{"other", id, "another"}), fresh)[1].Err
			},
		} {
			id := name + string(rune('0'+place))
			_, err := r.Apply(t.Context(), user(id, 3))
			check(t, err)
			spoil(t, server.Client(), keys(id)[place], place)
			if err := do(id); err != nil {
				t.Errorf("%s with key %d of another type: %v", name, place, err)
			}
		}
	}
}

// spoil puts a value of a type at a key that none of its place has.
func spoil(t *testing.T, c *redis.Client, key string, place int) {
	t.Helper()
	check(t, c.Del(t.Context(), key).Err())
	if place == 2 {
		check(t, c.LPush(t.Context(), key, "x").Err())
		return
	}
	check(t, c.Set(t.Context(), key, "x", 0).Err())
}

func fresh(int) *profile.Profile { return new(profile.Profile) }

// A read takes it for a record that does not decode, and the next one for none.
func TestReadOfAnotherType(t *testing.T) {
	server := redistest.Server(t)
	r, err := New(Config{Client: open(t, server.URL())})
	check(t, err)
	check(t, server.Client().Set(t.Context(), profile.Key("12"), "x", 0).Err())
	check(t, server.Client().Set(t.Context(), profile.Key("13"), "x", 0).Err())
	if _, err := r.ReadOne(t.Context(), "12", fresh); !errors.Is(err, profile.ErrMalformed) {
		t.Errorf("ReadOne: %v; want malformed", err)
	}
	_, errs := r.Read(t.Context(), []string{"11", "13"}, fresh)
	if errs[0] != nil || !errors.Is(errs[1], profile.ErrMalformed) {
		t.Errorf("Read: %v; want the second malformed", errs)
	}
	_, errs = r.Read(t.Context(), []string{"12", "13"}, fresh)
	_, err = r.ReadOne(t.Context(), "12", fresh)
	for i, err := range append(errs, err) {
		if err != nil {
			t.Errorf("read %d after that: %v", i, err)
		}
	}
}
