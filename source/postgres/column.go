package postgres

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/source/internal/record"
)

// column is where a field of a profile is in the table.
type column struct {
	field   string // as a request names it, such as nom or attrs.email
	source  string // what it is read by: a quoted name or an expression; "" when there is none
	typ     string // below domains
	notNull bool
	// fixed says why the field cannot be written, "" when it can.
	fixed string
}

// writable reports whether a statement may set the column.
func (c *column) writable() bool { return c.fixed == "" }

// usersTable is a table of users as the database describes it.
type usersTable struct {
	name    string   // quoted
	columns []column // in the order of the constant columns
	extras  []column // attributes that have a column
	zone    string   // of a version that is a timestamp without time zone, quoted as a text
	order   string   // an expression of the id that sorts by bytes
	// watched are the columns, quoted, of whose values the profile is made, the computed ones
	// aside.
	watched []string
	// sweepsAll says that no index finds new versions.
	sweepsAll bool
	// stamped says that triggers of others may change what is written, versions included.
	stamped bool
	// makesIDs says that a row that gives no id gets one.
	makesIDs bool
}

// plain reports whether the columns are those of the standard table, so that a profile's values
// need no conversion.
func (u *usersTable) plain() bool {
	for at := range u.columns {
		c, want := &u.columns[at], "text"
		switch at {
		case atAttrs:
			want = "jsonb"
		case atUpdated:
			want = "bigint"
		}
		if c.typ != want || !c.writable() || c.notNull && (at == atFullName || at == atAttrs) {
			return false
		}
	}
	return len(u.extras) == 0 && !u.stamped
}

func isTextType(typ string) bool { return typ == "text" || typ == "character varying" }

func (u *usersTable) idIsText() bool { return isTextType(u.columns[atID].typ) }

// slowOrder reports whether no index of the id serves its order.
func (u *usersTable) slowOrder() bool { return u.order != u.columns[atID].source }

// intBits are the sizes of the types of ids that are numbers.
var intBits = map[string]int{"smallint": 16, "integer": 32, "bigint": 64}

// hasID reports whether an id can be one of the table: an id that is a number or a UUID has one
// spelling only.
func (u *usersTable) hasID(id string) bool {
	typ := u.columns[atID].typ
	if bits := intBits[typ]; bits > 0 {
		n, err := strconv.ParseInt(id, 10, bits)
		return err == nil && strconv.FormatInt(n, 10) == id
	}
	return typ != "uuid" || isUUID(id)
}

// checkID returns nil for an id that a user of the table may have.
func (u *usersTable) checkID(id string) error {
	if u.hasID(id) {
		return nil
	}
	return fmt.Errorf("%w: %q; the table's ids have type %s", profile.ErrInvalidID, id, u.columns[atID].typ)
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

// reads are the expressions of a row of the table, in the order of the constant columns.
func (u *usersTable) reads() []string {
	var reads []string
	for at := range u.columns {
		reads = append(reads, u.read(at))
	}
	return reads
}

// read is the expression that column at is read by.
func (u *usersTable) read(at int) string {
	c := &u.columns[at]
	switch {
	case at == atUpdated:
		return u.version(c.source)
	case at == atAttrs && len(u.extras) > 0:
		return u.readAttrs()
	case c.source == "" && (at == atFullName || at == atAttrs):
		return "NULL::text"
	case c.source == "":
		return "''::text"
	case at == atID, at == atFullName, at == atAttrs:
		return c.source + "::text"
	}
	return "coalesce(" + c.source + "::text, '')"
}

// version is what a value of the version's column is in milliseconds.
func (u *usersTable) version(value string) string {
	switch u.columns[atUpdated].typ {
	case "bigint":
		return "coalesce(" + value + ", 0)"
	case "timestamp without time zone":
		value = "(" + value + " AT TIME ZONE " + u.zone + ")"
	}
	return "coalesce(floor(extract(epoch FROM " + value + ") * 1000), 0)::bigint"
}

// readAttrs joins the attributes' columns to the object.
func (u *usersTable) readAttrs() string {
	var pairs []string
	for i := range u.extras {
		pairs = append(pairs, quoteText(u.extras[i].attribute())+", "+u.extras[i].source+"::text")
	}
	columns := "jsonb_strip_nulls(jsonb_build_object(" + strings.Join(pairs, ", ") + "))"
	if u.columns[atAttrs].source == "" {
		return columns + "::text"
	}
	return "(" + u.object() + " || " + columns + ")::text"
}

// object is what the column of attributes holds, or an empty object.
func (u *usersTable) object() string {
	attrs := u.columns[atAttrs].source + "::jsonb"
	return "CASE WHEN jsonb_typeof(" + attrs + ") = 'object' THEN " + attrs + " ELSE '{}' END"
}

// attribute is the name of the attribute that the column is.
func (c *column) attribute() string { return strings.TrimPrefix(c.field, "attrs.") }

// write is the expression that turns value, a text or for the version a bigint, into what a column
// holds. Casts of texts are without a length, so that the table refuses what is too long for it
// instead of cutting it.
func (u *usersTable) write(c *column, value string) string {
	switch {
	case c.field == "updatedAt" && c.typ == "bigint", isTextType(c.typ):
		return value
	case c.field == "updatedAt" && c.typ == "timestamp without time zone":
		return "(to_timestamp(" + value + " / 1000.0) AT TIME ZONE " + u.zone + ")"
	case c.field == "updatedAt":
		return "to_timestamp(" + value + " / 1000.0)"
	case c.typ == "character":
		return value + "::bpchar"
	case c.field == "id":
		return value + "::" + c.typ
	}
	return "nullif(" + value + ", '')::" + c.typ
}

// staged are the columns that a bulk load writes and their values out of a row that was copied in.
func (u *usersTable) staged() (names, values []string) {
	for at := range u.columns {
		if c := &u.columns[at]; c.writable() {
			names, values = append(names, c.source), append(values, u.write(c, u.stagedValue(at)))
		}
	}
	for i := range u.extras {
		if c := &u.extras[i]; c.writable() {
			value := "(l.attrs::jsonb ->> " + quoteText(c.attribute()) + ")"
			names, values = append(names, c.source), append(values, u.write(c, orEmpty(c, value, "''")))
		}
	}
	return names, values
}

// stagedValue is column at of a row that was copied in.
func (u *usersTable) stagedValue(at int) string {
	c, value := &u.columns[at], "l."+strings.Split(record.Columns, ", ")[at]
	switch at {
	case atUpdated:
		return "greatest(l.updated_at, coalesce((SELECT d.version + 1 FROM edgecache_deleted d WHERE d.id = l.id), 0))"
	case atFullName:
		return orEmpty(c, value, "trim(l.prenom || ' ' || l.nom)")
	case atAttrs:
		if own := u.extraNames(); len(own) > 0 {
			value = "nullif(l.attrs::jsonb - ARRAY[" + strings.Join(own, ", ") + "], '{}')::text"
		}
		return orEmpty(c, value, "'{}'")
	}
	return value
}

// extraNames are the names of the attributes that have a column, quoted as texts.
func (u *usersTable) extraNames() (names []string) {
	for i := range u.extras {
		names = append(names, quoteText(u.extras[i].attribute()))
	}
	return names
}

// orEmpty is value, or instead of null what a column that takes none is given.
func orEmpty(c *column, value, empty string) string {
	if !c.notNull {
		return value
	}
	return "coalesce(" + value + ", " + empty + ")"
}

// extra returns the column of an attribute, nil when it has none.
func (u *usersTable) extra(attribute string) *column {
	i := slices.IndexFunc(u.extras, func(c column) bool { return c.attribute() == attribute })
	if i < 0 {
		return nil
	}
	return &u.extras[i]
}

func quoteName(name string) string { return pgx.Identifier{name}.Sanitize() }

// quoteText is a text as SQL writes it, whatever standard_conforming_strings says.
func quoteText(s string) string {
	if s = strings.ReplaceAll(s, "'", "''"); strings.Contains(s, `\`) {
		return " E'" + strings.ReplaceAll(s, `\`, `\\`) + "'"
	}
	return "'" + s + "'"
}
