package truth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
)

// TestStore is the conformance suite of Store.
func TestStore(t *testing.T, open StoreMaker) {
	for name, test := range map[string]func(*testing.T, source.Store, *testClock){
		"a user that is created can be read":                        testCreateGet,
		"an update changes only what it gives":                      testPartialUpdate,
		"the full name follows the names until it is given":         testFullName,
		"attributes are merged":                                     testAttrs,
		"versions rise when the clock stands still or goes back":    testVersionsRise,
		"a user who is deleted and created again gets a higher one": testRecreate,
		"conditional changes need the version":                      testConditions,
		"what cannot be stored is refused":                          testRefused,
		"reads of many":                                             testReadMany,
		"concurrent updates of one user are in order":               testConcurrentUpdates,
		"every change has its outbox row":                           testOutboxRows,
		"a claim is exclusive and gives back what is not done":      testClaims,
		"bulk loads add what is not there":                          testBulkLoad,
		"a bulk load that fails adds nothing":                       testBulkLoadFails,
		"done rows are pruned":                                      testPrune,
	} {
		t.Run(name, func(t *testing.T) {
			clock := new(testClock)
			clock.ms.Store(1_700_000_000_000)
			test(t, open(t, t.TempDir(), clock.now), clock)
		})
	}
	t.Run("data and versions survive a restart", func(t *testing.T) { testReopen(t, open) })
	t.Run("closed stores say so", func(t *testing.T) { testClosed(t, open) })
}

func testCreateGet(t *testing.T, s source.Store, clock *testClock) {
	in := profile.Profile{ID: "a.b_c-d@e:1", Nom: "Ngô Biyong", Prenom: "Élodie", Avatar: "/a.png", Matricule: "1-A",
		Ministere: "MINSANTE", Sexe: "F", Attrs: map[string]string{"a": "1", "é": "\"<"}, UpdatedAt: 12}
	c := MustCreate(t, s, in)
	if c.Kind != profile.Created || c.ID != in.ID || c.Version != clock.ms.Load() || c.Seq == 0 {
		t.Errorf("change: %+v", c)
	}
	got := MustGet(t, s, in.ID)
	in.UpdatedAt, in.FullName = c.Version, "Élodie Ngô Biyong"
	if !testkit.SameProfile(got, &in) || !testkit.SameProfile(c.Profile, &in) {
		t.Errorf("got %+v, change %+v, want %+v", got, c.Profile, in)
	}
	if _, err := s.Create(t.Context(), &in); !errors.Is(err, origin.ErrExists) {
		t.Errorf("second create: %v", err)
	}
	if _, err := s.Get(t.Context(), "nobody"); !errors.Is(err, profile.ErrNotFound) {
		t.Errorf("missing: %v", err)
	}
}

func testPartialUpdate(t *testing.T, s source.Store, clock *testClock) {
	MustCreate(t, s, profile.Profile{ID: "1", Nom: "N", Prenom: "P", Avatar: "/a", Matricule: "M", Ministere: "F", Sexe: "M"})
	clock.ms.Add(5)
	c := MustUpdate(t, s, "1", origin.Update{Avatar: testkit.Ptr("/b"), Matricule: testkit.Ptr("")})
	want := profile.Profile{ID: "1", Nom: "N", Prenom: "P", FullName: "P N", Avatar: "/b", Ministere: "F", Sexe: "M",
		UpdatedAt: clock.ms.Load()}
	if got := MustGet(t, s, "1"); !testkit.SameProfile(got, &want) || !testkit.SameProfile(c.Profile, &want) || c.Kind != profile.Updated {
		t.Errorf("got %+v, change %+v", got, c)
	}
	if _, err := s.Update(t.Context(), "2", origin.Update{Nom: testkit.Ptr("x")}); !errors.Is(err, profile.ErrNotFound) {
		t.Errorf("update of nobody: %v", err)
	}
}

func testFullName(t *testing.T, s source.Store, _ *testClock) {
	MustCreate(t, s, profile.Profile{ID: "1", Nom: "Dupont", Prenom: "Jean", FullName: "Jean Dupont"})
	for _, step := range []struct {
		u    origin.Update
		want string
	}{
		{origin.Update{Prenom: testkit.Ptr("Paul")}, "Paul Dupont"},
		{origin.Update{FullName: testkit.Ptr("Dr Dupont")}, "Dr Dupont"},
		{origin.Update{Prenom: testkit.Ptr("Luc")}, "Dr Dupont"},
		{origin.Update{FullName: testkit.Ptr("")}, "Luc Dupont"},
		{origin.Update{Nom: testkit.Ptr("Abena"), FullName: testkit.Ptr("Luc Abena")}, "Luc Abena"},
		{origin.Update{Nom: testkit.Ptr("Biya")}, "Luc Biya"},
	} {
		MustUpdate(t, s, "1", step.u)
		if got := MustGet(t, s, "1").FullName; got != step.want {
			t.Errorf("full name %q, want %q", got, step.want)
		}
	}
}

func testAttrs(t *testing.T, s source.Store, _ *testClock) {
	MustCreate(t, s, profile.Profile{ID: "1"})
	for _, step := range []struct {
		merge map[string]*string
		want  map[string]string
	}{
		{map[string]*string{"a": testkit.Ptr("1"), "b": testkit.Ptr("2")}, map[string]string{"a": "1", "b": "2"}},
		{map[string]*string{"b": testkit.Ptr("3"), "c": testkit.Ptr("")}, map[string]string{"a": "1", "b": "3", "c": ""}},
		{nil, map[string]string{"a": "1", "b": "3", "c": ""}},
		{map[string]*string{"a": nil, "b": nil, "c": nil, "d": nil}, nil},
	} {
		MustUpdate(t, s, "1", origin.Update{Attrs: step.merge})
		if got := MustGet(t, s, "1").Attrs; !maps.Equal(got, step.want) {
			t.Errorf("attrs %v, want %v", got, step.want)
		}
	}
}

func testVersionsRise(t *testing.T, s source.Store, clock *testClock) {
	last := MustCreate(t, s, profile.Profile{ID: "1"}).Version
	for _, step := range []int64{0, 0, -1000, 500, 10_000} {
		clock.ms.Add(step)
		v := MustUpdate(t, s, "1", origin.Update{Nom: testkit.Ptr("x")}).Version
		if v != max(last+1, clock.ms.Load()) {
			t.Errorf("version %d after %d at %d", v, last, clock.ms.Load())
		}
		last = v
	}
	clock.ms.Store(profile.MaxVersion)
	MustUpdate(t, s, "1", origin.Update{Nom: testkit.Ptr("y")})
	if _, err := s.Update(t.Context(), "1", origin.Update{Nom: testkit.Ptr("z")}); !errors.Is(err, profile.ErrMalformed) {
		t.Errorf("a version above the highest: %v", err)
	}
}

func testRecreate(t *testing.T, s source.Store, clock *testClock) {
	last := MustCreate(t, s, profile.Profile{ID: "1", Nom: "old"}).Version
	for range 3 {
		clock.ms.Add(-10)
		c, err := s.Delete(t.Context(), "1", nil)
		if err != nil || c.Kind != profile.Deleted || c.Version <= last || c.Profile != nil {
			t.Fatalf("Delete: %+v, %v; last version %d", c, err, last)
		}
		if _, err := s.Get(t.Context(), "1"); !errors.Is(err, profile.ErrNotFound) {
			t.Fatalf("after delete: %v", err)
		}
		if _, err := s.Delete(t.Context(), "1", nil); !errors.Is(err, profile.ErrNotFound) {
			t.Fatalf("second delete: %v", err)
		}
		again := MustCreate(t, s, profile.Profile{ID: "1", Prenom: "new"})
		if again.Version <= c.Version || again.Profile.Nom != "" {
			t.Fatalf("created again: %+v after version %d", again, c.Version)
		}
		last = again.Version
	}
}

func testConditions(t *testing.T, s source.Store, _ *testClock) {
	v := MustCreate(t, s, profile.Profile{ID: "1"}).Version
	for _, ifMatch := range [][]int64{{}, {v - 1}, {v + 1, 0}} {
		if _, err := s.Update(t.Context(), "1", origin.Update{Nom: testkit.Ptr("x"), IfMatch: ifMatch}); !errors.Is(err, origin.ErrVersion) {
			t.Errorf("update if %v: %v", ifMatch, err)
		}
		if _, err := s.Delete(t.Context(), "1", ifMatch); !errors.Is(err, origin.ErrVersion) {
			t.Errorf("delete if %v: %v", ifMatch, err)
		}
	}
	v = MustUpdate(t, s, "1", origin.Update{Nom: testkit.Ptr("x"), IfMatch: []int64{7, v}}).Version
	if _, err := s.Delete(t.Context(), "1", []int64{v}); err != nil {
		t.Errorf("delete with the version: %v", err)
	}
}

func testRefused(t *testing.T, s source.Store, _ *testClock) {
	long := strings.Repeat("x", profile.MaxSize)
	for _, tt := range []struct {
		p    profile.Profile
		want error
	}{
		{profile.Profile{ID: ""}, profile.ErrInvalidID},
		{profile.Profile{ID: "a b"}, profile.ErrInvalidID},
		{profile.Profile{ID: "health"}, profile.ErrInvalidID},
		{profile.Profile{ID: ".."}, profile.ErrInvalidID},
		{profile.Profile{ID: "1", Nom: long}, profile.ErrTooLarge},
		{profile.Profile{ID: "1", Nom: "a\xff"}, profile.ErrMalformed},
		{profile.Profile{ID: "1", Nom: "a\x00"}, profile.ErrMalformed},
		{profile.Profile{ID: "1", Attrs: map[string]string{"\xff": ""}}, profile.ErrMalformed},
	} {
		if _, err := s.Create(t.Context(), &tt.p); !errors.Is(err, tt.want) {
			t.Errorf("Create(%.20q): %v, want %v", tt.p.ID+tt.p.Nom, err, tt.want)
		}
	}
	before := MustCreate(t, s, profile.Profile{ID: "1", Nom: "a"})
	if _, err := s.Update(t.Context(), "1", origin.Update{Avatar: &long}); !errors.Is(err, profile.ErrTooLarge) {
		t.Errorf("update that is too large: %v", err)
	}
	if got := MustGet(t, s, "1"); !testkit.SameProfile(got, before.Profile) {
		t.Errorf("a refused update left %+v", got)
	}
	if b, err := s.Backlog(t.Context()); err != nil || b.Rows != 1 {
		t.Errorf("backlog %+v, %v; want the one create", b, err)
	}
}

func testReadMany(t *testing.T, s source.Store, _ *testClock) {
	var want []string
	for i := range 25 {
		id := fmt.Sprint(i, "-", strings.Repeat("é"[:0], i))
		MustCreate(t, s, profile.Profile{ID: id, Nom: id})
		want = append(want, id)
	}
	slices.Sort(want)
	var got []string
	for after := ""; ; {
		page, err := s.Page(t.Context(), after, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range page {
			got = append(got, p.ID)
		}
		if len(page) < 10 {
			break
		}
		after = page[9].ID
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages %v, want %v", got, want)
	}
	if n, err := s.Count(t.Context()); err != nil || n != 25 {
		t.Errorf("count %d, %v", n, err)
	}
	found, err := s.GetBatch(t.Context(), []string{"3-", "nobody", "3-", "7-", `"`})
	if err != nil || len(found) != 2 || found["3-"].Nom != "3-" || found["7-"].Nom != "7-" {
		t.Errorf("batch %v, %v", found, err)
	}
	if found, err := s.GetBatch(t.Context(), nil); err != nil || len(found) != 0 {
		t.Errorf("empty batch %v, %v", found, err)
	}
}

func testConcurrentUpdates(t *testing.T, s source.Store, _ *testClock) {
	MustCreate(t, s, profile.Profile{ID: "1"})
	var mu sync.Mutex
	versions := map[int64]bool{}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 25 {
				c, err := s.Update(t.Context(), "1", origin.Update{Nom: testkit.Ptr(fmt.Sprint(g, ".", i))})
				if err != nil {
					t.Errorf("update: %v", err)
					return
				}
				mu.Lock()
				versions[c.Version] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(versions) != 200 {
		t.Errorf("%d versions for 200 updates", len(versions))
	}
	changes := ClaimAll(t, s)
	for i, c := range changes[1:] {
		if c.Version <= changes[i].Version || c.Seq <= changes[i].Seq {
			t.Fatalf("outbox has version %d seq %d after %d, %d", c.Version, c.Seq, changes[i].Version, changes[i].Seq)
		}
	}
	if last := changes[len(changes)-1]; len(changes) != 201 || !testkit.SameProfile(last.Profile, MustGet(t, s, "1")) {
		t.Errorf("%d changes, last %+v", len(changes), last)
	}
}

func testBulkLoad(t *testing.T, s source.Store, clock *testClock) {
	MustCreate(t, s, profile.Profile{ID: "2", Nom: "mine"})
	MustCreate(t, s, profile.Profile{ID: "3"})
	deleted, err := s.Delete(t.Context(), "3", nil)
	if err != nil {
		t.Fatal(err)
	}
	before := len(ClaimAll(t, s))
	n, err := s.BulkLoad(t.Context(), slices.Values([]*profile.Profile{
		{ID: "1", Nom: "a", Prenom: "b", UpdatedAt: 5, Attrs: map[string]string{"k": "v"}}, {ID: "2", Nom: "theirs"}, {ID: "3", UpdatedAt: 5}, {ID: "4"},
	}))
	if err != nil || n != 3 {
		t.Fatalf("BulkLoad: %d, %v", n, err)
	}
	want := &profile.Profile{ID: "1", Nom: "a", Prenom: "b", FullName: "b a", UpdatedAt: 5, Attrs: map[string]string{"k": "v"}}
	if got := MustGet(t, s, "1"); !testkit.SameProfile(got, want) {
		t.Errorf("loaded %+v", got)
	}
	if got := MustGet(t, s, "2"); got.Nom != "mine" {
		t.Errorf("user who existed became %+v", got)
	}
	if got := MustGet(t, s, "3"); got.UpdatedAt <= deleted.Version {
		t.Errorf("version %d, deleted at %d", got.UpdatedAt, deleted.Version)
	}
	if got := MustGet(t, s, "4"); got.UpdatedAt != clock.ms.Load() {
		t.Errorf("version %d", got.UpdatedAt)
	}
	after := ClaimAll(t, s)
	if last := after[len(after)-1]; len(after) != before+1 || last.Kind != profile.Imported || !slices.Equal(last.Added, []string{"1", "3", "4"}) {
		t.Errorf("%d outbox rows after, %d before, the last %+v", len(after), before, last)
	}
	if gone, err := s.Deleted(t.Context(), []string{"1", "3", "9"}); err != nil || !maps.Equal(gone, map[string]bool{"3": true}) {
		t.Errorf("deleted once: %v, %v", gone, err)
	}
}

func testBulkLoadFails(t *testing.T, s source.Store, _ *testClock) {
	ctx, cancel := context.WithCancel(t.Context())
	cases := map[string]struct {
		ctx   context.Context
		users func(yield func(*profile.Profile) bool)
		want  error
	}{
		"bad id":   {t.Context(), slices.Values([]*profile.Profile{{ID: "1"}, {ID: "é"}}), profile.ErrInvalidID},
		"reserved": {t.Context(), slices.Values([]*profile.Profile{{ID: "1"}, {ID: "all"}}), profile.ErrInvalidID},
		"panic": {t.Context(), func(yield func(*profile.Profile) bool) {
			yield(&profile.Profile{ID: "1"})
			panic("out of names")
		}, origin.ErrInternal},
		"cancelled": {ctx, func(yield func(*profile.Profile) bool) {
			cancel()
			for i := 0; i < 1<<20 && yield(&profile.Profile{ID: fmt.Sprint(i)}); i++ {
			}
		}, context.Canceled},
	}
	for name, tt := range cases {
		if n, err := s.BulkLoad(tt.ctx, tt.users); !errors.Is(err, tt.want) || n != 0 {
			t.Errorf("%s: %d, %v; want %v", name, n, err, tt.want)
		}
		if n, err := s.Count(t.Context()); err != nil || n != 0 {
			t.Errorf("%s: left %d users, %v", name, n, err)
		}
	}
	MustCreate(t, s, profile.Profile{ID: "1"})
}

func testReopen(t *testing.T, open StoreMaker) {
	place, clock := t.TempDir(), new(testClock)
	clock.ms.Store(1_700_000_000_000)
	s := open(t, place, clock.now)
	MustCreate(t, s, profile.Profile{ID: "1", Nom: "a"})
	MustCreate(t, s, profile.Profile{ID: "2"})
	gone, err := s.Delete(t.Context(), "2", nil)
	if err != nil {
		t.Fatal(err)
	}
	claim, err := s.Claim(t.Context(), source.Want{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	done := claim.Done(t.Context(), []int64{claim.Changes()[0].Seq})
	if err := errors.Join(done, claim.Close(), s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open(t, place, clock.now)
	if got := MustGet(t, s, "1"); got.Nom != "a" {
		t.Errorf("after restart %+v", got)
	}
	if got := ChangeIDs(ClaimAll(t, s)); !slices.Equal(got, []string{"2", "2"}) {
		t.Errorf("undone after restart: %v", got)
	}
	clock.ms.Add(-5000)
	if c := MustCreate(t, s, profile.Profile{ID: "2"}); c.Version <= gone.Version {
		t.Errorf("version %d after a restart, deleted at %d", c.Version, gone.Version)
	}
}

func testClosed(t *testing.T, open StoreMaker) {
	s := open(t, t.TempDir(), time.Now)
	if err := s.Start(t.Context()); !errors.Is(err, origin.ErrClosed) {
		t.Errorf("second Start: %v", err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	_, getErr := s.Get(t.Context(), "1")
	_, createErr := s.Create(t.Context(), &profile.Profile{ID: "1"})
	_, claimErr := s.Claim(t.Context(), source.Want{Limit: 1})
	for _, err := range []error{getErr, createErr, claimErr, s.Start(t.Context())} {
		if !errors.Is(err, origin.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}
