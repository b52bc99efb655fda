package truth

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
)

func testOutboxRows(t *testing.T, s source.Store, clock *testClock) {
	want := []source.Change{
		MustCreate(t, s, profile.Profile{ID: "1", Nom: "a", Attrs: map[string]string{"k": "v"}}),
		MustUpdate(t, s, "1", origin.Update{Nom: testkit.Ptr("b")}),
		MustCreate(t, s, profile.Profile{ID: "2"}),
	}
	del, err := s.Delete(t.Context(), "1", nil)
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, del)
	got := ClaimAll(t, s)
	if len(got) != len(want) {
		t.Fatalf("%d rows, want %d", len(got), len(want))
	}
	for i, c := range got {
		w := want[i]
		same := (c.Profile == nil && w.Profile == nil) || testkit.SameProfile(c.Profile, w.Profile)
		if c.Seq != w.Seq || c.Kind != w.Kind || c.ID != w.ID || c.Version != w.Version || !same {
			t.Errorf("row %d: %+v, want %+v", i, c, w)
		}
	}
	select {
	case <-s.Wake():
	default:
		t.Error("no wake after changes")
	}
	clock.ms.Add(4000)
	if b, err := s.Backlog(t.Context()); err != nil || b.Rows != 4 || b.Oldest.Duration() != 4*time.Second {
		t.Errorf("backlog %+v, %v", b, err)
	}
}

func testClaims(t *testing.T, s source.Store, _ *testClock) {
	for _, id := range []string{"a", "b", "a2", "c"} {
		MustCreate(t, s, profile.Profile{ID: id})
	}
	ctx := t.Context()
	claim, err := s.Claim(ctx, source.Want{Limit: 3, Except: []string{"b"}})
	if err != nil {
		t.Fatal(err)
	}
	first := claim.Changes()
	if ids := ChangeIDs(first); !slices.Equal(ids, []string{"a", "a2", "c"}) {
		t.Fatalf("claimed %v", ids)
	}
	second, err := s.Claim(ctx, source.Want{Limit: 3, Except: []string{"b"}})
	if err != nil || len(second.Changes()) != 0 {
		t.Fatalf("claimed twice: %v, %v", second, err)
	}
	for _, err := range []error{second.Close(), claim.Done(ctx, []int64{first[1].Seq}), claim.Close(), claim.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if ids := ChangeIDs(ClaimAll(t, s)); !slices.Equal(ids, []string{"a", "b", "c"}) {
		t.Errorf("left undone: %v", ids)
	}
	if b, err := s.Backlog(ctx); err != nil || b.Rows != 3 {
		t.Errorf("backlog %+v, %v", b, err)
	}
}

func testPrune(t *testing.T, s source.Store, clock *testClock) {
	for i := range 5 {
		MustCreate(t, s, profile.Profile{ID: fmt.Sprint(i)})
	}
	claim, err := s.Claim(t.Context(), source.Want{Limit: 4})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range claim.Changes() {
		if err := claim.Done(t.Context(), []int64{c.Seq}); err != nil {
			t.Fatal(err)
		}
	}
	if err := claim.Close(); err != nil {
		t.Fatal(err)
	}
	MustCreate(t, s, profile.Profile{ID: "x"}) // commits the marks with it, if nothing did yet
	clock.ms.Add(1000)
	if n, err := s.Prune(t.Context(), clock.now().Add(-time.Second)); err != nil || n != 0 {
		t.Errorf("pruned %d too young, %v", n, err)
	}
	if n, err := s.Prune(t.Context(), clock.now()); err != nil || n != 4 {
		t.Errorf("pruned %d, %v; want 4", n, err)
	}
	if ids := ChangeIDs(ClaimAll(t, s)); !slices.Equal(ids, []string{"4", "x"}) {
		t.Errorf("undone after pruning: %v", ids)
	}
}
