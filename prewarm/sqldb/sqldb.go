// Package sqldb reads who is active from the conversations of a PostgreSQL or SQLite database:
// every participant of a conversation was last active when it was last updated.
//
// It reads the tables conversations(id, updated_at) and conversation_participants(conversation_id,
// user_id), or what a query of the operator's says. It changes nothing: its transaction is
// read-only.
package sqldb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/prewarm/internal/refused"
)

// Config configures a Source. URL is required.
type Config struct {
	// URL is the database: postgres://USER:PASSWORD@HOST:PORT/NAME?sslmode=… or sqlite:PATH. What
	// the URL of PostgreSQL leaves out comes from the PG… environment variables.
	URL string
	// Query returns two columns, the id of a user and when the user was last active, for one
	// parameter: the time since when that counts. The parameter is $1 in PostgreSQL, and gets a
	// timestamp or milliseconds since 1970 as its type there demands; in SQLite it is ? and gets
	// milliseconds since 1970. The second column is a timestamp (one without a time zone is UTC),
	// or milliseconds since 1970. The same user may be in several rows, in any order. Default: the
	// tables of the package comment.
	Query string
	// Timeout bounds the whole query, to its last row. Default 5 min.
	Timeout time.Duration
}

func (c Config) withDefaults() Config {
	c.Timeout = cmp.Or(c.Timeout, 5*time.Minute)
	return c
}

func (c Config) validate() error {
	switch {
	case !IsURL(c.URL):
		return fmt.Errorf("%w: sqldb: Config.URL is no address of a database; want postgres://USER:PASSWORD@HOST:PORT/NAME or sqlite:PATH",
			prewarm.ErrConfig)
	case c.Timeout < time.Millisecond:
		return fmt.Errorf("%w: sqldb: Config.Timeout is %v; want at least 1ms", prewarm.ErrConfig, c.Timeout)
	}
	return nil
}

// IsURL reports whether a text is meant as an address of PostgreSQL or SQLite.
func IsURL(text string) bool {
	for _, scheme := range []string{"postgres://", "postgresql://", sqliteScheme} {
		if strings.HasPrefix(text, scheme) {
			return true
		}
	}
	return false
}

// database runs the query on one kind of database.
type database interface {
	// name tells the database from others, for Name.
	name() string
	// where tells which database it is, for errors. It has no password.
	where() string
	// each calls row for each row until it returns false. A row that is no user is given to refuse.
	each(ctx context.Context, since time.Time, row func(prewarm.User) bool, refuse func(error)) error
}

// Source reads active users from a database. It connects for each reading and keeps nothing open in
// between.
type Source struct {
	conf    Config
	db      database
	refused refused.List
}

var _ prewarm.Source = (*Source)(nil)

// New checks conf. Nothing is opened yet.
//
// Errors wrap prewarm.ErrConfig and show no password.
func New(conf Config) (*Source, error) {
	conf = conf.withDefaults()
	if err := conf.validate(); err != nil {
		return nil, err
	}
	s := &Source{conf: conf}
	if path, ok := strings.CutPrefix(conf.URL, sqliteScheme); ok {
		lite, err := newSQLite(path, conf.Query)
		s.db = lite
		return s, err
	}
	server, err := pgx.ParseConfig(conf.URL)
	if err != nil { // its text may show a part of the password
		return nil, fmt.Errorf("%w: sqldb: Config.URL cannot be parsed; want postgres://USER:PASSWORD@HOST:PORT/NAME", prewarm.ErrConfig)
	}
	s.db = newPostgres(server, conf)
	return s, nil
}

// FromURL is New for an address and a query; an empty query means the default.
func FromURL(address, query string) (*Source, error) { return New(Config{URL: address, Query: query}) }

// Name returns "postgres" or "sqlite".
func (s *Source) Name() string { return s.db.name() }

// Skipped returns how many rows the last reading has passed over because they had no user or no
// time, and the first ten reasons.
func (s *Source) Skipped() (int64, []error) { return s.refused.Report() }

// Active implements prewarm.Source. Errors are the database's, which name the table or column, with
// the database.
func (s *Source) Active(ctx context.Context, since time.Time) iter.Seq2[prewarm.User, error] {
	return func(yield func(prewarm.User, error) bool) {
		s.refused.Reset()
		late := fmt.Errorf("not done within %v", s.conf.Timeout)
		ctx, cancel := context.WithTimeoutCause(ctx, s.conf.Timeout, late)
		defer cancel()
		err := s.db.each(ctx, since, func(u prewarm.User) bool { return yield(u, nil) }, func(why error) { s.refused.Add(why) })
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			err = errors.Join(context.Cause(ctx), err)
		}
		yield(prewarm.User{}, fmt.Errorf("sqldb: read active users of %s: %w", s.db.where(), err))
	}
}

// errColumns reports a query that does not return what it should.
func errColumns(names []string) error {
	return fmt.Errorf("%w: the query returns %d columns, %q; want two, the user's id and when the user was last active",
		prewarm.ErrConfig, len(names), names)
}
