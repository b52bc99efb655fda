package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Capture says whether the database notes what other programs write into the users' table.
type Capture string

const (
	// CaptureAsIs leaves the triggers as they are: there from an earlier start, or not.
	CaptureAsIs Capture = ""
	// CaptureTriggers makes triggers that write the outbox and keep versions growing.
	CaptureTriggers Capture = "triggers"
	// CaptureOff removes them.
	CaptureOff Capture = "off"
)

func (c Capture) check() error {
	switch c {
	case CaptureAsIs, CaptureTriggers, CaptureOff:
		return nil
	}
	return fmt.Errorf("source: PostgreSQL: capture %q: want triggers, off or nothing", string(c))
}

// ownSetting marks the transactions of a store, whose triggers have nothing to do.
const ownSetting = "set_config('edgecache.own', 'on', true)"

// uncapture removes the triggers, wherever they are, with their functions.
const uncapture = "DROP FUNCTION IF EXISTS edgecache_capture_version(), edgecache_capture() CASCADE"

// captureLockTimeout bounds how long the making of triggers may hold up the table's writers: it
// waits for those that have begun, and others wait behind it.
const captureLockTimeout = "5s"

// capture makes or removes the triggers. Nothing is done, nor the table locked, when they are there
// as they should be.
func (u *usersTable) capture(ctx context.Context, conn *pgx.Conn, c Capture) error {
	if c == CaptureAsIs {
		return nil
	}
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('edgecache migrations', 0)); "+
			"SET LOCAL lock_timeout = '"+captureLockTimeout+"'"); err != nil {
			return err
		}
		if c == CaptureOff {
			_, err := tx.Exec(ctx, uncapture)
			return err
		}
		return u.makeTriggers(ctx, tx)
	})
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "42501" {
		return fmt.Errorf("--capture %s: this role may not make or remove triggers of %s; "+
			"let its owner start the origin once: %w", c, u.name, err)
	}
	if err != nil {
		return fmt.Errorf("--capture %s: %w", c, err)
	}
	return nil
}

func (u *usersTable) makeTriggers(ctx context.Context, tx pgx.Tx) error {
	var schema string
	if err := tx.QueryRow(ctx, "SELECT current_schema()").Scan(&schema); err != nil {
		return err
	}
	before, after := u.versionFunction(), u.captureFunction(quoteName(schema)+".")
	var same bool
	err := tx.QueryRow(ctx, `SELECT count(*) = 2 FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
		WHERE g.tgrelid = to_regclass($1) AND g.tgenabled <> 'D'
			AND p.pronamespace = current_schema()::regnamespace
			AND (p.proname, p.prosrc) IN (('edgecache_capture_version', $2), ('edgecache_capture', $3))`,
		u.name, before, after).Scan(&same)
	if err != nil || same {
		return err
	}
	function := func(name, body string) string {
		return "CREATE FUNCTION " + name + "() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT " +
			"SET DateStyle FROM CURRENT SET TimeZone FROM CURRENT AS " + quoteText(body)
	}
	trigger := func(name, when, function string) string {
		return "CREATE TRIGGER " + name + " " + when + " ON " + u.name + " FOR EACH ROW EXECUTE FUNCTION " + function + "()"
	}
	_, err = tx.Exec(ctx, strings.Join([]string{uncapture,
		function("edgecache_capture_version", before), function("edgecache_capture", after),
		// BEFORE triggers run by name
		trigger("zz_edgecache_version", "BEFORE INSERT OR UPDATE", "edgecache_capture_version"),
		trigger("zz_edgecache_capture", "AFTER INSERT OR UPDATE OR DELETE", "edgecache_capture"),
	}, "; "))
	return err
}

// nowMS is the database's clock in milliseconds.
const nowMS = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"

// maxAhead is how far above the database's clock a version of another program may be, in
// milliseconds.
const maxAhead = "60000"

// goodID is the condition that a text may be a user's id: the others are no users to edgecache.
func goodID(id string) string { return id + ` ~ '^[A-Za-z0-9._:@-]{1,128}$'` }

// same is the condition that an update left alone all that the profile is made of.
func (u *usersTable) same() string {
	row := func(of string) string {
		return "ROW(" + of + "." + strings.Join(u.watched, ", "+of+".") + ")::text"
	}
	return row("NEW") + " = " + row("OLD")
}

// versionFunction gives a change of another program a version that is above the one before,
// whatever its clock says.
func (u *usersTable) versionFunction() string {
	c := &u.columns[atUpdated]
	return fmt.Sprintf(`
DECLARE
	edgecache_v bigint := %[1]s;
	edgecache_floor bigint := 0;
BEGIN
	IF current_setting('edgecache.own', true) = 'on' THEN RETURN NEW; END IF;
	IF TG_OP = 'UPDATE' THEN
		IF %[2]s THEN RETURN NEW; END IF;
		edgecache_floor := %[3]s;
	END IF;
	IF edgecache_v <= edgecache_floor OR edgecache_v > %[4]s + %[5]s THEN
		edgecache_v := greatest(%[4]s, edgecache_floor + 1);
		NEW.%[6]s := %[7]s;
	END IF;
	RETURN NEW;
END`, u.version("NEW."+c.source), u.same(), u.version("OLD."+c.source), nowMS, maxAhead, c.source, u.write(c, "edgecache_v"))
}

// captureFunction writes the outbox for a change of another program. A user who comes back gets a
// version above that of the deletion, which may have been committed while the row waited for it.
func (u *usersTable) captureFunction(schema string) string {
	c, id := &u.columns[atUpdated], u.columns[atID].source
	packed := "convert_to(json_build_array(" + strings.Join(u.reads(), ", ") + ")::text, 'UTF8')"
	return fmt.Sprintf(`
#variable_conflict use_column
DECLARE
	edgecache_v bigint;
	edgecache_floor bigint;
	edgecache_row bytea;
BEGIN
	IF current_setting('edgecache.own', true) = 'on' THEN RETURN NULL; END IF;
	IF TG_OP = 'UPDATE' THEN
		IF %[1]s THEN RETURN NULL; END IF;
	END IF;
	IF TG_OP <> 'INSERT' THEN
		IF TG_OP = 'DELETE' OR OLD.%[2]s::text <> NEW.%[2]s::text THEN
			INSERT INTO %[3]sedgecache_deleted AS d (id, version) VALUES (OLD.%[2]s::text, greatest(%[4]s, %[5]s + 1))
				ON CONFLICT (id) DO UPDATE SET version = greatest(d.version + 1, excluded.version) RETURNING d.version INTO edgecache_v;
			INSERT INTO %[3]sedgecache_outbox (kind, user_id, version, committed_at)
				SELECT 3, OLD.%[2]s::text, edgecache_v, %[4]s WHERE %[6]s;
		END IF;
		IF TG_OP = 'DELETE' THEN RETURN NULL; END IF;
	END IF;
	edgecache_v := %[7]s;
	SELECT d.version INTO edgecache_floor FROM %[3]sedgecache_deleted d WHERE d.id = NEW.%[2]s::text;
	IF edgecache_v <= edgecache_floor THEN
		edgecache_v := edgecache_floor + 1;
		PERFORM set_config('edgecache.own', 'on', true);
		UPDATE %[8]s SET %[9]s = %[10]s WHERE %[2]s = NEW.%[2]s;
		PERFORM set_config('edgecache.own', '', true);
		SELECT %[11]s INTO edgecache_row FROM %[8]s WHERE %[2]s = NEW.%[2]s;
	ELSE
		SELECT %[11]s INTO edgecache_row FROM (SELECT NEW.*) AS edgecache_new;
	END IF;
	INSERT INTO %[3]sedgecache_outbox (kind, user_id, version, profile, committed_at)
		SELECT CASE TG_OP WHEN 'INSERT' THEN 1 ELSE 2 END, NEW.%[2]s::text, edgecache_v, edgecache_row, %[4]s WHERE %[12]s;
	RETURN NULL;
END`, u.same(), id, schema, nowMS, u.version("OLD."+c.source), goodID("OLD."+id+"::text"), u.version("NEW."+c.source),
		u.name, c.source, u.write(c, "edgecache_v"), packed, goodID("NEW."+id+"::text"))
}

// captured reports whether triggers note what others write into the table.
func captured(ctx context.Context, conn *pgx.Conn, table string) (on bool, err error) {
	err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = to_regclass($1)
		AND g.tgname = 'zz_edgecache_capture' AND g.tgenabled <> 'D')`, table).Scan(&on)
	return on, err
}
