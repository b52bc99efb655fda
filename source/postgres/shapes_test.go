package postgres_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/pgtest"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/postgres"
)

// A timestamp without time zone is read and written in the zone that is said.
func TestTimestampsWithoutZone(t *testing.T) {
	server := pgtest.Server(t)
	in := func(zone string) postgres.Table { return postgres.Table{Name: "u", TimestampsIn: zone} }
	table := "CREATE TABLE u (" + usual + ", updated_at timestamp)"
	row := "INSERT INTO u (id, nom, updated_at) VALUES ('1', 'Ngo', '2024-05-01 10:00:00.123')"
	for zone, hour := range map[string]string{"UTC": "10", "Africa/Douala": "09"} {
		t.Run(zone, func(t *testing.T) {
			x := openTheirs(t, server, in(zone), table, row)
			if got := truth.MustGet(t, x.s, "1").UpdatedAt; got != 1714557600123-map[string]int64{"10": 0, "09": 3600e3}[hour] {
				t.Errorf("version %d", got)
			}
			c := truth.MustUpdate(t, x.s, "1", origin.Update{Nom: testkit.Ptr("x")})
			written := x.one(t, "SELECT abs(extract(epoch FROM updated_at AT TIME ZONE '"+zone+"' - now())) < 60 FROM u")
			if got := truth.MustGet(t, x.s, "1").UpdatedAt; got != c.Version || written != "true" {
				t.Errorf("answered %d, row %d; near now: %s", c.Version, got, written)
			}
			changesAreAnnounced(t, x, "2")
		})
	}
	for name, c := range map[string]struct{ zone, typ, want string }{
		"no zone":                     {"", "timestamp", "--timestamps-in UTC"},
		"a zone that is none":         {"Nowhere/Land", "timestamp", `--timestamps-in Nowhere/Land: ERROR: time zone "Nowhere/Land" not recognized`},
		"clocks that go back":         {"Europe/Paris", "timestamp", "the clocks of Europe/Paris go back an hour each year"},
		"a zone where there is one":   {"UTC", "timestamptz", "updated_at has type timestamp with time zone"},
		"Laravel's, in whole seconds": {"UTC", "timestamp(0)", `TYPE timestamp(3)`},
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			startTheirs(t, server, in(c.zone), "CREATE TABLE u ("+usual+", updated_at "+c.typ+")").refused(t, c.want)
		})
	}
}

// Fields without a column, with an expression, and with the id's column are read, and refused by
// name in changes.
func TestFieldsWithoutColumns(t *testing.T) {
	server := pgtest.Server(t)
	table := postgres.Table{Name: "agents", ID: "matricule", FullName: "(nom || ', ' || initcap(prenom))", Avatar: postgres.NoColumn,
		Ministere: "(SELECT 'MIN' || coalesce(sexe, ''))", Attrs: postgres.NoColumn}
	x := openTheirs(t, server, table, "CREATE TABLE agents (matricule varchar(9) PRIMARY KEY, nom text, prenom text, sexe text, updated_at bigint)",
		"INSERT INTO agents VALUES ('100001B', 'Ngo', 'anne', 'F', 5)")
	want := &profile.Profile{ID: "100001B", Nom: "Ngo", Prenom: "anne", FullName: "Ngo, Anne", Matricule: "100001B", Ministere: "MINF", Sexe: "F", UpdatedAt: 5}
	if got := truth.MustGet(t, x.s, "100001B"); !testkit.SameProfile(got, want) {
		t.Errorf("got %+v", got)
	}
	same := origin.Update{Nom: testkit.Ptr("NGO"), FullName: testkit.Ptr("Ngo, Anne"), Matricule: testkit.Ptr("100001B"), Avatar: testkit.Ptr(""), Ministere: testkit.Ptr("MINF")}
	c := truth.MustUpdate(t, x.s, "100001B", same)
	if c.Profile.FullName != "NGO, Anne" || c.Profile.Nom != "NGO" {
		t.Errorf("updated %+v", c.Profile)
	}
	_, err := x.s.Update(t.Context(), "100001B", origin.Update{FullName: testkit.Ptr("x"), Matricule: testkit.Ptr("x"), Avatar: testkit.Ptr("x"), Ministere: testkit.Ptr("x"),
		Attrs: map[string]*string{"gone": nil, "new": testkit.Ptr("x")}})
	if got := fields(err); got != "fullName avatar matricule ministere attrs.new" {
		t.Errorf("refused %q: %v", got, err)
	}
	if _, err := x.s.Create(t.Context(), &profile.Profile{ID: "2", Matricule: "3", Attrs: map[string]string{"a": "b"}}); fields(err) != "matricule attrs.a" {
		t.Errorf("created: %v", err)
	}
	if c := truth.MustCreate(t, x.s, profile.Profile{ID: "2", Matricule: "2", Nom: "B", Prenom: "c"}); c.Profile.FullName != "B, C" || c.Profile.Matricule != "2" {
		t.Errorf("created %+v", c.Profile)
	}
	n, err := x.s.BulkLoad(t.Context(), slices.Values([]*profile.Profile{{ID: "2"}, {ID: "4", Nom: "D"}}))
	if got := truth.MustGet(t, x.s, "4"); err != nil || n != 1 || got.Matricule != "4" {
		t.Errorf("bulk load: %d, %v, %+v", n, err, got)
	}
	if _, err := x.s.BulkLoad(t.Context(), slices.Values([]*profile.Profile{{ID: "5", Avatar: "/a"}})); fields(err) != "avatar" {
		t.Errorf("bulk load of a field without a column: %v", err)
	}
}

// A row that gives no id gets the database's.
func TestIDsThatTheDatabaseMakes(t *testing.T) {
	server := pgtest.Server(t)
	rest := ", nom text, prenom text, full_name text, avatar text, matricule text, ministere text, sexe text, attrs jsonb, updated_at bigint)"
	for id, explicit := range map[string]int{"serial PRIMARY KEY": 201, "bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY": 201,
		"int GENERATED ALWAYS AS IDENTITY PRIMARY KEY": 400, "uuid PRIMARY KEY DEFAULT gen_random_uuid()": 400} {
		t.Run(id, func(t *testing.T) {
			x := openTheirs(t, server, postgres.Table{Name: "u"}, "CREATE TABLE u (id "+id+rest)
			_, url := truth.StartService(t, source.ServiceConfig{Store: x.s})
			a := truth.Ask(t, "POST", url+"/", `{"nom":"Ngo"}`, truth.JSONType)
			made := x.one(t, "SELECT id FROM u")
			if a.Status != 201 || a.Header.Get("Location") != "/"+made || !strings.Contains(a.Body, `"id":"`+made+`"`) {
				t.Errorf("POST without an id: %d %s %s; the row is %s", a.Status, a.Header.Get("Location"), a.Body, made)
			}
			if all := truth.ClaimAll(t, x.s); len(all) != 1 || all[0].ID != made || all[0].Profile.ID != made {
				t.Errorf("announced %+v", all)
			}
			if a := truth.Ask(t, "POST", url+"/", `{"id":"77"}`, truth.JSONType); a.Status != explicit {
				t.Errorf("POST with an id: %d %s; want %d", a.Status, a.Body, explicit)
			}
		})
	}
	x := openTheirs(t, server, postgres.Table{Name: "u"}, "CREATE TABLE u (id text PRIMARY KEY"+rest)
	_, url := truth.StartService(t, source.ServiceConfig{Store: x.s})
	if a := truth.Ask(t, "POST", url+"/", `{"nom":"Ngo"}`, truth.JSONType); a.Status != 400 || !strings.Contains(a.Body, "it is missing") {
		t.Errorf("POST without an id where nobody makes one: %d %s", a.Status, a.Body)
	}
}

// Other columns may be attributes; one that needs a value is named when it lacks it.
func TestColumnsAsAttributes(t *testing.T) {
	server := pgtest.Server(t)
	setUp := "CREATE TABLE u (" + usual + `, updated_at bigint, email text NOT NULL, grade int, hired date, state text NOT NULL DEFAULT 'active', "O'Neil" text)`
	t.Run("not named", func(t *testing.T) {
		x := openTheirs(t, server, postgres.Table{Name: "u"}, setUp, "INSERT INTO u (id, email) VALUES ('1', 'a@b')")
		truth.MustUpdate(t, x.s, "1", origin.Update{Nom: testkit.Ptr("x")})
		if _, err := x.s.Create(t.Context(), &profile.Profile{ID: "2"}); fields(err) != "email" {
			t.Errorf("created without a column that needs a value: %v", err)
		}
	})
	named := postgres.Table{Name: "u", AttrColumns: map[string]string{"email": "email", "grade": "grade", "hired": "hired", "state": "state", "o'n": "O'Neil"}}
	t.Run("named", func(t *testing.T) {
		x := openTheirs(t, server, named, setUp, `INSERT INTO u (id, email, grade, attrs) VALUES ('1', 'a@b', 7, '{"floor":"2","deep":{"kept":true},"grade":"old"}')`)
		has := func(id string, want map[string]string) {
			t.Helper()
			if got := truth.MustGet(t, x.s, id).Attrs; !maps.Equal(got, want) {
				t.Errorf("%s has %v; want %v", id, got, want)
			}
		}
		has("1", map[string]string{"email": "a@b", "grade": "7", "floor": "2", "state": "active"})
		truth.MustUpdate(t, x.s, "1", origin.Update{Attrs: map[string]*string{"grade": testkit.Ptr("8"), "hired": testkit.Ptr("2020-01-02"), "floor": nil, "door": testkit.Ptr("3"), "o'n": testkit.Ptr("y")}})
		has("1", map[string]string{"email": "a@b", "grade": "8", "hired": "2020-01-02", "state": "active", "door": "3", "o'n": "y"})
		if got := x.one(t, "SELECT attrs FROM u WHERE id = '1'"); got != `{"deep": {"kept": true}, "door": "3", "grade": "old"}` {
			t.Errorf("attrs are now %s; what is no text must stay", got)
		}
		truth.MustUpdate(t, x.s, "1", origin.Update{Attrs: map[string]*string{"grade": nil}})
		if got := x.one(t, "SELECT grade FROM u WHERE id = '1'"); got != "null" {
			t.Errorf("grade is %s after it was removed", got)
		}
		if _, err := x.s.Update(t.Context(), "1", origin.Update{Attrs: map[string]*string{"grade": testkit.Ptr("high")}}); !errors.Is(err, profile.ErrMalformed) {
			t.Errorf("a grade that is no number: %v", err)
		}
		truth.MustCreate(t, x.s, profile.Profile{ID: "2", Attrs: map[string]string{"email": "c@d"}})
		has("2", map[string]string{"email": "c@d", "state": "active"})
		if _, err := x.s.Create(t.Context(), &profile.Profile{ID: "3"}); fields(err) != "attrs.email" {
			t.Errorf("created without an attribute that needs a value: %v", err)
		}
		if n, err := x.s.BulkLoad(t.Context(), slices.Values([]*profile.Profile{{ID: "4", Attrs: map[string]string{"email": "e", "state": "gone", "k": "v"}}})); n != 1 || err != nil {
			t.Errorf("bulk load: %d, %v", n, err)
		}
		has("4", map[string]string{"email": "e", "state": "gone", "k": "v"})
	})
	t.Run("that are not there", func(t *testing.T) {
		startTheirs(t, server, postgres.Table{Name: "u", AttrColumns: map[string]string{"tel": "phone"}, Ministere: "(nonsense)", Nom: "Name"},
			"CREATE TABLE u (id text, prenom text, updated_at timestamptz(0), name text)").
			refused(t, "phone for attrs.tel", "it lacks Name, full_name, avatar, matricule, sexe, attrs; there is name: --columns nom=name",
				"--columns nom=,fullName=,avatar=,matricule=,sexe=,attrs=", "ADD COLUMN \"attrs\" jsonb", "id is not unique", "keeps 0 digits", `ministere=(nonsense): ERROR: column "nonsense"`, "5 things to mend")
	})
}

// A column that takes no null gets what the field means; other programs' nulls and values are left
// alone.
func TestColumnsWithoutNulls(t *testing.T) {
	x := openTheirs(t, pgtest.Server(t), postgres.Table{Name: "u"}, "CREATE TABLE u (id char(8) PRIMARY KEY, nom text NOT NULL, prenom text NOT NULL, full_name text NOT NULL, "+
		"avatar text NOT NULL, matricule text NOT NULL, ministere text NOT NULL, sexe text NOT NULL, attrs json NOT NULL, updated_at timestamptz NOT NULL)")
	truth.MustCreate(t, x.s, profile.Profile{ID: "1", Nom: "Ngo", Prenom: "Anne"})
	c := truth.MustUpdate(t, x.s, "1", origin.Update{Prenom: testkit.Ptr("Marie")})
	if got := x.one(t, "SELECT full_name || attrs FROM u"); got != "Marie Ngo{}" || c.Profile.FullName != "Marie Ngo" {
		t.Errorf("the row has %s, the answer %+v", got, c.Profile)
	}
	truth.MustUpdate(t, x.s, "1", origin.Update{Attrs: map[string]*string{"k": testkit.Ptr("v")}})
	truth.MustUpdate(t, x.s, "1", origin.Update{Attrs: map[string]*string{"k": nil}})
	n, err := x.s.BulkLoad(t.Context(), slices.Values([]*profile.Profile{{ID: "2", Nom: "B", Prenom: "C"}}))
	if got := x.one(t, "SELECT string_agg(full_name || attrs, ' ' ORDER BY id) FROM u"); err != nil || n != 1 || got != "Marie Ngo{} C B{}" {
		t.Errorf("bulk load: %d, %v; the rows have %s", n, err, got)
	}
}
