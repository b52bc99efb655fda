package main

import (
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
}

func (s *tableSettings) flags(f *pflag.FlagSet) {
	f.StringVar(&s.name, "table", "", "PostgreSQL: an existing `TABLE` of users, or SCHEMA.TABLE; \"personnel\", made if absent, when not given")
	f.StringVar(&s.columns, "columns", "", "PostgreSQL: `FIELD=COLUMN,…` where the table's columns are not named as usual, such as id=matr,nom=last_name")
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
	if s.columns == "" {
		return t, nil
	}
	if s.name == "" {
		return t, usagef("--columns says how the columns of a table are named; name the table: --table TABLE")
	}
	for part := range strings.SplitSeq(s.columns, ",") {
		field, column, ok := strings.Cut(strings.TrimSpace(part), "=")
		at := slices.Index(columnFields, field)
		switch {
		case !ok || column == "":
			return t, usagef("--columns: %q: want FIELD=COLUMN, such as nom=last_name", part)
		case at < 0:
			return t, usagef("--columns: unknown field %q; the fields are %s", field, strings.Join(columnFields, ", "))
		case *places(&t)[at] != "":
			return t, usagef("--columns: the field %s is given twice", field)
		}
		*places(&t)[at] = column
	}
	return t, nil
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

// pooled reports whether PostgreSQL refused a prepared statement as it does when a pooler has given the
// connection to somebody else in between: 26000 it is not there, 42P05 it is there already.
func pooled(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && (refused.Code == "26000" || refused.Code == "42P05")
}
