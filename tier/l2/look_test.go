package l2

import (
	"errors"
	"testing"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// TestLook looks at what each way of writing leaves in Redis, also at what is none of ours.
func TestLook(t *testing.T) {
	server := redistest.Server(t)
	l, err := New(Config{Client: open(t, server.URL())})
	check(t, err)
	ctx, client := t.Context(), server.Client()
	_, err = l.Apply(ctx, user("1", 7))
	check(t, err)
	_, err = l.Remove(ctx, "2", 8)
	check(t, err)
	check(t, client.HSet(ctx, profile.Key("3"), "fullName", "Of Others", "updatedAt", 5).Err())
	asks := l.Begin(ctx, []Ask{{ID: "4", Hint: "9"}}, nil)
	check(t, asks[0].Err)
	check(t, client.Set(ctx, profile.Key("5"), "x", 0).Err())
	check(t, client.HSet(ctx, profile.Key("6"), "ext", "x").Err())
	_, err = l.Hint(ctx, "7", "11", nil)
	check(t, err)
	for id, holds := range map[string]func(Held) bool{
		"1": func(h Held) bool {
			return h.Profile.UpdatedAt == 7 && h.Trust == "sealed" && h.Floor == 7 && h.TTL > 6e8*9/10 && h.Guard > 590_000 && h.Lease == nil
		},
		"2": func(h Held) bool { return h.Profile == nil && h.Floor == 8 && h.Absent > 0 && h.Absent <= 30_000 },
		"3": func(h Held) bool {
			return h.Profile.UpdatedAt == 5 && h.Trust == "partial" && h.TTL == -1 && h.Guard == 0
		},
		"4": func(h Held) bool {
			return h.Lease.Own && h.Lease.Token == asks[0].Token && h.Lease.Hint == "9" && h.Lease.Left > 0
		},
		"5": func(h Held) bool { return h.Profile == nil && h.Broken != "" },
		"6": func(h Held) bool { return h.Profile == nil && h.Broken != "" },
		"7": func(h Held) bool { return h.Said == "11" && h.Hint == "" },
		"8": func(h Held) bool { return h == Held{} },
	} {
		h, err := l.Look(ctx, id)
		if err != nil || !holds(h) {
			t.Errorf("user %s: %+v, lease %+v, %v", id, h, h.Lease, err)
		}
	}
	if kind := client.Type(ctx, profile.Key("5")).Val(); kind != "string" {
		t.Errorf("the look has repaired a key: it is a %s", kind)
	}
	if _, err := l.Look(ctx, "a b"); !errors.Is(err, profile.ErrInvalidID) {
		t.Errorf("an id that is none: %v", err)
	}
	check(t, client.ConfigSet(ctx, "maxmemory", "50mb").Err())
	if m, err := l.Memory(ctx); err != nil || m.Limit != 50<<20 || m.Used < 1<<18 || m.Used > m.Limit || m.share() <= 0 {
		t.Errorf("Redis has %+v, %v", m, err)
	}
	check(t, server.Kill())
	if _, err := l.Look(ctx, "1"); err == nil {
		t.Error("there is no Redis, and no error")
	}
}
