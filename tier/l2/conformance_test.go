package l2

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// TestL2Conformance runs one suite over the embedded Redis, a real one and a real cluster of three
// masters.
func TestConformance(t *testing.T) {
	for name, start := range redistest.Kinds() {
		t.Run(name, func(t *testing.T) {
			s := suite{client: open(t, start(t))}
			for _, c := range []struct {
				name string
				run  func(*testing.T)
			}{
				{"the hash has the contract's fields in plain text", s.hashIsPlain},
				{"a hash of another service is taken as it is", s.foreignHash},
				{"only one lease at a time, and it ends", s.leases},
				{"a fill without its lease is refused", s.fillNeedsLease},
				{"a fill older than the floor is refused", s.fillBelowFloor},
				{"a fill older than what is stored is refused", s.fillBelowStored},
				{"an apply stores only what is newer", s.applyOrder},
				{"versions of others outrank nothing", s.foreignVersions},
				{"a hint lasts until the origin has been asked", s.hints},
				{"a record of others is replaced by what the origin says", s.refusedRecord},
				{"a removal is remembered and history is ignored", s.removals},
				{"absence is remembered and ends", s.absence},
				{"an invalidation ends the lease", s.invalidation},
				{"a record older than the news is loaded again", s.knownVersion},
				{"a broken record is a miss", s.brokenRecord},
				{"a deletion told again does not end what an invalidation began", s.removedAgain},
				{"many at once answer as one by one", s.bulk},
				{"many fills end each as one would", s.bulkFill},
				{"a key of another type among many is removed", s.bulkBroken},
				{"scripts come back after the server lost them", s.scriptsLost},
				{"keys expire and are counted", s.expiryAndCount},
				{"bad input is refused before anything is sent", s.badInput},
			} {
				t.Run(c.name, c.run)
			}
		})
	}
}

type suite struct{ client redis.UniversalClient }

func (s suite) l2(t *testing.T, conf Config) *Redis {
	t.Helper()
	conf.Client = s.client
	l, err := New(conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

// id returns an id that no other case of this server uses.
func (s suite) id(t *testing.T) string {
	n, err := s.client.Incr(context.Background(), "test:ids").Result()
	if err != nil {
		t.Fatal(err)
	}
	return "u" + strconv.FormatInt(n, 10)
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// stored returns what L2 has of id, nil for nothing.
func stored(t *testing.T, l *Redis, id string) *profile.Profile {
	t.Helper()
	p, err := readOne(t, l, id)
	check(t, err)
	return p
}

// readOne returns what ReadOne makes room for, nil for nothing.
func readOne(t *testing.T, l *Redis, id string) (p *profile.Profile, err error) {
	t.Helper()
	_, err = l.ReadOne(t.Context(), id, func(int) *profile.Profile {
		p = new(profile.Profile)
		return p
	})
	return p, err
}

// read returns what Read makes room for, nil where there is nothing.
func read(t *testing.T, l *Redis, ids []string) ([]*profile.Profile, []error) {
	t.Helper()
	out := make([]*profile.Profile, len(ids))
	_, errs := l.Read(t.Context(), ids, func(i int) *profile.Profile {
		out[i] = new(profile.Profile)
		return out[i]
	})
	return out, errs
}

// noRoom is the room of a test that does not look at what is read.
func noRoom(int) *profile.Profile { return new(profile.Profile) }

func beginOne(t *testing.T, l *Redis, id string, known int64) LeaseReply {
	t.Helper()
	v := l.Begin(t.Context(), []Ask{{ID: id, MinVersion: known}}, noRoom)[0]
	if v.Err != nil {
		t.Fatal(v.Err)
	}
	return v
}

func fillOne(t *testing.T, l *Redis, id, token string, p *profile.Profile) error {
	t.Helper()
	return l.Fill(t.Context(), []Fill{{ID: id, Token: token, Profile: p}})[0]
}

func (s suite) hashIsPlain(t *testing.T) {
	l, id := s.l2(t, Config{}), s.id(t)
	p := user(id, 1700000000123)
	p.Attrs = map[string]string{"grade": "A2"}
	if !must[bool](t)(l.Apply(t.Context(), p)) {
		t.Fatal("not stored")
	}
	got := must[map[string]string](t)(s.client.HGetAll(t.Context(), "user:profile:"+id).Result())
	delete(got, "ext")
	want := map[string]string{
		"fullName": p.FullName, "avatar": p.Avatar, "matricule": p.Matricule, "ministere": p.Ministere,
		"sexe": p.Sexe, "updatedAt": "1700000000123",
	}
	if !maps.Equal(got, want) {
		t.Errorf("hash is %v, want %v", got, want)
	}
	if q := stored(t, l, id); q.Nom != p.Nom || q.Prenom != p.Prenom || q.Attrs["grade"] != "A2" || q.ID != id {
		t.Errorf("read back %+v, want %+v", q, p)
	}
	ttl := must[time.Duration](t)(s.client.TTL(t.Context(), "user:profile:"+id).Result())
	if ttl.Seconds() < 0.9*604800-1 || ttl.Seconds() > 604800 {
		t.Errorf("TTL is %v, want 0.9 to 1 x 604,800 s", ttl)
	}
}

func (s suite) foreignHash(t *testing.T) {
	l, id := s.l2(t, Config{}), s.id(t)
	if err := s.client.HSet(t.Context(), "user:profile:"+id, "fullName", "Jean Dupont", "avatar", "a.png", "matricule", "M1",
		"ministere", "MINFI", "sexe", "M", "updatedAt", "1700000000000", "theirs", "x").Err(); err != nil {
		t.Fatal(err)
	}
	p := stored(t, l, id)
	if p == nil || p.FullName != "Jean Dupont" || p.Ministere != "MINFI" || p.UpdatedAt != 1700000000000 {
		t.Fatalf("read %+v", p)
	}
	must[bool](t)(l.Apply(t.Context(), user(id, 1700000000001)))
	if v := must[string](t)(s.client.HGet(t.Context(), "user:profile:"+id, "theirs").Result()); v != "x" {
		t.Errorf("another service's field is %q after an update, want x", v)
	}
}

func (s suite) leases(t *testing.T) {
	l, other, id := s.l2(t, Config{Lease: 80 * time.Millisecond}), s.l2(t, Config{}), s.id(t)
	first := beginOne(t, l, id, 0)
	if first.Kind != Leased {
		t.Fatalf("first: %+v, want a lease", first)
	}
	if v := beginOne(t, other, id, 0); v.Kind != Busy || v.Wait <= 0 || v.Wait > 80*time.Millisecond {
		t.Errorf("second: %+v, want busy for at most 80 ms", v)
	}
	eventually(t, "the lease to end", func() bool { return beginOne(t, other, id, 0).Kind == Leased })
	if err := fillOne(t, l, id, first.Token, user(id, 5)); !errors.Is(err, ErrRefused) {
		t.Errorf("fill after another took the lease: %v, want refused", err)
	}
}

func (s suite) fillNeedsLease(t *testing.T) {
	l, id := s.l2(t, Config{}), s.id(t)
	if err := fillOne(t, l, id, "none", user(id, 5)); !errors.Is(err, ErrRefused) || stored(t, l, id) != nil {
		t.Errorf("fill without a lease: %v", err)
	}
	v := beginOne(t, l, id, 0)
	if err := fillOne(t, l, id, v.Token, user(id, 5)); err != nil {
		t.Errorf("fill with the lease: %v", err)
	}
	if err := fillOne(t, l, id, v.Token, user(id, 6)); !errors.Is(err, ErrRefused) {
		t.Errorf("second fill of one lease: %v, want refused", err)
	}
	if p := stored(t, l, id); p == nil || p.UpdatedAt != 5 {
		t.Errorf("stored %+v, want version 5", p)
	}
	v = beginOne(t, l, id, 6)
	if errs := l.Fill(t.Context(), []Fill{{ID: id, Token: v.Token, Failed: true}}); errs[0] != nil {
		t.Errorf("end of a lease without an answer: %v", errs[0])
	}
	if next := beginOne(t, l, id, 6); next.Kind != Leased || stored(t, l, id).UpdatedAt != 5 {
		t.Errorf("after a load that failed: %+v, want a lease and the old record", next)
	}
}

func (s suite) fillBelowFloor(t *testing.T) {
	l, id := s.l2(t, Config{}), s.id(t)
	must[bool](t)(l.Apply(t.Context(), user(id, 10)))
	if err := s.client.Del(t.Context(), "user:profile:"+id).Err(); err != nil { // an operator's
		t.Fatal(err)
	}
	v := beginOne(t, l, id, 0)
	if err := fillOne(t, l, id, v.Token, user(id, 9)); !errors.Is(err, ErrRefused) || stored(t, l, id) != nil {
		t.Errorf("fill of version 9 below floor 10: %v, stored %v", err, stored(t, l, id))
	}
	v = beginOne(t, l, id, 0)
	if err := fillOne(t, l, id, v.Token, user(id, 10)); err != nil {
		t.Errorf("fill of version 10 at floor 10: %v", err)
	}
}

func (s suite) fillBelowStored(t *testing.T) {
	l, id := s.l2(t, Config{}), s.id(t)
	must[bool](t)(l.Apply(t.Context(), user(id, 20)))
	v := beginOne(t, l, id, 21)
	if err := s.client.Del(t.Context(), keys(id)[1]).Err(); err != nil { // the floor
		t.Fatal(err)
	}
	if err := fillOne(t, l, id, v.Token, user(id, 19)); !errors.Is(err, ErrRefused) || stored(t, l, id).UpdatedAt != 20 {
		t.Errorf("fill over a newer record: %v", err)
	}
}

// foreignVersions has another service write versions that there are not: they outrank nothing.
func (s suite) foreignVersions(t *testing.T) {
	for _, version := range []string{"20", "253402300799000", "9007199254740991", "1700000000000000000", "inf", "nan", "-1", "soon", ""} {
		l, id := s.l2(t, Config{}), s.id(t)
		must[bool](t)(l.Apply(t.Context(), user(id, 5)))
		must[int64](t)(s.client.HSet(t.Context(), "user:profile:"+id, "updatedAt", version, "fullName", "Of Others").Result())
		if !must[bool](t)(l.Apply(t.Context(), user(id, 6))) || stored(t, l, id).UpdatedAt != 6 {
			t.Errorf("%q in the record: a change of the origin was refused", version)
		}
		must[int64](t)(s.client.HSet(t.Context(), "user:profile:"+id, "updatedAt", version).Result())
		v := beginOne(t, l, id, profile.MaxVersion+1)
		if err := fillOne(t, l, id, v.Token, user(id, 7)); err != nil || stored(t, l, id).UpdatedAt != 7 {
			t.Errorf("%q in the record: what the origin answered was refused: %v", version, err)
		}
		must[int64](t)(s.client.HSet(t.Context(), "user:profile:"+id, "updatedAt", version).Result())
		if !must[bool](t)(l.Remove(t.Context(), id, 8)) || stored(t, l, id) != nil {
			t.Errorf("%q in the record: a deletion was refused", version)
		}
	}
}

// hints follows a user that another service changes, from its event to the origin's answer.
func (s suite) hints(t *testing.T) {
	l, id := s.l2(t, Config{}), s.id(t)
	name := "Jeanne Dupont"
	says := &profile.Patch{FullName: &name}
	if !must[bool](t)(l.Hint(t.Context(), id, "1", says)) || stored(t, l, id) != nil {
		t.Error("a hint of nobody created a record")
	}
	must[bool](t)(l.Apply(t.Context(), user(id, 10)))
	if v := beginOne(t, l, id, 0); v.Kind != Present || v.Worth.Trust != profile.Sealed {
		t.Errorf("a record of ours: %+v", v)
	}
	ask := func(a Ask) LeaseReply {
		a.ID = id
		return l.Begin(t.Context(), []Ask{a}, noRoom)[0]
	}
	before := ask(Ask{MinVersion: 11}) // a load that does not know of the hint
	first := ask(Ask{Hint: "2"})
	if before.Kind != Leased || first.Kind != Leased {
		t.Fatalf("the first who knows of a hint: %+v, want a lease although %+v had one", first, before)
	}
	if v := ask(Ask{Hint: "2"}); v.Kind != Busy {
		t.Errorf("the second who knows of it: %+v, want to wait", v)
	}
	if err := fillOne(t, l, id, before.Token, user(id, 10)); !errors.Is(err, ErrRefused) {
		t.Errorf("the load that began before the hint: %v, want refused", err)
	}
	if !must[bool](t)(l.Hint(t.Context(), id, "2", says)) { // a worker comes to it
		t.Error("the origin has not been asked, and the hint was ignored")
	}
	if p := stored(t, l, id); p.FullName != name || p.UpdatedAt != 0 || p.Avatar != user(id, 1).Avatar {
		t.Errorf("until the origin is asked the record is %+v; want the new name, and no version", p)
	}
	check(t, fillOne(t, l, id, first.Token, user(id, 11)))
	if v := ask(Ask{Hint: "2"}); v.Kind != Present || v.Worth.Trust != profile.Sealed || stored(t, l, id).UpdatedAt != 11 {
		t.Errorf("after the origin's answer: %+v", v)
	}
	if must[bool](t)(l.Hint(t.Context(), id, "2", says)) || stored(t, l, id).FullName == name {
		t.Error("a hint for which the origin was asked came back")
	}
	if v := ask(Ask{Hint: "3"}); v.Kind != Leased {
		t.Errorf("a later hint: %+v, want a lease", v)
	}
	must[bool](t)(l.Hint(t.Context(), id, "5", says))
	must[bool](t)(l.Hint(t.Context(), id, "4", &profile.Patch{FullName: new(string)}))
	if p := stored(t, l, id); p != nil {
		t.Errorf("a hint that comes after a later one leaves %+v; want nothing, as nobody knows what is true", p)
	}
}

// refusedRecord has another service write a record: the origin is asked for what is in its place,
// once.
func (s suite) refusedRecord(t *testing.T) {
	l, id := s.l2(t, Config{}), s.id(t)
	must[int64](t)(s.client.HSet(t.Context(), "user:profile:"+id, "fullName", "Of Others", "updatedAt", 5).Result())
	ask := Ask{ID: id}
	v := l.Begin(t.Context(), []Ask{ask}, noRoom)[0]
	if v.Kind != Present || v.Worth.Trust != profile.Partial || v.Worth.Seal != "" {
		t.Fatalf("a record of others: %+v", v)
	}
	ask.Refused = "x" + v.Worth.Seal
	if v = l.Begin(t.Context(), []Ask{ask}, noRoom)[0]; v.Kind != Leased {
		t.Fatalf("when it is refused: %+v, want a lease", v)
	}
	check(t, fillOne(t, l, id, v.Token, user(id, 3)))
	if v = l.Begin(t.Context(), []Ask{ask}, noRoom)[0]; v.Kind != Present || v.Worth.Trust != profile.Sealed {
		t.Errorf("the next who had refused it: %+v, want what the origin said", v)
	}
	if p := stored(t, l, id); p.UpdatedAt != 3 {
		t.Errorf("the record is %+v, want version 3", p)
	}
}

// asksFor asks for any version of ids.
func asksFor(ids []string) []Ask {
	asks := make([]Ask, len(ids))
	for i, id := range ids {
		asks[i].ID = id
	}
	return asks
}

func (s suite) applyOrder(t *testing.T) {
	l, id := s.l2(t, Config{}), s.id(t)
	for _, c := range []struct {
		version int64
		want    bool
	}{{10, true}, {10, false}, {9, false}, {11, true}, {profile.MaxVersion, true}, {12, false}} {
		if got := must[bool](t)(l.Apply(t.Context(), user(id, c.version))); got != c.want {
			t.Errorf("apply of version %d: %v, want %v", c.version, got, c.want)
		}
	}
	if p := stored(t, l, id); p.UpdatedAt != profile.MaxVersion {
		t.Errorf("stored version %d, want %d", p.UpdatedAt, int64(profile.MaxVersion))
	}
	gone := s.id(t)
	if must[bool](t)(l.Replace(t.Context(), user(gone, 5))) || stored(t, l, gone) != nil {
		t.Error("replace created a record")
	}
	v := beginOne(t, l, gone, 0)
	if err := fillOne(t, l, gone, v.Token, user(gone, 4)); !errors.Is(err, ErrRefused) {
		t.Errorf("fill below the floor that a replace of nothing left: %v, want refused", err)
	}
}

func (s suite) removals(t *testing.T) {
	l, id := s.l2(t, Config{}), s.id(t)
	must[bool](t)(l.Apply(t.Context(), user(id, 10)))
	if must[bool](t)(l.Remove(t.Context(), id, 9)) || stored(t, l, id) == nil {
		t.Error("a removal older than the record removed it")
	}
	loading := beginOne(t, l, id, 11)
	if !must[bool](t)(l.Remove(t.Context(), id, 11)) || stored(t, l, id) != nil {
		t.Error("a removal was ignored")
	}
	if err := fillOne(t, l, id, loading.Token, user(id, 10)); !errors.Is(err, ErrRefused) {
		t.Errorf("fill by a load begun before the removal: %v, want refused", err)
	}
	if v := beginOne(t, l, id, 11); v.Kind != Absent {
		t.Errorf("after the removal: %+v, want absent", v)
	}
	if must[bool](t)(l.Apply(t.Context(), user(id, 10))) || !must[bool](t)(l.Apply(t.Context(), user(id, 12))) {
		t.Error("want only a version above the removal to bring the user back")
	}
	if v := beginOne(t, l, id, 0); v.Kind != Present || stored(t, l, id).UpdatedAt != 12 {
		t.Errorf("after the return: %+v, want version 12", v)
	}
	if !must[bool](t)(l.Remove(t.Context(), id, 0)) || stored(t, l, id) != nil {
		t.Error("a removal of unknown version did not forget the profile")
	}
}

func (s suite) absence(t *testing.T) {
	l, id := s.l2(t, Config{Negative: 60 * time.Millisecond}), s.id(t)
	v := beginOne(t, l, id, 0)
	if err := fillOne(t, l, id, v.Token, nil); err != nil {
		t.Fatal(err)
	}
	if v := beginOne(t, l, id, 0); v.Kind != Absent {
		t.Errorf("after the origin said no: %+v, want absent", v)
	}
	if v := beginOne(t, l, id, 5); v.Kind != Leased {
		t.Errorf("for a reader who knows of version 5: %+v, want a lease", v)
	}
	eventually(t, "the absence to end", func() bool {
		must[bool](t)(true, l.Invalidate(t.Context(), s.id(t))) // let the embedded clock move
		return beginOne(t, l, id, 0).Kind != Absent
	})
}

func (s suite) invalidation(t *testing.T) {
	l, id := s.l2(t, Config{}), s.id(t)
	v := beginOne(t, l, id, 0)
	if err := l.Invalidate(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := fillOne(t, l, id, v.Token, user(id, 5)); !errors.Is(err, ErrRefused) {
		t.Errorf("fill by a load begun before the invalidation: %v, want refused", err)
	}
	must[bool](t)(l.Apply(t.Context(), user(id, 6)))
	if err := l.Invalidate(t.Context(), id); err != nil || stored(t, l, id) != nil {
		t.Errorf("after the invalidation: %v, stored %v", err, stored(t, l, id))
	}
}

func (s suite) knownVersion(t *testing.T) {
	l, id := s.l2(t, Config{}), s.id(t)
	must[bool](t)(l.Apply(t.Context(), user(id, 10)))
	if v := beginOne(t, l, id, 10); v.Kind != Present {
		t.Errorf("known 10: %+v, want the record", v)
	}
	if v := beginOne(t, l, id, 11); v.Kind != Leased {
		t.Errorf("known 11: %+v, want a lease", v)
	}
}

func (s suite) brokenRecord(t *testing.T) {
	l, id := s.l2(t, Config{}), s.id(t)
	must[bool](t)(l.Apply(t.Context(), user(id, 10)))
	if err := s.client.HSet(t.Context(), "user:profile:"+id, "ext", "\xdd\xff\xff\xff\xff").Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := readOne(t, l, id); !errors.Is(err, profile.ErrMalformed) {
		t.Errorf("read: %v, want ErrMalformed", err)
	}
	v := beginOne(t, l, id, profile.MaxVersion+1)
	if err := fillOne(t, l, id, v.Token, user(id, 10)); err != nil || stored(t, l, id).Nom != user(id, 1).Nom {
		t.Errorf("fill over a broken record: %v", err)
	}
}

func (s suite) bulk(t *testing.T) {
	l := s.l2(t, Config{})
	var ids []string
	for i := range 100 {
		ids = append(ids, s.id(t))
		if i%2 == 0 {
			must[bool](t)(l.Apply(t.Context(), user(ids[i], int64(i+1))))
		}
	}
	out, errs := read(t, l, ids)
	begun := make([]*profile.Profile, len(ids))
	room := func(i int) *profile.Profile { begun[i] = new(profile.Profile); return begun[i] }
	for i, v := range l.Begin(t.Context(), asksFor(ids), room) {
		if errs[i] != nil || v.Err != nil {
			t.Fatal(errs[i], v.Err)
		}
		want := int64(0)
		if i%2 == 0 {
			want = int64(i + 1)
		}
		if (out[i] != nil) != (want > 0) || out[i] != nil && (out[i].UpdatedAt != want || out[i].ID != ids[i]) {
			t.Errorf("get %d: %+v", i, out[i])
		}
		if (v.Kind == Present) != (want > 0) || (begun[i] != nil) != (want > 0) ||
			begun[i] != nil && (begun[i].UpdatedAt != want || begun[i].ID != ids[i]) {
			t.Errorf("begin %d: %+v", i, v)
		}
	}
}

// bulkFill fills with every outcome in turn, over several calls of the script.
func (s suite) bulkFill(t *testing.T) {
	l := s.l2(t, Config{})
	var ids []string
	for range 5*perCall + 3 {
		ids = append(ids, s.id(t))
	}
	fills := make([]Fill, len(ids))
	for i, v := range l.Begin(t.Context(), asksFor(ids), noRoom) {
		if v.Err != nil || v.Kind != Leased {
			t.Fatal(v)
		}
		fills[i] = Fill{ID: ids[i], Token: v.Token}
		switch i % 5 {
		case 0, 1:
			fills[i].Profile = user(ids[i], int64(i+1))
		case 2:
			fills[i].Failed = true
		case 3:
			fills[i].Profile, fills[i].Token = user(ids[i], 1), "another"
		}
	}
	must[bool](t)(l.Apply(t.Context(), user(ids[1], 99))) // news that ends a lease
	for i, err := range l.Fill(t.Context(), fills) {
		if wrong := errors.Is(err, ErrRefused) != (i%5 == 3 || i == 1); wrong || err != nil && !errors.Is(err, ErrRefused) {
			t.Errorf("fill %d: %v", i, err)
		}
	}
	got, errs := read(t, l, ids)
	for i, v := range l.Begin(t.Context(), asksFor(ids), noRoom) {
		want := map[int]LeaseKind{0: Present, 1: Present, 2: Leased, 3: Busy, 4: Absent}[i%5]
		if errs[i] != nil || v.Kind != want || (got[i] != nil) != (want == Present) {
			t.Errorf("user %d is %+v, %v in Redis, then %+v; want %v", i, got[i], errs[i], v, want)
		}
	}
}

// bulkBroken has a key of another type among the many: it is removed and blocks nobody.
func (s suite) bulkBroken(t *testing.T) {
	l := s.l2(t, Config{})
	var ids []string
	for range 2 * perCall {
		ids = append(ids, s.id(t))
	}
	if err := s.client.Set(t.Context(), profile.Key(ids[3]), "no hash", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	for i, v := range l.Begin(t.Context(), asksFor(ids), noRoom) {
		if v.Err != nil || v.Kind != Leased {
			t.Errorf("begin %d: %+v", i, v)
		}
	}
	// One that is broken only when it is filled is filled all the same.
	var fills []Fill
	for i := range perCall {
		id := s.id(t)
		fills = append(fills, Fill{ID: id, Token: beginOne(t, l, id, 0).Token, Profile: user(id, 5)})
		if i == 3 {
			check(t, s.client.Set(t.Context(), profile.Key(id), "no hash", time.Minute).Err())
		}
	}
	for i, err := range l.Fill(t.Context(), fills) {
		if err != nil {
			t.Errorf("fill %d: %v", i, err)
		}
		if n := must[int64](t)(s.client.Exists(t.Context(), keys(fills[i].ID)[2]).Result()); n != 0 {
			t.Errorf("the lease of fill %d is still there", i)
		}
	}
}

func (s suite) scriptsLost(t *testing.T) {
	l := s.l2(t, Config{})
	var ids []string
	for range 3 * perCall {
		ids = append(ids, s.id(t))
	}
	if err := s.client.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	for i, v := range l.Begin(t.Context(), asksFor(ids), noRoom) {
		if v.Err != nil || v.Kind != Leased {
			t.Errorf("begin %d after SCRIPT FLUSH: %+v", i, v)
		}
	}
}

func (s suite) expiryAndCount(t *testing.T) {
	l, id := s.l2(t, Config{TTL: 10 * time.Second}), s.id(t)
	before := must[int64](t)(l.Count(t.Context()))
	must[bool](t)(l.Apply(t.Context(), user(id, 10)))
	if n := must[int64](t)(l.Count(t.Context())); n != before+1 {
		t.Errorf("counted %d, want %d", n, before+1)
	}
	if v := l.Begin(t.Context(), []Ask{{ID: id, MinVersion: 11}}, noRoom)[0]; v.Kind != Leased {
		t.Errorf("begin for a version that Redis does not have: %+v; want a lease", v)
	}
	for _, key := range keys(id) {
		if ttl := must[time.Duration](t)(s.client.PTTL(t.Context(), key).Result()); ttl <= 0 {
			t.Errorf("%s has TTL %v, want one", key, ttl)
		}
	}
	if err := s.client.PExpire(t.Context(), "user:profile:"+id, 20*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the profile to expire", func() bool { return stored(t, l, id) == nil })
}

// removedAgain is a user who was deleted, created anew and announced without a version, when the
// deletion is told once more.
func (s suite) removedAgain(t *testing.T) {
	l, id := s.l2(t, Config{}), s.id(t)
	must[bool](t)(l.Remove(t.Context(), id, 4))
	if v := l.Begin(t.Context(), []Ask{{ID: id, MinVersion: 0}}, noRoom)[0]; v.Kind != Absent {
		t.Fatalf("after the deletion: %+v; want absent", v)
	}
	if err := l.Invalidate(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	must[bool](t)(l.Remove(t.Context(), id, 4))
	if v := l.Begin(t.Context(), []Ask{{ID: id, MinVersion: 0}}, noRoom)[0]; v.Kind != Leased {
		t.Errorf("after the deletion was told again: %+v; want a lease", v)
	}
}

func (s suite) badInput(t *testing.T) {
	l := s.l2(t, Config{})
	if _, err := l.Apply(t.Context(), user("a b", 1)); !errors.Is(err, profile.ErrInvalidID) {
		t.Errorf("apply of a bad id: %v", err)
	}
	if _, err := l.Apply(t.Context(), user("a", 0)); !errors.Is(err, profile.ErrMalformed) {
		t.Errorf("apply without a version: %v", err)
	}
	if _, err := l.Hint(t.Context(), "a b", "1", nil); !errors.Is(err, profile.ErrInvalidID) {
		t.Errorf("hint of a bad id: %v", err)
	}
	if _, err := l.Remove(t.Context(), "", 1); !errors.Is(err, profile.ErrInvalidID) {
		t.Errorf("remove of a bad id: %v", err)
	}
	if err := l.Invalidate(t.Context(), "*"); !errors.Is(err, profile.ErrInvalidID) {
		t.Errorf("invalidate of a bad id: %v", err)
	}
}

// eventually polls until ok, or fails after 10 s.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited 10 s for %s", what)
		}
	}
}
