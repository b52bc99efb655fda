package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Report is what a look at a database found, and what keeps Start from working with it.
type Report struct {
	// Table is the table of users, quoted and with its schema if it was given.
	Table string
	// Faults keep Start from working; each is a sentence with its remedy.
	Faults []string
	// Notes are what works less well, or not for all requests.
	Notes []string

	missing bool // there is no such table
}

// Err returns nil without faults, else one error that says them all.
func (r *Report) Err() error {
	switch len(r.Faults) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("table %s: %s", r.Table, r.Faults[0])
	}
	var b strings.Builder
	for i, fault := range r.Faults {
		fmt.Fprintf(&b, "; (%d) %s", i+1, fault)
	}
	return fmt.Errorf("table %s: %d things to mend: %s", r.Table, len(r.Faults), strings.TrimPrefix(b.String(), "; "))
}

func (r *Report) fault(format string, args ...any) {
	r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
}

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// inspector looks at one table and writes nothing.
type inspector struct {
	conn *pgx.Conn
	t    Table
	u    *usersTable
	rep  *Report
	have map[string]pgColumn
}

// inspect reads the table's description. Without faults in the report the table is usable.
func (t Table) inspect(ctx context.Context, conn *pgx.Conn) (*usersTable, *Report, error) {
	id, err := t.identifier()
	if err != nil {
		return nil, nil, err
	}
	in := &inspector{conn: conn, t: t, u: &usersTable{name: id.Sanitize()}, rep: &Report{Table: id.Sanitize()}}
	ok, err := in.relation(ctx, id)
	if err != nil || !ok {
		return nil, in.rep, err
	}
	if in.have, err = describeTable(ctx, conn, in.u.name); err != nil {
		return nil, nil, err
	}
	in.take()
	in.others()
	in.watch()
	if err := in.try(ctx); err != nil {
		return nil, nil, err
	}
	return in.u, in.rep, nil
}

// open returns the table, after making what is the store's own. Nothing is made before what is
// there was found usable.
func (t Table) open(ctx context.Context, conn *pgx.Conn) (*usersTable, error) {
	u, rep, err := t.inspect(ctx, conn)
	if err != nil {
		return nil, err
	}
	ours := t.own() && u == nil && rep.missing
	if err := rep.Err(); err != nil && !ours {
		return nil, err
	}
	if err := migratePostgres(ctx, conn, t); err != nil || !ours {
		return u, err
	}
	if u, rep, err = t.inspect(ctx, conn); err != nil {
		return nil, err
	}
	return u, rep.Err()
}

// relation looks at what carries the name, and reports whether it has columns to look at.
func (in *inspector) relation(ctx context.Context, id pgx.Identifier) (bool, error) {
	var kind string
	var rules, hides, read, insert, update, remove bool
	err := in.conn.QueryRow(ctx, `SELECT c.relkind::text, c.relhasrules, row_security_active(c.oid),
			has_table_privilege(c.oid, 'SELECT'), has_table_privilege(c.oid, 'INSERT'),
			has_table_privilege(c.oid, 'UPDATE'), has_table_privilege(c.oid, 'DELETE'),
			EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal
				AND g.tgenabled <> 'D' AND g.tgname NOT LIKE '%edgecache%')
		FROM pg_class c WHERE c.oid = to_regclass($1)`, in.u.name).
		Scan(&kind, &rules, &hides, &read, &insert, &update, &remove, &in.u.stamped)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, in.absent(ctx, id)
	}
	if err != nil {
		return false, err
	}
	what, noTable := map[string]string{"v": "a view", "m": "a materialized view", "f": "a foreign table"}[kind]
	switch {
	case noTable:
		in.rep.fault("it is %s, where no index keeps the ids unique and no lock keeps changes apart; name the "+
			"table behind it, and give what the view computes as expressions: --columns 'fullName=(first || last)'", what)
		return false, nil
	case kind != "r" && kind != "p":
		in.rep.fault("it is no table")
		return false, nil
	case rules:
		in.rep.fault("it has rules (CREATE RULE), which change what a statement does and returns; use triggers instead")
	case hides:
		in.rep.fault("row-level security hides rows of it from this role, so that users would look deleted; " +
			"use a role that sees all: ALTER ROLE … BYPASSRLS, or the table's owner")
	}
	in.privileges(read, insert, update, remove)
	return true, nil
}

func (in *inspector) privileges(read, insert, update, remove bool) {
	if !read || !update {
		in.rep.fault("this role may not read and update it: GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO …", in.u.name)
		return
	}
	if !insert || !remove {
		in.rep.note("this role may not insert or delete rows, so that some changes are 503: "+
			"GRANT INSERT, DELETE ON %s TO …", in.u.name)
	}
}

// absent says that there is no such table, and what may have been meant.
func (in *inspector) absent(ctx context.Context, id pgx.Identifier) error {
	rows, err := in.conn.Query(ctx, `SELECT n.nspname || '.' || c.relname FROM pg_class c
		JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE lower(c.relname) = lower($1) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
			AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1 LIMIT 3`, id[len(id)-1])
	if err != nil {
		return err
	}
	like, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	in.rep.missing = true
	in.rep.fault("there is no table %s", in.u.name)
	if len(like) > 0 {
		in.rep.Faults[0] += "; there is: --table " + strings.Join(like, ", --table ")
	}
	return nil
}

// pgColumn is a column as the database describes it. Types are those below domains.
type pgColumn struct {
	typ       string
	typmod    int32
	notNull   bool
	filled    bool   // a row that does not give it gets a value
	generated string // "s" or "v": computed from others; "a": always by a sequence; else ""
	byBytes   bool   // texts sort by bytes
	unique    bool   // it has a unique index of its own
	indexed   bool   // it is the first of an index
}

func describeTable(ctx context.Context, conn *pgx.Conn, table string) (map[string]pgColumn, error) {
	rows, err := conn.Query(ctx, `SELECT a.attname, format_type(b.oid, NULL), b.typmod, a.attnotnull OR b.strict,
			a.atthasdef OR a.attidentity <> '' OR b.filled,
			CASE WHEN a.attidentity = 'a' THEN 'a' ELSE a.attgenerated::text END,
			coalesce(c.collname IN ('C', 'POSIX'), false),
			EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique AND i.indisvalid AND i.indimmediate
				AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum AND i.indpred IS NULL AND i.indexprs IS NULL),
			EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisvalid AND i.indkey[0] = a.attnum AND i.indpred IS NULL)
		FROM pg_attribute a LEFT JOIN pg_collation c ON c.oid = a.attcollation
		CROSS JOIN LATERAL (
			WITH RECURSIVE d (oid, base, typmod, strict, filled) AS (
				SELECT t.oid, t.typbasetype, greatest(a.atttypmod, t.typtypmod), t.typnotnull, t.typdefault IS NOT NULL
				FROM pg_type t WHERE t.oid = a.atttypid
				UNION ALL SELECT t.oid, t.typbasetype, greatest(d.typmod, t.typtypmod), d.strict OR t.typnotnull,
					d.filled OR t.typdefault IS NOT NULL
				FROM d JOIN pg_type t ON t.oid = d.base)
			SELECT * FROM d WHERE base = 0) AS b
		WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped`, table)
	if err != nil {
		return nil, err
	}
	have := map[string]pgColumn{}
	var name string
	var col pgColumn
	into := []any{&name, &col.typ, &col.typmod, &col.notNull, &col.filled, &col.generated, &col.byBytes, &col.unique, &col.indexed}
	_, err = pgx.ForEachRow(rows, into, func() error {
		have[name] = col
		return nil
	})
	return have, err
}

// take finds the columns and notes all that will not do.
func (in *inspector) take() {
	names := in.t.columns()
	var missing []int
	for at, name := range names {
		c, ok := in.column(fieldNames[at], name)
		if !ok {
			missing = append(missing, at)
		}
		if at != atID && name == names[atID] {
			c.fixed = "the table keeps it as the id"
		}
		in.u.columns = append(in.u.columns, c)
	}
	in.lacks(names, missing)
	for _, attr := range in.t.attributes() {
		c, ok := in.column("attrs."+attr, in.t.AttrColumns[attr])
		if !ok {
			name := in.t.AttrColumns[attr]
			in.rep.fault("it has no column %s for attrs.%s%s", name, attr, in.spelled(name, "attrs."+attr))
		}
		in.u.extras = append(in.u.extras, c)
	}
	in.takeID(names[atID])
	in.takeAttrs(names[atAttrs])
	in.takeVersion(names[atUpdated])
}

// column is a field's place in the table, and false when the table has no such column.
func (in *inspector) column(field, name string) (column, bool) {
	switch {
	case name == NoColumn:
		return column{field: field, fixed: "the table has no column for it"}, true
	case isExpression(name):
		return column{field: field, source: name, fixed: "the origin computes it from other columns"}, true
	}
	col, ok := in.have[name]
	c := column{field: field, source: quoteName(name), typ: col.typ, notNull: col.notNull}
	if col.generated != "" {
		c.fixed = fmt.Sprintf("the database makes the column %s by itself", name)
	}
	return c, ok
}

// lacks says which columns are missing, and every way out.
func (in *inspector) lacks(names []string, missing []int) {
	if len(missing) == 0 {
		return
	}
	var lacks, none, remedy []string
	spelled := ""
	for _, at := range missing {
		lacks = append(lacks, names[at])
		remedy = append(remedy, fmt.Sprintf("ADD COLUMN %s %s", quoteName(names[at]), standardType(at)))
		if at != atID && at != atUpdated {
			none = append(none, fieldNames[at]+"=")
		}
		spelled += in.spelled(names[at], fieldNames[at])
	}
	without := ""
	if len(none) > 0 {
		without = " (or none: --columns " + strings.Join(none, ",") + ")"
	}
	in.rep.fault("it lacks %s%s; name other columns%s, or: ALTER TABLE %s %s",
		strings.Join(lacks, ", "), spelled, without, in.u.name, strings.Join(remedy, ", "))
}

// spelled tells of a column that differs by its case and underscores only.
func (in *inspector) spelled(name, field string) string {
	bare := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "")) }
	for other := range in.have {
		if bare(other) == bare(name) {
			return fmt.Sprintf("; there is %s: --columns %s=%s", other, field, other)
		}
	}
	return ""
}

func standardType(at int) string {
	switch at {
	case atAttrs:
		return "jsonb"
	case atUpdated:
		return "bigint NOT NULL DEFAULT 0"
	}
	return "text"
}

func (in *inspector) takeID(name string) {
	col, ok := in.have[name]
	in.u.order, in.u.makesIDs = quoteName(name), col.filled
	if !ok {
		return
	}
	if !col.unique {
		in.rep.fault("column %s is not unique: it needs a primary key or a unique index of its own, "+
			"of no other column (the key of a partitioned table must then be %[1]s) and not deferrable: CREATE UNIQUE INDEX ON %[2]s (%[3]s)",
			name, in.u.name, quoteName(name))
	}
	in.wantType(name, "text", "character varying", "character", "uuid", "smallint", "integer", "bigint")
	if col.generated == "s" || col.generated == "v" {
		in.rep.fault("column %s is computed from others; the id must be one that a row is given", name)
	}
	if !isTextType(col.typ) || !col.byBytes {
		in.u.order = `(` + quoteName(name) + `::text COLLATE "C")`
	}
}

func (in *inspector) takeAttrs(name string) {
	if _, ok := in.have[name]; ok {
		in.wantType(name, "jsonb", "json")
	}
}

// wantType refuses other types.
func (in *inspector) wantType(name string, types ...string) {
	if typ := in.have[name].typ; !slices.Contains(types, typ) {
		in.rep.fault("column %s has type %s; want %s", name, typ, strings.Join(types, " or "))
	}
}

// takeVersion refuses a version that cannot keep milliseconds, or of which nobody knows the zone. A
// version in whole seconds could not tell apart two changes of one second, and the second would
// never be shown.
func (in *inspector) takeVersion(name string) {
	col, ok := in.have[name]
	if !ok {
		return
	}
	in.wantType(name, "bigint", "timestamp with time zone", "timestamp without time zone")
	naive := col.typ == "timestamp without time zone"
	alter := func(typ string) string {
		return fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s TYPE %s", in.u.name, quoteName(name), typ)
	}
	if strings.HasPrefix(col.typ, "timestamp") && col.typmod >= 0 && col.typmod < 3 {
		short := map[bool]string{true: "timestamp(3)", false: "timestamptz(3)"}[naive]
		in.rep.fault("column %s keeps %d digits of a second, too few to tell two changes apart: %s", name, col.typmod, alter(short))
	}
	switch {
	case naive && in.t.TimestampsIn == "":
		in.rep.fault("column %s has no time zone; say which one it is written in: --timestamps-in UTC, "+
			"or: %s USING %s AT TIME ZONE 'UTC'", name, alter("timestamptz"), quoteName(name))
	case !naive && in.t.TimestampsIn != "":
		in.rep.fault("--timestamps-in %s is for a timestamp without time zone, and column %s has type %s",
			in.t.TimestampsIn, name, col.typ)
	}
	if col.generated != "" {
		in.rep.fault("column %s is computed by the database; the version must be one that a change can set", name)
	}
	in.u.zone, in.u.sweepsAll = quoteText(in.t.TimestampsIn), !col.indexed
}

// watch finds the columns of which the profile is made: those of its fields, or all that others may
// be computed from.
func (in *inspector) watch() {
	computed := slices.ContainsFunc(append(slices.Clone(in.u.columns), in.u.extras...), func(c column) bool {
		return isExpression(c.source) || in.generated(c.source)
	})
	used := in.t.columns()
	for _, name := range in.t.AttrColumns {
		used = append(used, name)
	}
	for name, col := range in.have {
		if (computed || slices.Contains(used, name)) && col.generated != "s" && col.generated != "v" {
			in.u.watched = append(in.u.watched, quoteName(name))
		}
	}
	slices.Sort(in.u.watched)
}

func (in *inspector) generated(quoted string) bool {
	for name, col := range in.have {
		if quoteName(name) == quoted {
			return col.generated == "s" || col.generated == "v"
		}
	}
	return false
}

// others notes the columns that no field stands for and that a new row must give.
func (in *inspector) others() {
	used := in.t.columns()
	for _, name := range in.t.AttrColumns {
		used = append(used, name)
	}
	var needed, attrs []string
	for name, col := range in.have {
		if col.notNull && !col.filled && col.generated == "" && !slices.Contains(used, name) {
			needed, attrs = append(needed, name), append(attrs, "attrs."+name+"="+name)
		}
	}
	if len(needed) > 0 {
		slices.Sort(needed)
		slices.Sort(attrs)
		in.rep.note("users cannot be added (POST and import are 400) while a new row needs %s: give the columns a DEFAULT, "+
			"or take them as attributes: --columns %s", strings.Join(needed, ", "), strings.Join(attrs, ","))
	}
}

// try has the database read the expressions and the zone, which nothing else checks.
func (in *inspector) try(ctx context.Context) error {
	for _, c := range append(slices.Clone(in.u.columns), in.u.extras...) {
		if !isExpression(c.source) {
			continue
		}
		if err := in.dry(ctx, "SELECT "+c.source+"::text FROM "+in.u.name+" LIMIT 0"); err != nil {
			in.rep.fault("%s=%s: %v", c.field, c.source, err)
		}
	}
	if zone := in.t.TimestampsIn; zone != "" {
		var moves bool
		err := in.conn.QueryRow(ctx, `SELECT count(DISTINCT (t AT TIME ZONE $1) - (t AT TIME ZONE 'UTC')) > 1
			FROM generate_series(now(), now() + interval '1 year', interval '1 day') AS t`, zone).Scan(&moves)
		if _, refused := errors.AsType[*pgconn.PgError](err); refused {
			in.rep.fault("--timestamps-in %s: %v", zone, err)
		} else if err != nil {
			return err
		}
		if moves {
			in.rep.fault("the clocks of %s go back an hour each year, and versions with them: ALTER TABLE %s ALTER COLUMN %s "+
				"TYPE timestamptz USING %[3]s AT TIME ZONE %[4]s", zone, in.u.name, in.u.columns[atUpdated].source, in.u.zone)
		}
	}
	return in.conn.PgConn().Ping(ctx) // a connection that broke has made faults of its own
}

// dry has the database read a statement, and one only, without running it.
func (in *inspector) dry(ctx context.Context, statement string) error {
	_, err := in.conn.PgConn().Prepare(ctx, "", statement, nil)
	return err
}
