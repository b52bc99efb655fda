package postgres_test

import (
	"context"
	"errors"
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

func TestPostgresStore(t *testing.T) { truth.TestStore(t, truth.PostgresMaker(pgtest.Server(t))) }

func TestPostgresRefusesConfigurations(t *testing.T) {
	for want, cfg := range map[string]postgres.Config{
		"needs a URL":          {},
		"cannot be parsed":     {URL: "postgres://u:secret@h:port/db"},
		"SCHEMA.TABLE":         {URL: "host=h", Users: postgres.Table{Name: "a.b.c"}},
		"not their table":      {URL: "host=h", Users: postgres.Table{ID: "uid"}},
		`"nom" is named twice`: {URL: "host=h", Users: postgres.Table{Name: "t", Prenom: "nom"}},
		"named twice":          {URL: "host=h", Users: postgres.Table{Name: "t", ID: "nom", Prenom: "nom"}},
		"need a column":        {URL: "host=h", Users: postgres.Table{Name: "t", ID: "-"}},
		"version need a":       {URL: "host=h", Users: postgres.Table{Name: "t", UpdatedAt: "(now())"}},
		"1-63 bytes":           {URL: "host=h", Users: postgres.Table{Name: "t", ID: strings.Repeat("x", 64)}},
		"name of a table":      {URL: "host=h", Users: postgres.Table{Name: "t."}},
	} {
		if _, err := postgres.New(cfg); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v, want %q", cfg, err, want)
		}
	}
	s, err := postgres.New(postgres.Config{URL: "postgres://u:secret@127.0.0.1:1/db"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "127.0.0.1:1/db") {
		t.Errorf("Start where nothing listens: %v", err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
}

// startExisting starts a store on a table of others, which the statements of setUp make.
func startExisting(t *testing.T, server *pgtest.Proc, columns postgres.Table, setUp ...string) (*postgres.Store, error) {
	t.Helper()
	at := truth.SchemaURL(t, server, t.Name())
	truth.ExecPG(t, at, setUp...)
	s, err := postgres.New(postgres.Config{URL: at, Users: columns})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, s.Start(t.Context())
}

func TestPostgresExistingTable(t *testing.T) {
	server := pgtest.Server(t)
	institution := postgres.Table{Name: "Agents", ID: "uid", Nom: "last name", Prenom: "given", FullName: "display", Avatar: "photo",
		Matricule: "number", Ministere: "ministry", Sexe: `s"x`, Attrs: "more", UpdatedAt: "changed"}
	table := `CREATE TABLE "Agents" (uid bigint PRIMARY KEY, "last name" varchar(20), given char(10), display text, photo text,
		number int UNIQUE, ministry text, "s""x" text NOT NULL DEFAULT 'M', more json, changed timestamptz, others_own text)`
	t.Run("is used with its own names and types", func(t *testing.T) {
		s, err := startExisting(t, server, institution, table, `INSERT INTO "Agents" VALUES (7, 'Ngo', 'Anne', NULL, NULL, 12, NULL, 'F',
			'{"a":"b","n":5,"deep":{}}', '2024-05-01 10:00:00.123456+00', 'x'), (30, NULL, NULL, NULL, NULL, NULL, NULL, 'M', NULL, NULL, NULL)`)
		if err != nil {
			t.Fatal(err)
		}
		want := &profile.Profile{ID: "7", Nom: "Ngo", Prenom: "Anne", FullName: "Anne Ngo", Matricule: "12", Sexe: "F",
			UpdatedAt: 1714557600123, Attrs: map[string]string{"a": "b", "n": "5"}}
		if got := truth.MustGet(t, s, "7"); !testkit.SameProfile(got, want) {
			t.Errorf("got %+v", got)
		}
		c := truth.MustUpdate(t, s, "7", origin.Update{Avatar: testkit.Ptr("/a.png"), Matricule: testkit.Ptr("")})
		want.Avatar, want.Matricule, want.UpdatedAt = "/a.png", "", c.Version
		if got := truth.MustGet(t, s, "7"); !testkit.SameProfile(got, want) {
			t.Errorf("after an update %+v", got)
		}
		truth.MustCreate(t, s, profile.Profile{ID: "100", Nom: "B", Matricule: "5"})
		testExistingBadValues(t, s)
		page, err := s.Page(t.Context(), "", 10)
		if ids := profileIDs(page); err != nil || !slices.Equal(ids, []string{"100", "30", "7"}) {
			t.Errorf("page %v, %v", ids, err)
		}
		found, err := s.GetBatch(t.Context(), []string{"7", "07", "x", "100", "99999999999999999999"})
		if err != nil || len(found) != 2 {
			t.Errorf("batch %v, %v", found, err)
		}
		n, err := s.BulkLoad(t.Context(), slices.Values([]*profile.Profile{{ID: "7"}, {ID: "8", UpdatedAt: 1234, Attrs: map[string]string{"k": "v"}}}))
		if got := truth.MustGet(t, s, "8"); err != nil || n != 1 || got.UpdatedAt != 1234 || got.Attrs["k"] != "v" {
			t.Errorf("bulk load: %d, %v, %+v", n, err, got)
		}
		if _, err := s.Delete(t.Context(), "8", nil); err != nil {
			t.Error(err)
		}
	})
}

func TestPostgresRefusesATable(t *testing.T) {
	server := pgtest.Server(t)
	standard := "id text PRIMARY KEY, nom text, prenom text, full_name text, avatar text, matricule text, ministere text, sexe text"
	for name, tt := range map[string]struct {
		table postgres.Table
		setUp string
		want  []string
	}{
		"that is not there":      {postgres.Table{Name: "nobody"}, "SELECT 1", []string{`no table "nobody"`}},
		"that lacks columns":     {postgres.Table{Name: "u"}, "CREATE TABLE u (id text PRIMARY KEY, nom text)", []string{"it lacks prenom, full_name, avatar,", `ALTER TABLE "u" ADD COLUMN "prenom" text, `, `ADD COLUMN "attrs" jsonb`}},
		"of the standard name":   {postgres.Table{}, "CREATE TABLE personnel (" + standard + ", attrs jsonb)", []string{"it lacks updated_at"}},
		"whose id is not unique": {postgres.Table{Name: "u"}, "CREATE TABLE u (" + strings.Replace(standard, " PRIMARY KEY", "", 1) + ", attrs jsonb, updated_at bigint)", []string{"id is not unique"}},
		"with a version of another type": {postgres.Table{Name: "u"}, "CREATE TABLE u (" + standard + ", attrs jsonb, updated_at timestamp)",
			[]string{"updated_at has no time zone", "--timestamps-in UTC", `TYPE timestamptz USING "updated_at" AT TIME ZONE 'UTC'`}},
	} {
		t.Run("one "+name+" is refused", func(t *testing.T) {
			_, err := startExisting(t, server, tt.table, tt.setUp)
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q", err, want)
				}
			}
		})
	}
}

// testExistingBadValues tries what the table's own constraints refuse.
func testExistingBadValues(t *testing.T, s *postgres.Store) {
	t.Helper()
	for want, err := range map[error]error{
		profile.ErrInvalidID: truth.Second(s.Create(t.Context(), &profile.Profile{ID: "abc"})),
		origin.ErrExists:     truth.Second(s.Create(t.Context(), &profile.Profile{ID: "101", Matricule: "5"})),
		profile.ErrMalformed: truth.Second(s.Update(t.Context(), "7", origin.Update{Nom: testkit.Ptr(strings.Repeat("x", 21))})),
		profile.ErrNotFound:  truth.Second(s.Update(t.Context(), "07", origin.Update{Nom: testkit.Ptr("x")})),
	} {
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

func profileIDs(page []*profile.Profile) (ids []string) {
	for _, p := range page {
		ids = append(ids, p.ID)
	}
	return ids
}

func TestPostgresRefusesToOpen(t *testing.T) {
	server := pgtest.Server(t)
	at := truth.SchemaURL(t, server, t.Name())
	s := truth.OpenPostgres(t, postgres.Config{URL: at})
	if err := s.Start(t.Context()); !errors.Is(err, origin.ErrClosed) {
		t.Errorf("second Start: %v", err)
	}
	truth.ExecPG(t, at, "INSERT INTO edgecache_schema VALUES (99)")
	newer, err := postgres.New(postgres.Config{URL: at})
	if err != nil {
		t.Fatal(err)
	}
	if err := newer.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "made by a newer edgecache") {
		t.Errorf("a newer schema: %v", err)
	}
	lossy, err := postgres.New(postgres.Config{URL: at + "&synchronous_commit=off"})
	if err != nil {
		t.Fatal(err)
	}
	if err := lossy.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "synchronous_commit") {
		t.Errorf("commits that a crash may lose: %v", err)
	}
}

// A database that was made read-only, as operators do before a disk is full, is said to be so by
// its health and to writers.
func TestPostgresThatIsReadOnlySaysSo(t *testing.T) {
	server := pgtest.Server(t)
	s := truth.OpenPostgres(t, postgres.Config{URL: server.URL()})
	truth.MustCreate(t, s, profile.Profile{ID: "1"})
	_, url := truth.StartService(t, source.ServiceConfig{Store: s})
	put := func() truth.Answer { return truth.Ask(t, "PUT", url+"/1", `{"nom":"x"}`, truth.JSONType) }
	wait := func(status int) (a truth.Answer) {
		// until each connection has heard of it
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
			if a = put(); a.Status == status {
				break
			}
		}
		return a
	}
	truth.ExecPG(t, server.URL(), "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
	for what, a := range map[string]truth.Answer{"a change": wait(503), "its health": truth.Ask(t, "GET", url+"/health", "")} {
		if a.Status != 503 || !strings.Contains(a.Body, "read-only") || a.Header.Get("Retry-After") == "" {
			t.Errorf("%s is answered %d %s; want 503 and the reason", what, a.Status, a.Body)
		}
	}
	if err := s.Probe(t.Context()); !errors.Is(err, source.ErrReadOnly) {
		t.Errorf("the probe: %v", err)
	}
	if a := truth.Ask(t, "GET", url+"/1", ""); a.Status != 200 {
		t.Errorf("a lookup: %d %s", a.Status, a.Body)
	}
	truth.ExecPG(t, server.URL(), "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
	if a := wait(200); a.Status != 200 {
		t.Errorf("writable again: %d %s", a.Status, a.Body)
	}
}

func TestPostgresWakesOtherProcesses(t *testing.T) {
	at := truth.SchemaURL(t, pgtest.Server(t), t.Name())
	writer, reader := truth.OpenPostgres(t, postgres.Config{URL: at}), truth.OpenPostgres(t, postgres.Config{URL: at})
	select {
	case <-reader.Wake(): // it listens
	case <-time.After(10 * time.Second):
		t.Fatal("not listening")
	}
	truth.MustCreate(t, writer, profile.Profile{ID: "1"})
	select {
	case <-reader.Wake():
	case <-time.After(10 * time.Second):
		t.Error("no notification of a change")
	}
}

func TestPostgresClaimsOfTwoProcesses(t *testing.T) {
	at := truth.SchemaURL(t, pgtest.Server(t), t.Name())
	a, b := truth.OpenPostgres(t, postgres.Config{URL: at}), truth.OpenPostgres(t, postgres.Config{URL: at})
	truth.MustCreate(t, a, profile.Profile{ID: "u"})
	truth.MustCreate(t, b, profile.Profile{ID: "v"})
	truth.MustUpdate(t, b, "u", origin.Update{Nom: testkit.Ptr("x")})
	claim, err := a.Claim(t.Context(), source.Want{Limit: 1})
	if err != nil || !slices.Equal(truth.ChangeIDs(claim.Changes()), []string{"u"}) {
		t.Fatalf("claimed %v, %v", claim.Changes(), err)
	}
	other, err := b.Claim(t.Context(), source.Want{Limit: 9})
	if err != nil || !slices.Equal(truth.ChangeIDs(other.Changes()), []string{"v"}) {
		t.Fatalf("claimed %v, %v; the other user's later row must wait", other.Changes(), err)
	}
	if err := errors.Join(claim.Done(t.Context(), []int64{claim.Changes()[0].Seq}), claim.Close(), other.Close()); err != nil {
		t.Fatal(err)
	}
	if ids := truth.ChangeIDs(truth.ClaimAll(t, b)); !slices.Equal(ids, []string{"v", "u"}) {
		t.Errorf("left undone: %v", ids)
	}
}

// A claim takes a few milliseconds however many users are left out of it: it is made for each
// change while they are stuck.
func TestPostgresClaimsBesideManyStuckUsers(t *testing.T) {
	const stuck, most = 5000, 60 * time.Millisecond
	at := truth.SchemaURL(t, pgtest.Server(t), t.Name())
	s := truth.OpenPostgres(t, postgres.Config{URL: at})
	truth.ExecPG(t, at, fmt.Sprintf(`INSERT INTO edgecache_outbox (kind, user_id, version, committed_at)
		SELECT 3, 'bad' || u, v, 0 FROM generate_series(1, 2) v, generate_series(1, %d) u`, stuck))
	truth.MustCreate(t, s, profile.Profile{ID: "good"})
	var except []string
	for u := 1; u <= stuck; u++ {
		except = append(except, fmt.Sprint("bad", u))
	}
	for name, w := range map[string]source.Want{
		"what is new":         {Limit: 64, Except: except},
		"the newest":          {Limit: 4, Except: except, Newest: true},
		"of one who waits":    {Limit: 64, Except: except, Users: []string{"good"}},
		"of one among others": {Limit: 64, Users: append([]string{"good", "nobody"}, except[:30]...)},
	} {
		var took []time.Duration
		for range 25 {
			began := time.Now()
			claim, err := s.Claim(t.Context(), w)
			if err != nil {
				t.Fatal(err)
			}
			took = append(took, time.Since(began))
			if !slices.Contains(truth.ChangeIDs(claim.Changes()), "good") {
				t.Errorf("%s: claimed %v", name, truth.ChangeIDs(claim.Changes()))
			}
			if err := claim.Close(); err != nil {
				t.Fatal(err)
			}
		}
		took = took[10:] // before, the database plans the statement anew each time
		slices.Sort(took)
		if median := took[len(took)/2]; median > most {
			t.Errorf("%s: a claim takes %v beside %d stuck users; want at most %v", name, median, stuck, most)
		}
	}
}

// A writer whose change another process announced is told so, not kept waiting.
func TestPostgresWaitsForOtherProcesses(t *testing.T) {
	at := truth.SchemaURL(t, pgtest.Server(t), t.Name())
	writes, relays := truth.OpenPostgres(t, postgres.Config{URL: at}), truth.OpenPostgres(t, postgres.Config{URL: at})
	// never started: the other one does all
	idle, err := source.NewRelay(source.RelayConfig{Outbox: writes, Announcer: truth.NewRecorder(nil)})
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	c := truth.MustCreate(t, writes, profile.Profile{ID: "1"})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if idle.Wait(ctx, c) {
		t.Error("announced by nobody, and said to be")
	}
	truth.StartRelay(t, source.RelayConfig{Outbox: relays, Announcer: truth.NewRecorder(nil)})
	ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if !idle.Wait(ctx, c) {
		t.Error("announced by the other process, and the writer was not told")
	}
}

// A load goes straight into the users' table until somebody in it is there already, or twice in the
// load.
func TestPostgresBulkLoadOfSomeWhoAreThere(t *testing.T) {
	s := truth.OpenPostgres(t, postgres.Config{URL: truth.SchemaURL(t, pgtest.Server(t), t.Name())})
	load := func(want int64, users ...*profile.Profile) {
		t.Helper()
		if n, err := s.BulkLoad(t.Context(), slices.Values(users)); err != nil || n != want {
			t.Errorf("added %d, %v; want %d", n, err, want)
		}
	}
	first := &profile.Profile{ID: "1", Nom: "Ngo", Attrs: map[string]string{"floor": "2"}, UpdatedAt: 5}
	load(2, first, &profile.Profile{ID: "2", FullName: "Dr Luc"})
	load(1, &profile.Profile{ID: "2", Nom: "other"}, &profile.Profile{ID: "3", Nom: "a"}, &profile.Profile{ID: "3", Nom: "b"})
	load(0, first)
	if got := truth.MustGet(t, s, "1"); got.Nom != "Ngo" || got.FullName != "Ngo" || got.Attrs["floor"] != "2" || got.UpdatedAt != 5 {
		t.Errorf("got %+v", got)
	}
	if got := truth.MustGet(t, s, "2"); got.FullName != "Dr Luc" || got.UpdatedAt == 0 {
		t.Errorf("got %+v", got)
	}
	if got := truth.MustGet(t, s, "3"); got.Nom != "a" {
		t.Errorf("got %+v; want the first", got)
	}
	gone, err := s.Delete(t.Context(), "3", nil)
	if err != nil {
		t.Fatal(err)
	}
	load(2, &profile.Profile{ID: "3", UpdatedAt: 1}, &profile.Profile{ID: "4"})
	if got := truth.MustGet(t, s, "3"); got.UpdatedAt <= gone.Version {
		t.Errorf("version %d after a deletion at %d", got.UpdatedAt, gone.Version)
	}
}
