package sqldb

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/chatapp-ngomna/edgecache/prewarm"
)

// sqliteScheme begins the address of a SQLite file.
const sqliteScheme = "sqlite:"

// querySQLite takes updated_at as milliseconds since 1970 where it is a number, and as any text
// that SQLite knows as a time. SQLite has no type of time, and texts that differ only in their form
// do not compare as times do.
const querySQLite = `SELECT user_id, at FROM (
	SELECT p.user_id, CASE WHEN typeof(c.updated_at) IN ('integer', 'real') THEN c.updated_at
		ELSE CAST(unixepoch(c.updated_at, 'subsec') * 1000 AS INTEGER) END AS at
	FROM conversations c JOIN conversation_participants p ON p.conversation_id = c.id)
WHERE at >= ?1 OR at IS NULL`

// sqlite is a SQLite file.
type sqlite struct {
	path, query string
}

func newSQLite(path, query string) (*sqlite, error) {
	switch {
	case path == "" || strings.HasPrefix(path, ":memory:"):
		return nil, fmt.Errorf("%w: sqldb: Config.URL is %q; want sqlite:PATH of a file", prewarm.ErrConfig, sqliteScheme+path)
	case query != "" && !strings.Contains(query, "?"):
		return nil, fmt.Errorf("%w: sqldb: Config.Query has no parameter; want one, ?, the time since when users count, in milliseconds since 1970",
			prewarm.ErrConfig)
	}
	return &sqlite{path, cmp.Or(query, querySQLite)}, nil
}

func (s *sqlite) name() string { return "sqlite" }

func (s *sqlite) where() string { return s.path }

// open opens the file for reading only. SQLite's own words for a file that is not there are "out of
// memory".
func (s *sqlite) open() (*sql.DB, error) {
	if _, err := os.Stat(s.path); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(s.path)
	if err != nil {
		return nil, err
	}
	address := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{
		"mode": {"ro"}, "_pragma": {"query_only(1)", "busy_timeout(5000)"}}.Encode()}
	return sql.Open("sqlite", address.String())
}

func (s *sqlite) each(ctx context.Context, since time.Time, row func(prewarm.User) bool, refuse func(error)) error {
	db, err := s.open()
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // it was only read
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	rows, err := tx.QueryContext(ctx, s.query, since.UnixMilli())
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	if len(names) != 2 {
		return errColumns(names)
	}
	for n := 1; rows.Next(); n++ {
		var id, at any
		if err := rows.Scan(&id, &at); err != nil {
			return err
		}
		u, err := userSQLite(names, id, at)
		if err != nil {
			refuse(fmt.Errorf("row %d: %w", n, err))
			continue
		}
		if !row(u) {
			return nil
		}
	}
	return rows.Err()
}

func userSQLite(names []string, id, at any) (u prewarm.User, err error) {
	if id == nil || at == nil {
		return u, nullError(names[0], names[1], id == nil)
	}
	switch id := id.(type) {
	case string:
		u.ID = id
	case []byte:
		u.ID = string(id)
	case int64:
		u.ID = strconv.FormatInt(id, 10)
	default:
		return u, fmt.Errorf("%w: %s is %v; want a text or a whole number", prewarm.ErrMalformed, names[0], id)
	}
	switch at := at.(type) {
	case int64:
		u.LastActive = time.UnixMilli(at)
	case float64:
		u.LastActive = time.UnixMilli(int64(at))
	case time.Time:
		u.LastActive = at
	case string:
		u.LastActive, err = parseTime(at)
	default:
		err = fmt.Errorf("want a time, not %T", at)
	}
	if err != nil {
		return u, fmt.Errorf("%w: %s: %w", prewarm.ErrMalformed, names[1], err)
	}
	return u, nil
}

// parseTime reads the forms in which programs store times in SQLite; one without a zone is UTC.
func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05 -07:00", "2006-01-02 15:04:05Z07:00", time.DateTime, time.DateOnly} {
		// fractions of a second are taken without being in the layout
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%.40q is no time; want milliseconds since 1970 or a form such as 2006-01-02T15:04:05Z", text)
}
