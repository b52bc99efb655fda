package tier

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

func viewed(id string) *profile.Profile { return &profile.Profile{ID: id, Nom: "Diop", UpdatedAt: 1} }

// TestViewsEndWithTheirEntry keeps views of an answer, and looks that another answer about the same
// user has none.
func TestViewsEndWithTheirEntry(t *testing.T) {
	vs := &views{max: 1 << 20}
	r := Result{Tier: look.FromL1, Age: time.Second}.As(viewed("1"))
	shown := viewed("1")
	shown.Nom = ""
	refused := errors.New("refused")
	vs.keep(r, 1, []byte("guest"), r.As(shown), nil)
	vs.keep(r, 1, []byte("reader"), r, nil)
	vs.keep(r, 1, []byte("nobody"), Result{}, refused)
	for _, c := range []struct {
		by   uint64
		key  string
		nom  string
		err  error
		kept bool
	}{
		{1, "guest", "", nil, true}, {1, "reader", "Diop", nil, true}, {1, "nobody", "", refused, true},
		{2, "guest", "", nil, false}, {1, "gues", "", nil, false},
	} {
		got, err, kept := r.Find(c.by, []byte(c.key))
		if kept != c.kept || !errors.Is(err, c.err) {
			t.Errorf("%d %s: %v, kept %v", c.by, c.key, err, kept)
		}
		if got.from != nil && (got.Profile.Nom != c.nom || got.Tier != look.FromL1 || got.Age != time.Second) {
			t.Errorf("%d %s: %+v", c.by, c.key, got)
		}
	}
	again := Result{Tier: look.FromL2}.As(viewed("1"))
	if _, _, kept := again.Find(1, []byte("guest")); kept {
		t.Error("another answer about the same user has the view of the first")
	}
}

func TestViewsAreBounded(t *testing.T) {
	vs := &views{max: 64 << 10}
	results := make([]Result, 2000)
	for i := range results {
		results[i] = Result{Tier: look.FromL1}.As(viewed(fmt.Sprint(i)))
		vs.keep(results[i], 1, nil, results[i].As(viewed(fmt.Sprint(i))), nil)
		if used := vs.bytes(); used > 64<<10 {
			t.Fatalf("%d bytes after %d", used, i+1)
		}
	}
	kept := 0
	for _, r := range results {
		if _, _, ok := r.Find(1, nil); ok {
			kept++
		}
	}
	if _, _, newest := results[len(results)-1].Find(1, nil); !newest || kept < 50 || kept > 500 {
		t.Errorf("%d of 2,000 are kept, the newest: %v", kept, newest)
	}
	one := results[len(results)-1]
	for i := range 100 {
		vs.keep(one, 2, fmt.Append(nil, i), one, nil)
	}
	n := 0
	for v := one.from.views.Load(); v != nil; v = v.next {
		n++
	}
	if n > maxViews {
		t.Errorf("%d views of one answer; at most %d", n, maxViews)
	}
	if _, _, kept := one.Find(2, []byte("99")); !kept {
		t.Error("the newest view of many is gone")
	}
	runtime.KeepAlive(results)
}
