package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/pgtest"
	"github.com/chatapp-ngomna/edgecache/internal/testkit/truth"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source"
	"github.com/chatapp-ngomna/edgecache/source/postgres"
)

// capturing is a table with triggers, and what another program does to it.
type capturing struct {
	theirs
	cfg  postgres.Config
	seen int64
}

func startCapturing(t *testing.T, server *pgtest.Proc, version string, table postgres.Table, setUp ...string) *capturing {
	t.Helper()
	x := &capturing{cfg: postgres.Config{URL: truth.SchemaURL(t, server, t.Name()), Users: table, Capture: postgres.CaptureTriggers}}
	truth.ExecPG(t, x.cfg.URL, append(setUp, "CREATE TABLE u ("+usual+", logins int, updated_at "+version+")")...)
	x.url, x.s = x.cfg.URL, truth.OpenPostgres(t, x.cfg)
	return x
}

// announces runs statements of another program in one transaction each, and returns what is
// announced of it: kind, id and name. Each must have a version above all of its user before, and be
// the row as it is.
func (x *capturing) announces(t *testing.T, statements ...string) (said []string) {
	t.Helper()
	truth.ExecPG(t, x.url, statements...)
	for _, c := range x.changes(t) {
		text := c.Kind.String() + " " + c.ID
		if c.Profile != nil {
			text += " " + c.Profile.Nom
			if row := truth.MustGet(t, x.s, c.ID); row.UpdatedAt == c.Version && !testkit.SameProfile(row, c.Profile) {
				t.Errorf("announced %+v; the row is %+v", c.Profile, row)
			}
		}
		said = append(said, text)
	}
	return said
}

// changes are the new rows of the outbox, in order, with growing versions of each user.
func (x *capturing) changes(t *testing.T) (fresh []source.Change) {
	t.Helper()
	last := map[string]int64{}
	for _, c := range truth.ClaimAll(t, x.s) {
		if c.Version <= last[c.ID] || c.Fault != nil {
			t.Errorf("announced %d of %s after %d, %v", c.Version, c.ID, last[c.ID], c.Fault)
		}
		if last[c.ID] = c.Version; c.Seq > x.seen {
			fresh = append(fresh, c)
		}
	}
	if n := len(fresh); n > 0 {
		x.seen = fresh[n-1].Seq
	}
	return fresh
}

// What another program writes is announced with a version that grows, whatever that program makes
// of it.
func TestTriggersCaptureOtherPrograms(t *testing.T) {
	server := pgtest.Server(t)
	for name, c := range map[string]struct{ typ, at, zone string }{
		"timestamptz": {"timestamptz", "'%s'", ""}, "timestamp": {"timestamp(3)", "'%s'", "Africa/Douala"}, "number": {"bigint", "extract(epoch FROM '%s'::timestamptz) * 1000", ""},
	} {
		t.Run(name, func(t *testing.T) {
			x := startCapturing(t, server, c.typ, postgres.Table{Name: "u", TimestampsIn: c.zone})
			at := func(when string) string { return fmt.Sprintf(c.at, when) }
			for i, step := range []struct{ statement, want string }{
				{"INSERT INTO u (id, nom, updated_at) VALUES ('1', 'a', " + at("2020-01-01") + ")", "created 1 a"},
				// leaves the version alone
				{"UPDATE u SET nom = 'b'", "updated 1 b"},
				// a clock that is behind
				{"UPDATE u SET nom = 'c', updated_at = " + at("2019-01-01"), "updated 1 c"},
				// one that is far ahead
				{"UPDATE u SET nom = 'd', updated_at = " + at("9999-01-01"), "updated 1 d"},
				// or none
				{"UPDATE u SET nom = 'e', updated_at = NULL", "updated 1 e"},
				// of no concern
				{"UPDATE u SET logins = 5", ""},
				// no change
				{"UPDATE u SET nom = nom", ""},
				// reads as k alone
				{`UPDATE u SET attrs = '{"k":"v","deep":{}}'`, "updated 1 e"},
				// another user
				{"UPDATE u SET id = '2'", "deleted 1, updated 2 e"},
				// gone
				{"DELETE FROM u", "deleted 2"},
				// back
				{"INSERT INTO u (id, nom, updated_at) VALUES ('1', 'f', " + at("2000-01-01") + ")", "created 1 f"},
				{"INSERT INTO u (id, nom) VALUES ('no id', 'g')", ""},
				{"BEGIN; UPDATE u SET nom = 'h' WHERE id = '1'; ROLLBACK", ""},
			} {
				if got := strings.Join(x.announces(t, step.statement), ", "); got != step.want {
					t.Errorf("%d. %s: announced %q; want %q", i, step.statement, got, step.want)
				}
			}
			now := time.Now().UnixMilli()
			if v := truth.MustGet(t, x.s, "1").UpdatedAt; v > now+1000 || v < now-60_000 {
				t.Errorf("version %d at %d, after one of the year 9999", v, now)
			}
			own := truth.MustUpdate(t, x.s, "1", origin.Update{Nom: testkit.Ptr("i")})
			if got := x.changes(t); len(got) != 1 || got[0].Version != own.Version {
				t.Errorf("a change of our own is announced as %+v", got)
			}
			if _, err := x.s.BulkLoad(t.Context(), slices.Values([]*profile.Profile{{ID: "7"}, {ID: "8"}})); err != nil || len(x.changes(t)) != 1 {
				t.Errorf("a load of our own: %v, or not announced in one row", err)
			}
		})
	}
}

func TestTriggersOnOddTables(t *testing.T) {
	server := pgtest.Server(t)
	t.Run("in partitions", func(t *testing.T) {
		x := &capturing{cfg: postgres.Config{URL: truth.SchemaURL(t, server, t.Name()), Users: postgres.Table{Name: "u"}, Capture: postgres.CaptureTriggers}}
		truth.ExecPG(t, x.cfg.URL, "CREATE TABLE u ("+usual+", updated_at timestamptz) PARTITION BY LIST (id)",
			"CREATE TABLE u1 PARTITION OF u FOR VALUES IN ('1')", "CREATE TABLE u2 PARTITION OF u DEFAULT")
		x.url, x.s = x.cfg.URL, truth.OpenPostgres(t, x.cfg)
		for _, step := range [][2]string{{"INSERT INTO u (id, nom) VALUES ('1', 'a')", "created 1 a"}, {"UPDATE u SET nom = 'b'", "updated 1 b"},
			{"UPDATE u SET id = '2'", "deleted 1, created 2 b"}, {"DELETE FROM u2", "deleted 2"}} {
			if got := strings.Join(x.announces(t, step[0]), ", "); got != step[1] {
				t.Errorf("%s: announced %q; want %q", step[0], got, step[1])
			}
		}
	})
	t.Run("by a role that may write the table and no more", func(t *testing.T) {
		x := startCapturing(t, server, "timestamptz", postgres.Table{Name: "u", FullName: "(upper(nom))"}, "CREATE ROLE legacy LOGIN")
		truth.ExecPG(t, x.url, "GRANT ALL ON u TO legacy", "DO $$ BEGIN EXECUTE 'GRANT USAGE ON SCHEMA ' || current_schema() || ' TO legacy'; END $$")
		schema := x.one(t, "SELECT current_schema()")
		truth.ExecPG(t, strings.Replace(server.URL(), "postgres@", "legacy@", 1), "INSERT INTO "+schema+".u (id, nom) VALUES ('1', 'a')")
		if got := x.changes(t); len(got) != 1 || got[0].Profile.FullName != "A" {
			t.Errorf("announced %+v", got)
		}
	})
	t.Run("beside the table's own trigger", func(t *testing.T) {
		x := startCapturing(t, server, "timestamptz", postgres.Table{Name: "u"})
		truth.ExecPG(t, x.url, fmt.Sprintf(stamp, "now()", "UPDATE"))
		again := truth.OpenPostgres(t, x.cfg) // which knows of the trigger
		if got := x.announces(t, "INSERT INTO u (id, nom) VALUES ('0', 'a')", "UPDATE u SET nom = 'b'; UPDATE u SET nom = 'c'"); len(got) != 3 {
			t.Errorf("announced %q", got)
		}
		changesAreAnnouncedOf(t, again)
	})
}

func changesAreAnnouncedOf(t *testing.T, s *postgres.Store) {
	t.Helper()
	c := truth.MustUpdate(t, s, "0", origin.Update{Nom: testkit.Ptr("x")})
	all := truth.ClaimAll(t, s)
	if last := all[len(all)-1]; last.Version != c.Version || last.Profile.Nom != "x" {
		t.Errorf("answered %d, announced %+v", c.Version, last)
	}
}

// Triggers stay until they are taken away, a start that finds them as they should be locks nothing,
// and their removal is said.
func TestCaptureIsRemovedAgain(t *testing.T) {
	x := startCapturing(t, pgtest.Server(t), "timestamptz", postgres.Table{Name: "u"})
	notes := func() string {
		rep, err := postgres.Check(t.Context(), x.cfg)
		if err != nil || len(rep.Faults) > 0 {
			t.Fatalf("%+v, %v", rep, err)
		}
		return strings.Join(rep.Notes, "\n")
	}
	if got := notes(); !strings.Contains(got, "to remove them: --capture off, or: DROP FUNCTION IF EXISTS edgecache_capture_version(), edgecache_capture() CASCADE") {
		t.Errorf("notes %s", got)
	}
	ctid := "SELECT string_agg(oid::text, ' ' ORDER BY oid) FROM pg_trigger WHERE tgname LIKE 'zz_edgecache%' AND tgrelid = 'u'::regclass"
	before := x.one(t, ctid)
	truth.OpenPostgres(t, x.cfg)
	as := x.cfg
	as.Capture = postgres.CaptureAsIs
	truth.OpenPostgres(t, as)
	if got := x.one(t, ctid); got != before || len(strings.Fields(got)) != 2 {
		t.Errorf("triggers %s before, %s after two more starts", before, got)
	}
	as.Capture = postgres.CaptureOff
	truth.OpenPostgres(t, as)
	if got := x.announces(t, "INSERT INTO u (id, nom) VALUES ('1', 'a')"); len(got) != 0 {
		t.Errorf("announced %q after the triggers were removed", got)
	}
	if got := notes(); !strings.Contains(got, "is announced by nobody; --capture triggers") {
		t.Errorf("notes %s", got)
	}
	if _, err := postgres.New(postgres.Config{URL: "host=h", Capture: "all"}); err == nil || !strings.Contains(err.Error(), `capture "all"`) {
		t.Errorf("%v", err)
	}
}

// A sweep announces what is newer than the last look, once, and across restarts.
func TestSweepFindsOtherPrograms(t *testing.T) {
	x := &capturing{cfg: postgres.Config{URL: truth.SchemaURL(t, pgtest.Server(t), t.Name()), Users: postgres.Table{Name: "u"}, Sweep: time.Second}}
	truth.ExecPG(t, x.cfg.URL, "CREATE TABLE u ("+usual+", updated_at timestamptz)", "INSERT INTO u (id, nom, updated_at) VALUES ('old', 'a', now() - interval '1 hour')")
	x.url, x.s = x.cfg.URL, truth.OpenPostgres(t, x.cfg)
	own := truth.MustCreate(t, x.s, profile.Profile{ID: "own"})
	truth.ExecPG(t, x.url, "INSERT INTO u (id, nom, updated_at) VALUES ('1', 'a', now()), ('no id', 'b', now())")
	waitFor := func(want ...string) {
		t.Helper()
		var got []string
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end) && len(got) < len(want); {
			got = nil
			for _, c := range truth.ClaimAll(t, x.s) {
				got = append(got, c.ID)
			}
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("announced %v; want %v", got, want)
		}
	}
	waitFor("1", "own")
	if all := truth.ClaimAll(t, x.s); all[0].Version != own.Version || all[1].Profile.Nom != "a" || all[1].Version != all[1].Profile.UpdatedAt {
		t.Errorf("announced %+v", all)
	}
	if err := x.s.Close(); err != nil {
		t.Fatal(err)
	}
	// while nobody looks
	truth.ExecPG(t, x.url, "UPDATE u SET nom = 'c', updated_at = now() WHERE id = 'old'")
	x.s = truth.OpenPostgres(t, x.cfg)
	waitFor("1", "old", "own")
	looked := x.one(t, "SELECT since FROM edgecache_sweep")
	for end := time.Now().Add(20 * time.Second); x.one(t, "SELECT since FROM edgecache_sweep") == looked && time.Now().Before(end); {
	}
	waitFor("1", "old", "own") // nothing twice
	if _, err := postgres.New(postgres.Config{URL: "host=h", Sweep: time.Millisecond}); err == nil || !strings.Contains(err.Error(), "at least 1s") {
		t.Errorf("%v", err)
	}
}
