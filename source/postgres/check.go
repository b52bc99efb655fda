package postgres

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
)

// Check looks at a database as Start would, in a session that can write nothing, and reports
// everything that keeps Start from working at once. Errors are those of the configuration and of
// the way to the database.
func Check(ctx context.Context, cfg Config) (*Report, error) {
	s, err := New(cfg)
	if err != nil {
		return nil, err
	}
	session := s.pooled.ConnConfig.Copy()
	session.RuntimeParams["default_transaction_read_only"] = "on"
	conn, err := pgx.ConnectConfig(ctx, session)
	if err != nil {
		return nil, fmt.Errorf("source: reach PostgreSQL database %s: %w", s.where, err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rep, err := s.report(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("source: look at PostgreSQL database %s: %w", s.where, err)
	}
	return rep, nil
}

func (s *Store) report(ctx context.Context, conn *pgx.Conn) (*Report, error) {
	u, rep, err := s.cfg.Users.inspect(ctx, conn)
	if err != nil {
		return nil, err
	}
	if s.cfg.Users.own() && rep.missing {
		rep.Faults = nil
		rep.note("there is no table %s yet: the origin makes it", rep.Table)
	}
	if u != nil && u.slowOrder() {
		rep.note("lists of users sort the whole table; an index would help: CREATE INDEX ON %s (%s)", u.name, u.order)
	}
	if err := s.sayCaptured(ctx, conn, rep); err != nil {
		return nil, err
	}
	return rep, surroundings(ctx, conn, rep)
}

// sayCaptured notes whether changes of other programs are announced.
func (s *Store) sayCaptured(ctx context.Context, conn *pgx.Conn, rep *Report) error {
	on, err := captured(ctx, conn, rep.Table)
	switch {
	case err != nil:
		return err
	case on:
		rep.note("triggers announce what other programs write into it; to remove them: --capture off, or: %s", uncapture)
	default:
		rep.note("what other programs write into it is announced by nobody; --capture triggers has the database do so, " +
			"--sweep 1m looks for newer versions")
	}
	return nil
}

// surroundings looks at what Start needs beside the table.
func surroundings(ctx context.Context, conn *pgx.Conn, rep *Report) error {
	var level, schema string
	var replica, create, ours bool
	err := conn.QueryRow(ctx, `SELECT current_setting('synchronous_commit'), pg_is_in_recovery(), coalesce(current_schema(), ''),
		coalesce(has_schema_privilege(current_schema(), 'CREATE'), false), to_regclass('edgecache_schema') IS NOT NULL`).
		Scan(&level, &replica, &schema, &create, &ours)
	if err != nil {
		return err
	}
	switch {
	case replica:
		rep.fault("this server is a replica, and takes no changes; give the address of the primary")
	case schema == "":
		rep.fault("search_path names no schema that exists, so that there is no place for the origin's tables")
	case !ours && !create:
		rep.fault("this role may not make the origin's tables in the schema %s: GRANT CREATE ON SCHEMA %[1]s TO …, "+
			"or a schema of their own in the address: ?search_path=edgecache", quoteName(schema))
	case !ours:
		rep.note("the origin makes its tables edgecache_… in the schema %s", quoteName(schema))
	}
	if level == "off" {
		rep.fault("%s", commitsMayBeLost)
	}
	if !ours {
		return nil
	}
	return checkSchemaVersion(ctx, conn, rep)
}

// commitsMayBeLost says why a database with synchronous_commit off is refused.
const commitsMayBeLost = "synchronous_commit is off, so that a crash of the server could lose acknowledged changes; " +
	"ALTER ROLE … SET synchronous_commit = on"

func checkSchemaVersion(ctx context.Context, conn *pgx.Conn, rep *Report) error {
	files, err := fs.Glob(postgresMigrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	var have int
	if err := conn.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM edgecache_schema").Scan(&have); err != nil {
		return err
	}
	if have > len(files) {
		rep.fault("%v", newerSchema(have, len(files)))
	}
	return nil
}

func newerSchema(have, known int) error {
	return fmt.Errorf("the database has schema version %d, made by a newer edgecache; this one knows %d", have, known)
}
