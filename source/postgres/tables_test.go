package postgres_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/pgtest"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/postgres"
)

// theirs are tables of others, each test's in a schema of its own.
type theirs struct {
	url string
	s   *postgres.Store
	err error
}

// start opens a store on a table that statements make.
func startTheirs(t *testing.T, server *pgtest.Proc, table postgres.Table, setUp ...string) theirs {
	t.Helper()
	at := truth.SchemaURL(t, server, t.Name())
	truth.ExecPG(t, at, setUp...)
	s, err := postgres.New(postgres.Config{URL: at, Users: table})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return theirs{at, s, s.Start(t.Context())}
}

// open is start for a table that will do.
func openTheirs(t *testing.T, server *pgtest.Proc, table postgres.Table, setUp ...string) theirs {
	t.Helper()
	x := startTheirs(t, server, table, setUp...)
	if x.err != nil {
		t.Fatal(x.err)
	}
	return x
}

// one is the first column of the first row of a query, as a text.
func (x theirs) one(t *testing.T, query string) (text string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), x.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), "SELECT coalesce(("+query+")::text, 'null')").Scan(&text); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return text
}

// refused checks that the table is refused with all of the texts, and that nothing was made before.
func (x theirs) refused(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		if x.err == nil || !strings.Contains(x.err.Error(), w) {
			t.Errorf("%v\nwant %q", x.err, w)
		}
	}
	if n := x.one(t, "SELECT count(*) FROM pg_class WHERE relname LIKE 'edgecache%' AND relnamespace = current_schema()::regnamespace"); n != "0" {
		t.Errorf("%s tables and indexes were made before the refusal", n)
	}
}

// fields are the names of the fields that an error refuses.
func fields(err error) (names string) {
	refused, _ := errors.AsType[origin.FieldErrors](err)
	for _, f := range refused {
		names += f.Field + " "
	}
	return strings.TrimSpace(names)
}

// usual are the columns of a table with the standard names, but for the version.
const usual = "id text PRIMARY KEY, nom text, prenom text, full_name text, avatar text, matricule text, ministere text, sexe text, attrs jsonb"

// A version in steps of a second or of ten milliseconds cannot tell two changes apart.
func TestVersionsWithoutMilliseconds(t *testing.T) {
	server := pgtest.Server(t)
	u := postgres.Table{Name: "u"}
	for _, typ := range []string{"timestamptz(0)", "timestamptz(1)", "timestamptz(2)"} {
		t.Run(typ, func(t *testing.T) {
			startTheirs(t, server, u, "CREATE TABLE u ("+usual+", updated_at "+typ+")").
				refused(t, "updated_at keeps "+typ[12:13]+" digits", `ALTER TABLE "u" ALTER COLUMN "updated_at" TYPE timestamptz(3)`)
		})
	}
	t.Run("the remedy heals", func(t *testing.T) {
		x := openTheirs(t, server, u, "CREATE TABLE u ("+usual+", updated_at timestamptz(0))",
			`ALTER TABLE "u" ALTER COLUMN "updated_at" TYPE timestamptz(3)`)
		changesAreAnnounced(t, x, "1")
	})
}

// changesAreAnnounced makes quick changes of one user and checks that each is announced with a
// version above the one before, which is the row's, and that it may be named in If-Match.
func changesAreAnnounced(t *testing.T, x theirs, id string) {
	t.Helper()
	c, err := x.s.Create(t.Context(), &profile.Profile{ID: id, Nom: "Ngo"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		next, err := x.s.Update(t.Context(), id, origin.Update{Nom: testkit.Ptr(fmt.Sprint("n", i)), IfMatch: []int64{c.Version}})
		if err != nil {
			t.Fatalf("If-Match with what was answered: %v", err)
		}
		row := truth.MustGet(t, x.s, id)
		if next.Version <= c.Version || next.Version != row.UpdatedAt || !testkit.SameProfile(next.Profile, row) {
			t.Errorf("answered %d %+v after %d; the row is %+v", next.Version, next.Profile, c.Version, row)
		}
		c = next
	}
	last := int64(0)
	for _, a := range truth.ClaimAll(t, x.s) {
		if a.Version <= last || a.Profile == nil || a.Profile.UpdatedAt != a.Version {
			t.Errorf("announced %d after %d, with %+v", a.Version, last, a.Profile)
		}
		last = a.Version
	}
	if last != c.Version {
		t.Errorf("announced %d last; the row has %d", last, c.Version)
	}
	gone, err := x.s.Delete(t.Context(), id, []int64{c.Version})
	if err != nil || gone.Version <= c.Version || gone.Profile != nil || gone.ID != id {
		t.Errorf("deleted: %+v, %v", gone, err)
	}
}

// stamp is what moddatetime and the frameworks' own triggers do.
const stamp = `CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.updated_at = %s; RETURN NEW; END';
	CREATE TRIGGER stamp BEFORE %s ON u FOR EACH ROW EXECUTE FUNCTION stamp()`

// The version that the row got is what is announced, answered and taken back by If-Match.
func TestTriggersThatSetTheVersion(t *testing.T) {
	server := pgtest.Server(t)
	for name, c := range map[string]struct{ typ, now, when string }{
		"moddatetime":            {"timestamptz", "now()", "UPDATE"},
		"on insert as well":      {"timestamptz", "clock_timestamp()", "INSERT OR UPDATE"},
		"with milliseconds only": {"timestamptz(3)", "current_timestamp", "UPDATE"},
		"a number":               {"bigint", "extract(epoch FROM now()) * 1000", "INSERT OR UPDATE"},
	} {
		t.Run(name, func(t *testing.T) {
			x := openTheirs(t, server, postgres.Table{Name: "u"}, "CREATE TABLE u ("+usual+", updated_at "+c.typ+")", fmt.Sprintf(stamp, c.now, c.when))
			changesAreAnnounced(t, x, "1")
		})
	}
	t.Run("writers at once each get a version above the last", func(t *testing.T) {
		x := openTheirs(t, server, postgres.Table{Name: "u"}, "CREATE TABLE u ("+usual+", updated_at timestamptz)", fmt.Sprintf(stamp, "now()", "UPDATE"))
		truth.MustCreate(t, x.s, profile.Profile{ID: "1"})
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := range 5 {
					if _, err := x.s.Update(t.Context(), "1", origin.Update{Nom: testkit.Ptr(fmt.Sprint(w, i))}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		last := int64(0)
		for _, a := range truth.ClaimAll(t, x.s) {
			if a.Version <= last {
				t.Errorf("announced %d after %d", a.Version, last)
			}
			last = a.Version
		}
		if row := truth.MustGet(t, x.s, "1"); row.UpdatedAt != last {
			t.Errorf("announced %d last; the row has %d", last, row.UpdatedAt)
		}
	})
}

func TestTriggersThatSpoilAChange(t *testing.T) {
	server := pgtest.Server(t)
	t.Run("a version that never grows changes nothing and says so", func(t *testing.T) {
		x := openTheirs(t, server, postgres.Table{Name: "u"}, "CREATE TABLE u ("+usual+", updated_at timestamptz)", fmt.Sprintf(stamp, "''2001-01-01''", "UPDATE"))
		c := truth.MustCreate(t, x.s, profile.Profile{ID: "1", Nom: "Ngo"})
		_, err := x.s.Update(t.Context(), "1", origin.Update{Nom: testkit.Ptr("x")})
		if !errors.Is(err, profile.ErrUnavailable) || !strings.Contains(err.Error(), "trigger") {
			t.Errorf("got %v", err)
		}
		if row := truth.MustGet(t, x.s, "1"); row.UpdatedAt != c.Version || row.Nom != "Ngo" {
			t.Errorf("got %+v", row)
		}
	})
	t.Run("one that drops the change is said to", func(t *testing.T) {
		x := openTheirs(t, server, postgres.Table{Name: "u"}, "CREATE TABLE u ("+usual+", updated_at timestamptz)",
			"CREATE FUNCTION drop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
			"CREATE TRIGGER drop BEFORE UPDATE OR DELETE ON u FOR EACH ROW EXECUTE FUNCTION drop()")
		truth.MustCreate(t, x.s, profile.Profile{ID: "1"})
		for _, err := range []error{truth.Second(x.s.Update(t.Context(), "1", origin.Update{Nom: testkit.Ptr("x")})), truth.Second(x.s.Delete(t.Context(), "1", nil))} {
			if !errors.Is(err, origin.ErrInternal) || !strings.Contains(err.Error(), "changed no row") {
				t.Errorf("got %v", err)
			}
		}
		if all := truth.ClaimAll(t, x.s); len(all) != 1 {
			t.Errorf("announced %+v; want the creation alone", all)
		}
	})
}

// What the database computes is read, never written, and refused by name.
func TestGeneratedColumns(t *testing.T) {
	x := openTheirs(t, pgtest.Server(t), postgres.Table{Name: "u", AttrColumns: map[string]string{"initials": "ini"}},
		`CREATE TABLE u (id text PRIMARY KEY, nom text, prenom text, avatar text, matricule text, ministere text, sexe text, attrs jsonb, updated_at bigint,
		full_name text GENERATED ALWAYS AS (upper(nom) || ' ' || prenom) STORED, ini text GENERATED ALWAYS AS (left(prenom, 1) || left(nom, 1)) STORED)`)
	c := truth.MustCreate(t, x.s, profile.Profile{ID: "1", Nom: "Ngo", Prenom: "Anne"})
	if c.Profile.FullName != "NGO Anne" || c.Profile.Attrs["initials"] != "AN" {
		t.Errorf("created %+v; want what the database computed", c.Profile)
	}
	c = truth.MustUpdate(t, x.s, "1", origin.Update{Prenom: testkit.Ptr("Marie"), FullName: testkit.Ptr("NGO Anne")})
	if c.Profile.FullName != "NGO Marie" || !testkit.SameProfile(truth.ClaimAll(t, x.s)[1].Profile, c.Profile) {
		t.Errorf("updated %+v", c.Profile)
	}
	_, err := x.s.Update(t.Context(), "1", origin.Update{FullName: testkit.Ptr("x"), Nom: testkit.Ptr("y"), Attrs: map[string]*string{"initials": nil, "k": testkit.Ptr("v")}})
	if got := fields(err); got != "fullName attrs.initials" || !errors.Is(err, profile.ErrMalformed) || !strings.Contains(err.Error(), "full_name") {
		t.Errorf("refused %q: %v", got, err)
	}
	if _, err := x.s.Create(t.Context(), &profile.Profile{ID: "2", FullName: "x"}); fields(err) != "fullName" {
		t.Errorf("created with a full name of its own: %v", err)
	}
	_, url := truth.StartService(t, source.ServiceConfig{Store: x.s})
	if a := truth.Ask(t, "PUT", url+"/1", `{"fullName":"x"}`, truth.JSONType); a.Status != 400 || !strings.Contains(a.Body, `"field":"fullName"`) {
		t.Errorf("PUT: %d %s", a.Status, a.Body)
	}
}
