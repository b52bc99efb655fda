package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/pflag"

	"github.com/chatapp-ngomna/edgecache/source/postgres"
)

// tableSettings are the flags that name an existing table of users.
type tableSettings struct {
	name    string
	columns string // FIELD=COLUMN,…
	zone    string // of timestamps without one
}

func (s *tableSettings) flags(f *pflag.FlagSet) {
	f.StringVar(&s.name, "table", "", "PostgreSQL: an existing `TABLE` of users, or SCHEMA.TABLE; \"personnel\", made if absent, when not given")
	f.StringVar(&s.columns, "columns", "", "PostgreSQL: `FIELD=COLUMN,…` where the table's columns are not named as usual, "+
		"such as id=matr,nom=last_name; FIELD= where it has none, FIELD=(SQL) for an expression, "+
		"attrs.NAME=COLUMN for a column that is an attribute")
	f.StringVar(&s.zone, "timestamps-in", "",
		"PostgreSQL: the time `ZONE` of updatedAt when it is a timestamp without time zone, such as UTC")
}

// columnFields are the names of a profile's fields, in the order of places.
var columnFields = []string{"id", "nom", "prenom", "fullName", "avatar", "matricule", "ministere", "sexe", "attrs", "updatedAt"}

// places are where a table keeps the names of its columns.
func places(t *postgres.Table) []*string {
	return []*string{&t.ID, &t.Nom, &t.Prenom, &t.FullName, &t.Avatar, &t.Matricule, &t.Ministere, &t.Sexe, &t.Attrs, &t.UpdatedAt}
}

// table returns the table that the flags name. Errors are usage errors.
func (s tableSettings) table() (postgres.Table, error) {
	t := postgres.Table{Name: s.name}
	if s.columns == "" && s.zone == "" {
		return t, nil
	}
	if s.name == "" {
		return t, usagef("--columns and --timestamps-in say how the columns of a table are; name the table: --table TABLE")
	}
	t.TimestampsIn = s.zone
	if s.columns == "" {
		return t, nil
	}
	for _, part := range splitColumns(s.columns) {
		if err := takeColumn(&t, strings.TrimSpace(part)); err != nil {
			return t, err
		}
	}
	return t, nil
}

// takeColumn takes one FIELD=COLUMN.
func takeColumn(t *postgres.Table, part string) error {
	field, column, ok := strings.Cut(part, "=")
	if !ok {
		return usagef("--columns: %q: want FIELD=COLUMN, such as nom=last_name", part)
	}
	if attr, ok := strings.CutPrefix(field, "attrs."); ok && attr != "" {
		if t.AttrColumns[attr] != "" || column == "" {
			return usagef("--columns: %q: want one column for it", part)
		}
		if t.AttrColumns == nil {
			t.AttrColumns = map[string]string{}
		}
		t.AttrColumns[attr] = column
		return nil
	}
	at := slices.Index(columnFields, field)
	if at < 0 {
		return usagef("--columns: unknown field %q; the fields are %s, and attrs.NAME", field, strings.Join(columnFields, ", "))
	}
	place := places(t)[at]
	if *place != "" {
		return usagef("--columns: the field %s is given twice", field)
	}
	*place = cmp.Or(column, postgres.NoColumn)
	return nil
}

// splitColumns splits at the commas that are in no parentheses, texts or quoted names.
func splitColumns(s string) (parts []string) {
	depth, from := 0, 0
	quote := byte(0)
	for i := range len(s) {
		switch c := s[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case depth > 0 && (c == '\'' || c == '"'):
			quote = c
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth <= 0:
			parts, from = append(parts, s[from:i]), i+1
		}
	}
	return append(parts, s[from:])
}

// checkDB refuses a database that is none, and a table where there can be none.
func checkDB(db string, t tableSettings) error {
	path, sqlite := strings.CutPrefix(db, "sqlite:")
	switch {
	case isPostgres(db):
		_, err := t.table()
		return err
	case !sqlite || path == "":
		return usagef("--db %q: want sqlite:PATH, such as sqlite:/var/lib/edgecache/users.db, or postgres://USER@HOST/NAME", redactURL(db))
	case t != tableSettings{}:
		return usagef("--table and --columns are for PostgreSQL, and --db is %s", redactURL(db))
	}
	return nil
}

func isPostgres(db string) bool {
	return strings.HasPrefix(db, "postgres://") || strings.HasPrefix(db, "postgresql://")
}

// openError says that a database could not be opened.
func openError(db string, err error) error {
	if pooled(err) {
		return fmt.Errorf("open the database %s (--db): %w\nPgBouncer below 1.21 with transaction pooling keeps no prepared "+
			"statements: add default_query_exec_mode=exec to the address, or connect past it", redactURL(db), err)
	}
	return fmt.Errorf("open the database %s (--db): %w", redactURL(db), err)
}

// pooled reports whether PostgreSQL refused a prepared statement as it does when a pooler has given
// the connection to somebody else in between: 26000 it is not there, 42P05 it is there already.
func pooled(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && (refused.Code == "26000" || refused.Code == "42P05")
}
