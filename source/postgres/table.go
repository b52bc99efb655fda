package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source/internal/record"
)

// Table names a table of users that exists already, and its columns. An empty column name is the standard one, in
// brackets below. The id must be unique; its type is text, varchar, uuid, integer or bigint. A column of texts may have any
// type that reads and writes as text, and may be null.
type Table struct {
	// Name is the table, or SCHEMA.TABLE. "" is the store's own table "personnel", whose columns have the standard names.
	Name string
	// ID is the user's id [id].
	ID string
	// Nom is the family name [nom].
	Nom string
	// Prenom is the given name [prenom].
	Prenom string
	// FullName is the name to display where it is not Prenom and Nom, else null [full_name].
	FullName string
	// Avatar is the URL or path of the picture [avatar].
	Avatar string
	// Matricule is the registration number [matricule].
	Matricule string
	// Ministere is the ministry [ministere].
	Ministere string
	// Sexe is "M", "F" or nothing [sexe].
	Sexe string
	// Attrs is an object of further texts, jsonb or json [attrs].
	Attrs string
	// UpdatedAt is the version: bigint, in milliseconds since 1970, or timestamptz [updated_at].
	UpdatedAt string
}

// places of the columns that are not plain texts, in the order of columns.
const (
	atID, atFullName, atAttrs, atUpdated = 0, 3, 8, 9
)

// columns are the names in the order of the constant columns.
func (t Table) columns() []string {
	standard := strings.Split(record.Columns, ", ")
	for i, name := range []string{t.ID, t.Nom, t.Prenom, t.FullName, t.Avatar, t.Matricule, t.Ministere, t.Sexe, t.Attrs, t.UpdatedAt} {
		standard[i] = cmp.Or(name, standard[i])
	}
	return standard
}

// maxIdentifier is the longest name that PostgreSQL keeps, in bytes; it cuts longer ones without a word.
const maxIdentifier = 63

// identifier returns the table's name in its parts, after checking it and the columns'.
func (t Table) identifier() (pgx.Identifier, error) {
	if t.Name == "" && t != (Table{}) {
		return nil, errors.New("source: PostgreSQL: columns are named but not their table")
	}
	parts := strings.Split(cmp.Or(t.Name, "personnel"), ".")
	if len(parts) > 2 {
		return nil, fmt.Errorf("source: PostgreSQL table %q: want TABLE or SCHEMA.TABLE", t.Name)
	}
	names := t.columns()
	for _, name := range append(slices.Clone(parts), names...) {
		if name == "" || len(name) > maxIdentifier || strings.ContainsFunc(name, unicode.IsControl) {
			return nil, fmt.Errorf("source: PostgreSQL: %q is no name of a table or column; want 1-%d bytes", name, maxIdentifier)
		}
	}
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("source: PostgreSQL: column %q is named twice", name)
		}
	}
	return pgx.Identifier(parts), nil
}

// usersTable is a table of users as the database describes it.
type usersTable struct {
	name    string   // quoted
	columns []string // quoted, in the order of the constant columns
	types   []string // of the columns
	order   string   // an expression of the id that sorts by bytes
}

// inspect reads the table's description.
func (t Table) inspect(ctx context.Context, conn *pgx.Conn) (*usersTable, error) {
	id, err := t.identifier()
	if err != nil {
		return nil, err
	}
	u := &usersTable{name: id.Sanitize()}
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", u.name).Scan(&exists); err != nil {
		return nil, err
	}
	if !exists {
		return nil, fmt.Errorf("there is no table %s", u.name)
	}
	have, err := describeTable(ctx, conn, u.name)
	if err != nil {
		return nil, err
	}
	if err := u.take(t.columns(), have); err != nil {
		return nil, fmt.Errorf("table %s: %w", u.name, err)
	}
	return u, nil
}

// pgColumn is a column as the database describes it.
type pgColumn struct {
	typ     string
	byBytes bool // texts sort by bytes
	unique  bool // it has a unique index of its own
}

func describeTable(ctx context.Context, conn *pgx.Conn, table string) (map[string]pgColumn, error) {
	rows, err := conn.Query(ctx, `SELECT a.attname, format_type(a.atttypid, NULL), coalesce(c.collname IN ('C', 'POSIX'), false),
			EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique AND i.indisvalid
				AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum AND i.indpred IS NULL AND i.indexprs IS NULL)
		FROM pg_attribute a LEFT JOIN pg_collation c ON c.oid = a.attcollation
		WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped`, table)
	if err != nil {
		return nil, err
	}
	have := map[string]pgColumn{}
	var name string
	var col pgColumn
	_, err = pgx.ForEachRow(rows, []any{&name, &col.typ, &col.byBytes, &col.unique}, func() error {
		have[name] = col
		return nil
	})
	return have, err
}

// take checks that what is there will do.
func (u *usersTable) take(names []string, have map[string]pgColumn) error {
	var missing, remedy []string
	for i, name := range names {
		quoted := pgx.Identifier{name}.Sanitize()
		col, ok := have[name]
		if !ok {
			missing = append(missing, name)
			remedy = append(remedy, fmt.Sprintf("ADD COLUMN %s %s", quoted, standardType(i)))
		}
		u.columns, u.types = append(u.columns, quoted), append(u.types, col.typ)
	}
	if len(missing) > 0 {
		return fmt.Errorf("it lacks %s; name other columns, or: ALTER TABLE %s %s",
			strings.Join(missing, ", "), u.name, strings.Join(remedy, ", "))
	}
	id := have[names[atID]]
	if !id.unique {
		return fmt.Errorf("column %s is not unique: it needs a primary key or a unique index of its own", names[atID])
	}
	for _, want := range []struct {
		at    int
		types []string
	}{
		{atID, []string{"text", "character varying", "uuid", "integer", "bigint"}}, {atAttrs, []string{"jsonb", "json"}},
		{atUpdated, []string{"bigint", "timestamp with time zone"}},
	} {
		if typ := u.types[want.at]; !slices.Contains(want.types, typ) {
			return fmt.Errorf("column %s has type %s; want %s", names[want.at], typ, strings.Join(want.types, " or "))
		}
	}
	u.order = u.columns[atID]
	if !u.idIsText() || !id.byBytes {
		u.order = `(` + u.columns[atID] + `::text COLLATE "C")`
	}
	return nil
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

// plain reports whether the columns have the types of the standard table, so that a profile's values need no conversion.
func (u *usersTable) plain() bool {
	for at, typ := range u.types {
		want := "text"
		switch at {
		case atAttrs:
			want = "jsonb"
		case atUpdated:
			want = "bigint"
		}
		if typ != want {
			return false
		}
	}
	return true
}

func isTextType(typ string) bool { return typ == "text" || typ == "character varying" }

func (u *usersTable) idIsText() bool { return isTextType(u.types[atID]) }

// slowOrder reports whether no index of the id serves its order.
func (u *usersTable) slowOrder() bool { return u.order != u.columns[atID] }

// hasID reports whether an id can be one of the table: an id that is a number or a UUID has one spelling only.
func (u *usersTable) hasID(id string) bool {
	switch u.types[atID] {
	case "integer", "bigint":
		bits := map[string]int{"integer": 32, "bigint": 64}[u.types[atID]]
		n, err := strconv.ParseInt(id, 10, bits)
		return err == nil && strconv.FormatInt(n, 10) == id
	case "uuid":
		return isUUID(id)
	}
	return true
}

// checkID returns nil for an id that a user of the table may have.
func (u *usersTable) checkID(id string) error {
	if u.hasID(id) {
		return nil
	}
	return fmt.Errorf("%w: %q; the table's ids have type %s", profile.ErrInvalidID, id, u.types[atID])
}

// isUUID reports whether s is a UUID as PostgreSQL writes it.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		hex := (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')
		if dash != (c == '-') || !dash && !hex {
			return false
		}
	}
	return true
}

// read is the expression that column at is read by.
func (u *usersTable) read(at int) string {
	col := u.columns[at]
	switch {
	case at == atUpdated && u.types[at] == "bigint":
		return "coalesce(" + col + ", 0)"
	case at == atUpdated:
		return "coalesce(floor(extract(epoch FROM " + col + ") * 1000), 0)::bigint"
	case at == atID, at == atFullName, at == atAttrs:
		return col + "::text"
	}
	return "coalesce(" + col + "::text, '')"
}

// write is the expression that turns value, a text or for the version a bigint, into what column at holds. Casts of texts
// are without a length, so that the table refuses what is too long for it instead of cutting it.
func (u *usersTable) write(at int, value string) string {
	typ := u.types[at]
	switch {
	case at == atUpdated && typ == "bigint", isTextType(typ):
		return value
	case at == atUpdated:
		return "to_timestamp(" + value + " / 1000.0)"
	case typ == "character":
		return value + "::bpchar"
	case at == atID:
		return value + "::" + typ
	}
	return "nullif(" + value + ", '')::" + typ
}
