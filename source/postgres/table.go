package postgres

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5"

	"github.com/chatapp-ngomna/edgecache/source/internal/record"
)

// NoColumn, as the name of a column, says that the table has none for the field: it reads as empty,
// and a change that gives it is refused. The id and the version need a column.
const NoColumn = "-"

// Table names a table of users that exists already, and its columns. An empty column name is the
// standard one, in brackets below. The id must be unique; its type is text, varchar, char, uuid,
// smallint, integer or bigint. A column of texts may have any type that reads and writes as text,
// and may be null.
//
// All but the id and the version may be NoColumn, or an SQL expression in parentheses over the
// table's columns, such as (first_name || ' ' || last_name), which is read and never written. The
// id's column may be that of one more field. Generated columns are read and not written.
type Table struct {
	// Name is the table, or SCHEMA.TABLE. "" is the store's own table "personnel", whose columns
	// have the standard names.
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
	// UpdatedAt is the version: bigint, in milliseconds since 1970, or a timestamp that keeps
	// milliseconds [updated_at].
	UpdatedAt string
	// AttrColumns are columns that are read and written as attributes, by the attribute's name;
	// they come before what Attrs holds. Default none; at most 40.
	AttrColumns map[string]string
	// TimestampsIn is the zone of an UpdatedAt that is a timestamp without time zone, such as "UTC"
	// or "Africa/Douala". A zone that changes its clocks is refused. Required then, else "".
	TimestampsIn string
}

// places of the columns that are not plain texts, in the order of columns.
const (
	atID, atFullName, atAttrs, atUpdated = 0, 3, 8, 9
)

// fieldNames are the names of the fields as requests spell them, in the order of columns.
var fieldNames = []string{"id", "nom", "prenom", "fullName", "avatar", "matricule", "ministere", "sexe", "attrs", "updatedAt"}

// maxAttrColumns is the number of columns that are attributes.
const maxAttrColumns = 40

// maxIdentifier is the longest name that PostgreSQL keeps, in bytes; it cuts longer ones without a
// word.
const maxIdentifier = 63

func (t Table) named() []string {
	return []string{t.ID, t.Nom, t.Prenom, t.FullName, t.Avatar, t.Matricule, t.Ministere, t.Sexe, t.Attrs, t.UpdatedAt}
}

// columns are the names in the order of the constant columns.
func (t Table) columns() []string {
	standard := strings.Split(record.Columns, ", ")
	for i, name := range t.named() {
		standard[i] = cmp.Or(name, standard[i])
	}
	return standard
}

// attributes are the names of the attributes that have a column, in order.
func (t Table) attributes() []string { return slices.Sorted(maps.Keys(t.AttrColumns)) }

// own reports whether the table is the store's own.
func (t Table) own() bool { return t.Name == "" }

func (t Table) described() bool {
	return len(t.AttrColumns) > 0 || strings.Join(append(t.named(), t.TimestampsIn), "") != ""
}

// isExpression reports whether a column is none but an expression.
func isExpression(column string) bool {
	return strings.HasPrefix(column, "(") && strings.HasSuffix(column, ")")
}

// identifier returns the table's name in its parts, after checking it and the columns'.
func (t Table) identifier() (pgx.Identifier, error) {
	if t.own() && t.described() {
		return nil, errors.New("source: PostgreSQL: columns are named but not their table")
	}
	parts := strings.Split(cmp.Or(t.Name, "personnel"), ".")
	if len(parts) > 2 {
		return nil, fmt.Errorf("source: PostgreSQL table %q: want TABLE or SCHEMA.TABLE", t.Name)
	}
	for _, part := range parts {
		if err := checkName(part); err != nil {
			return nil, err
		}
	}
	if n := len(t.AttrColumns); n > maxAttrColumns {
		return nil, fmt.Errorf("source: PostgreSQL: %d columns are attributes; at most %d", n, maxAttrColumns)
	}
	return pgx.Identifier(parts), t.checkColumns()
}

func checkName(name string) error {
	if name == "" || len(name) > maxIdentifier || strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("source: PostgreSQL: %q is no name of a table or column; want 1-%d bytes", name, maxIdentifier)
	}
	return nil
}

// checkColumns refuses names that are none, and columns that stand for two fields. The id's may
// stand for one more: a table's id often is the registration number.
func (t Table) checkColumns() error {
	names := t.columns()
	for _, attr := range t.attributes() {
		names = append(names, t.AttrColumns[attr])
	}
	shared := 0
	for i, name := range names {
		if isExpression(name) || name == NoColumn {
			if i == atID || i == atUpdated {
				return fmt.Errorf("source: PostgreSQL: %s is %s; the id and the version need a column", fieldNames[i], name)
			}
			continue
		}
		if err := checkName(name); err != nil {
			return err
		}
		if before := slices.Index(names[:i], name); before > 0 || before == 0 && i >= atAttrs || before == 0 && shared > 0 {
			return fmt.Errorf("source: PostgreSQL: column %q is named twice", name)
		} else if before == 0 {
			shared++
		}
	}
	return nil
}
