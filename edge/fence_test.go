package edge

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestFence(t *testing.T) {
	var f fence
	now := time.Unix(1_700_000_000, 0)
	pass := func(want bool) bool {
		t.Helper()
		may, trying := f.enter(now)
		if may != want {
			t.Fatalf("%v: may call: %v; want %v", now.Sub(time.Unix(1_700_000_000, 0)), may, want)
		}
		return trying
	}
	for range 20 { // one failure in three seconds never closes it
		f.after(now, pass(true), true)
		now = now.Add(3 * time.Second)
	}
	now = now.Add(time.Minute)
	for i := range fenceAfter {
		if closed := f.after(now, pass(true), true); closed != (i == fenceAfter-1) {
			t.Fatalf("failure %d closes it: %v", i+1, closed)
		}
	}
	f.after(now, false, true) // one that was under way makes the pause no longer
	for pause := firstPause; pause <= longest; pause *= 2 {
		now = now.Add(pause - 1)
		pass(false)
		now = now.Add(1)
		trying := pass(true)
		pass(false) // one tries, the others wait
		f.after(now, trying, true)
	}
	now = now.Add(longest - 1)
	pass(false)
	now = now.Add(1)
	if trying := pass(true); !trying {
		t.Fatal("nobody tries after the longest pause")
	}
	f.after(now, true, false)
	pass(true)
	f.after(now, false, true)
	pass(true) // what was before the success is forgotten
}

func TestSignatures(t *testing.T) {
	key := func(seed byte) (ed25519.PublicKey, ed25519.PrivateKey) {
		private := ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune('a'+seed)), ed25519.SeedSize)))
		return private.Public().(ed25519.PublicKey), private
	}
	public, private := key(0)
	other, stranger := key(1)
	v := Version{Sum: "00", Fuel: 5}
	v.Signature = Sign(private, "hide", v)
	change := func(edit func(*Version)) Version {
		changed := v
		edit(&changed)
		return changed
	}
	both := []ed25519.PublicKey{other, public}
	for name, c := range map[string]struct {
		name string
		v    Version
		keys []ed25519.PublicKey
		ok   bool
	}{
		"signed":                {"hide", v, both, true},
		"another number":        {"hide", change(func(v *Version) { v.Number = 7 }), both, true},
		"no key is wanted":      {"hide", Version{}, nil, true},
		"unsigned":              {"hide", change(func(v *Version) { v.Signature = "" }), both, false},
		"another name":          {"show", v, both, false},
		"another module":        {"hide", change(func(v *Version) { v.Sum = "01" }), both, false},
		"more fuel":             {"hide", change(func(v *Version) { v.Fuel = 6 }), both, false},
		"open":                  {"hide", change(func(v *Version) { v.Open = true }), both, false},
		"of a key that is gone": {"hide", v, []ed25519.PublicKey{other}, false},
		"of a stranger":         {"hide", change(func(v *Version) { v.Signature = Sign(stranger, "hide", *v) }), []ed25519.PublicKey{public}, false},
		"no base64":             {"hide", change(func(v *Version) { v.Signature = "?" }), both, false},
	} {
		if err := verify(c.keys, c.name, c.v); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRecordsKeepTwentyVersions(t *testing.T) {
	var r Record
	for range 50 {
		r = r.add(Version{Sum: "x"})
		if r.Current == 0 {
			r.Current = r.Next // the first serves for ever
		}
	}
	if len(r.Versions) != Kept || r.Next != 50 || r.Versions[0].Number != 1 || r.Versions[1].Number != 32 || r.Versions[Kept-1].Number != 50 {
		t.Errorf("%+v", r)
	}
	if v, err := r.before("f", 0); err == nil {
		t.Errorf("a version before the first: %+v", v)
	}
	r.Current = 50
	if v, err := r.before("f", 0); err != nil || v.Number != 49 {
		t.Errorf("the version before: %+v, %v", v, err)
	}
	if _, err := parseRecord(strings.Repeat(" ", maxRecord+1)); err == nil {
		t.Error("a record of 64 KiB and a byte is read")
	}
}
