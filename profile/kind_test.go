package profile

import (
	"fmt"
	"testing"
)

func TestKinds(t *testing.T) {
	for k, want := range map[Kind]struct{ name, event string }{
		0:           {"kind(0)", ""},
		Created:     {"created", "user.profile.created"},
		Updated:     {"updated", "user.profile.updated"},
		Deleted:     {"deleted", "user.profile.deleted"},
		Imported:    {"imported", ""},
		Invalidated: {"invalidated", "user.profile.invalidated"},
		6:           {"kind(6)", ""},
	} {
		if k.String() != want.name || k.Event() != want.event {
			t.Errorf("%d is %q, %q in an event; want %+v", uint8(k), k, k.Event(), want)
		}
		if want.event != "" && KindOf(want.event) != k {
			t.Errorf("KindOf(%q) is %v; want %v", want.event, KindOf(want.event), k)
		}
	}
	for _, name := range []string{"", "updated", "user.profile.imported", "user.profile.Updated"} {
		if k := KindOf(name); k != 0 {
			t.Errorf("KindOf(%q) is %v; want 0", name, k)
		}
	}
	// The outbox of a source keeps these.
	if got := fmt.Sprint(uint8(Created), uint8(Updated), uint8(Deleted), uint8(Imported)); got != "1 2 3 4" {
		t.Errorf("the kinds are %s; want 1 2 3 4", got)
	}
}
