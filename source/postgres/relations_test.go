package postgres_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/pgtest"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source/postgres"
)

// What is no table, or hides rows, is refused in a sentence and before anything is made.
func TestRelationsThatAreRefused(t *testing.T) {
	server := pgtest.Server(t)
	u, base := postgres.Table{Name: "u"}, "CREATE TABLE base ("+usual+", updated_at bigint)"
	for name, c := range map[string]struct {
		setUp []string
		want  string
	}{
		"a view":                    {[]string{base, "CREATE VIEW u AS SELECT * FROM base"}, "it is a view, where no index keeps the ids unique"},
		"a materialized view":       {[]string{base, "CREATE MATERIALIZED VIEW u AS SELECT * FROM base"}, "it is a materialized view"},
		"a sequence":                {[]string{"CREATE SEQUENCE u"}, "it is no table"},
		"rules":                     {[]string{"CREATE TABLE u (" + usual + ", updated_at bigint)", "CREATE RULE r AS ON UPDATE TO u DO ALSO NOTIFY x"}, "it has rules (CREATE RULE)"},
		"an id unique with another": {[]string{strings.Replace("CREATE TABLE u ("+usual+", updated_at bigint, region int, PRIMARY KEY (id, region)) PARTITION BY LIST (region)", " PRIMARY KEY,", ",", 1)}, "the key of a partitioned table must then be id"},
		"a deferrable key":          {[]string{strings.Replace("CREATE TABLE u ("+usual+", updated_at bigint)", "PRIMARY KEY", "PRIMARY KEY DEFERRABLE", 1)}, "not deferrable"},
	} {
		t.Run(name, func(t *testing.T) { startTheirs(t, server, u, c.setUp...).refused(t, c.want) })
	}
	t.Run("row-level security that hides rows", func(t *testing.T) {
		owner := startTheirs(t, server, u, "CREATE TABLE u ("+usual+", updated_at bigint)", "ALTER TABLE u ENABLE ROW LEVEL SECURITY", "CREATE ROLE clerk LOGIN",
			"GRANT ALL ON u TO clerk", "DO $$ BEGIN EXECUTE 'GRANT ALL ON SCHEMA ' || current_schema() || ' TO clerk'; END $$")
		if owner.err != nil {
			t.Errorf("the owner sees all rows, and was refused: %v", owner.err)
		}
		s, err := postgres.New(postgres.Config{URL: strings.Replace(owner.url, "postgres@", "clerk@", 1), Users: u})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "row-level security hides rows of it from this role") {
			t.Errorf("%v", err)
		}
	})
}

// What PostgreSQL calls a table in other shapes works as one.
func TestRelationsThatWork(t *testing.T) {
	server := pgtest.Server(t)
	t.Run("partitions by id", func(t *testing.T) {
		x := openTheirs(t, server, postgres.Table{Name: "u"}, "CREATE TABLE u ("+usual+", updated_at timestamptz) PARTITION BY HASH (id)",
			"CREATE TABLE u0 PARTITION OF u FOR VALUES WITH (MODULUS 2, REMAINDER 0)", "CREATE TABLE u1 PARTITION OF u FOR VALUES WITH (MODULUS 2, REMAINDER 1)")
		changesAreAnnounced(t, x, "1")
		loadsAndLists(t, x, "2", "3", "4", "5")
	})
	t.Run("domains", func(t *testing.T) {
		x := openTheirs(t, server, postgres.Table{Name: "u", AttrColumns: map[string]string{"grade": "grade"}},
			"CREATE DOMAIN family AS text CHECK (VALUE <> 'bad')", "CREATE DOMAIN number AS int", "CREATE DOMAIN grade AS number CHECK (VALUE < 10)",
			"CREATE DOMAIN stamp AS timestamptz(3)", "CREATE DOMAIN bag AS jsonb",
			strings.NewReplacer("id text", "id number", "nom text", "nom family", "jsonb", "bag").Replace("CREATE TABLE u ("+usual+", updated_at stamp, grade grade)"))
		changesAreAnnounced(t, x, "1")
		loadsAndLists(t, x, "2", "3")
		truth.MustUpdate(t, x.s, "2", origin.Update{Attrs: map[string]*string{"grade": testkit.Ptr("7")}})
		for _, bad := range []origin.Update{{Nom: testkit.Ptr("bad")}, {Attrs: map[string]*string{"grade": testkit.Ptr("11")}}} {
			if _, err := x.s.Update(t.Context(), "2", bad); !errors.Is(err, profile.ErrMalformed) {
				t.Errorf("what the domain refuses: %v", err)
			}
		}
	})
	t.Run("a domain in whole seconds is refused", func(t *testing.T) {
		startTheirs(t, server, postgres.Table{Name: "u"}, "CREATE DOMAIN stamp AS timestamptz(0)", "CREATE TABLE u ("+usual+", updated_at stamp)").
			refused(t, "keeps 0 digits")
	})
	t.Run("mixed case in another schema", func(t *testing.T) {
		table := postgres.Table{Name: "Ministère.Agents", ID: "userId", FullName: "Full Name", UpdatedAt: "updatedAt"}
		setUp := []string{`CREATE SCHEMA "Ministère"`, `CREATE TABLE "Ministère"."Agents" ("userId" varchar(20) PRIMARY KEY, nom text, prenom text, "Full Name" text,
			avatar text, matricule text, ministere text, sexe char(1), attrs jsonb, "updatedAt" timestamptz)`}
		x := openTheirs(t, server, table, setUp...)
		changesAreAnnounced(t, x, "a.b")
		loadsAndLists(t, x, "B", "a", "c")
		table.Name = "ministère.agents"
		startTheirs(t, server, table).refusedBeside(t, `there is no table "ministère"."agents"; there is: --table Ministère.Agents`)
	})
	t.Run("a type of their own for sexe", func(t *testing.T) {
		x := openTheirs(t, server, postgres.Table{Name: "u"}, "CREATE TYPE sex AS ENUM ('M', 'F')",
			strings.Replace("CREATE TABLE u ("+usual+", updated_at bigint)", "sexe text", "sexe sex", 1))
		changesAreAnnounced(t, x, "1")
		truth.MustCreate(t, x.s, profile.Profile{ID: "2", Sexe: "F"})
		if _, err := x.s.Update(t.Context(), "2", origin.Update{Sexe: testkit.Ptr("x")}); !errors.Is(err, profile.ErrMalformed) {
			t.Errorf("a value that the type lacks: %v", err)
		}
	})
}

// refusedBeside is refused where another store's tables are.
func (x theirs) refusedBeside(t *testing.T, want string) {
	t.Helper()
	if x.err == nil || !strings.Contains(x.err.Error(), want) {
		t.Errorf("%v\nwant %q", x.err, want)
	}
}

// loadsAndLists adds users in bulk, and lists them in the order of their bytes.
func loadsAndLists(t *testing.T, x theirs, ids ...string) {
	t.Helper()
	var users []*profile.Profile
	for _, id := range ids {
		users = append(users, &profile.Profile{ID: id, Nom: "N", Attrs: map[string]string{"k": "v"}})
	}
	n, err := x.s.BulkLoad(t.Context(), slices.Values(users))
	page, pageErr := x.s.Page(t.Context(), "", 10)
	found, batchErr := x.s.GetBatch(t.Context(), append(slices.Clone(ids), "99"))
	if err := errors.Join(err, pageErr, batchErr); err != nil || int(n) != len(ids) || !slices.Equal(profileIDs(page), ids) || len(found) != len(ids) {
		t.Errorf("added %d, listed %v, found %d, %v; want %v", n, profileIDs(page), len(found), err, ids)
	}
}
