package sqldb

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/chatapp-ngomna/edgecache/prewarm"
)

const (
	// dialTimeout bounds the making of a connection when the URL does not.
	dialTimeout = 5 * time.Second
	// closeTimeout bounds the farewell to the server.
	closeTimeout = 2 * time.Second
)

// queryPostgres reads the participants as they come from the index of updated_at, or from the
// table.
const queryPostgres = `SELECT p.user_id, c.updated_at
FROM conversations c JOIN conversation_participants p ON p.conversation_id = c.id
WHERE c.updated_at >= $1`

// postgres is a PostgreSQL server.
type postgres struct {
	server *pgx.ConnConfig
	query  string
	limit  time.Duration
}

func newPostgres(server *pgx.ConnConfig, conf Config) *postgres {
	server.ConnectTimeout = cmp.Or(server.ConnectTimeout, dialTimeout)
	if server.RuntimeParams["application_name"] == "" {
		server.RuntimeParams["application_name"] = "edgecache prewarm"
	}
	return &postgres{server: server, query: cmp.Or(conf.Query, queryPostgres), limit: conf.Timeout}
}

func (p *postgres) name() string { return "postgres" }

func (p *postgres) where() string {
	return fmt.Sprintf("%s:%d/%s", p.server.Host, p.server.Port, p.server.Database)
}

func (p *postgres) each(ctx context.Context, since time.Time, row func(prewarm.User) bool, refuse func(error)) error {
	conn, err := pgx.ConnectConfig(ctx, p.server.Copy())
	if err != nil {
		return err
	}
	defer hangUp(ctx, conn)
	ctx, interrupt := context.WithCancel(ctx)
	defer interrupt() // an open query whose rows are not all wanted
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	if err != nil {
		return err
	}
	// The server gives up by itself, should this process be gone or cut off.
	if _, err := tx.Exec(ctx, "SELECT set_config('statement_timeout', $1, true)", fmt.Sprintf("%dms", p.limit.Milliseconds())); err != nil {
		return err
	}
	statement, err := conn.Prepare(ctx, "active", p.query)
	if err != nil {
		return err
	}
	argument, err := parameter(conn.TypeMap(), statement, since)
	if err != nil {
		return err
	}
	// The id comes as text, so that numbers, texts and UUIDs are all taken as people write them.
	rows, err := tx.Query(ctx, "active", pgx.QueryResultFormats{pgx.TextFormatCode, pgx.BinaryFormatCode}, argument)
	if err != nil {
		return err
	}
	return stream(rows, statement.Fields, row, refuse)
}

// hangUp ends a connection, which ends its transaction: nothing was written.
func hangUp(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	_ = conn.Close(ctx)
	select {
	case <-conn.PgConn().CleanupDone(): // an interrupted query is cancelled at the server, too
	case <-ctx.Done():
	}
}

// parameter returns since as the statement wants it, or what is wrong with the statement.
func parameter(types *pgtype.Map, statement *pgconn.StatementDescription, since time.Time) (any, error) {
	if n := len(statement.ParamOIDs); n != 1 {
		return nil, fmt.Errorf("%w: the query has %d parameters; want one, $1, the time since when users count", prewarm.ErrConfig, n)
	}
	if len(statement.Fields) != 2 {
		var names []string
		for _, f := range statement.Fields {
			names = append(names, f.Name)
		}
		return nil, errColumns(names)
	}
	if _, ok := timeOf(statement.Fields[1].DataTypeOID); !ok {
		f := statement.Fields[1]
		return nil, fmt.Errorf("%w: the column %q, when a user was last active, is of type %s; want a timestamp or milliseconds since 1970",
			prewarm.ErrConfig, f.Name, typeName(types, f.DataTypeOID))
	}
	dated, ok := timeOf(statement.ParamOIDs[0])
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: the query's parameter $1 is of type %s; want a timestamp or milliseconds since 1970; a cast such as $1::bigint says which",
			prewarm.ErrConfig, typeName(types, statement.ParamOIDs[0]))
	case dated:
		return since.UTC(), nil
	}
	return since.UnixMilli(), nil
}

// timeOf reports whether a type is one of time, and whether it can hold a time at all.
func timeOf(oid uint32) (dated, ok bool) {
	switch oid {
	case pgtype.TimestamptzOID, pgtype.TimestampOID, pgtype.DateOID:
		return true, true
	case pgtype.Int8OID, pgtype.NumericOID, pgtype.Float8OID:
		return false, true
	}
	return false, false
}

func typeName(types *pgtype.Map, oid uint32) string {
	if t, ok := types.TypeForOID(oid); ok {
		return t.Name
	}
	return fmt.Sprintf("unknown to edgecache (%d)", oid)
}

// stream passes on rows as they arrive, until no more are wanted.
func stream(rows pgx.Rows, fields []pgconn.FieldDescription, row func(prewarm.User) bool, refuse func(error)) error {
	for n := 1; rows.Next(); n++ {
		u, err := scanPostgres(rows, fields)
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

func scanPostgres(rows pgx.Rows, fields []pgconn.FieldDescription) (prewarm.User, error) {
	raw := rows.RawValues()
	if raw[0] == nil || raw[1] == nil {
		return prewarm.User{}, nullError(fields[0].Name, fields[1].Name, raw[0] == nil)
	}
	u := prewarm.User{ID: string(raw[0])}
	var ms float64 // exact for milliseconds until the year 287,396
	dated, _ := timeOf(fields[1].DataTypeOID)
	into := any(&ms)
	if dated {
		into = &u.LastActive
	}
	// Not rows.Scan, which ends the stream when a value does not fit.
	err := rows.Conn().TypeMap().Scan(fields[1].DataTypeOID, pgx.BinaryFormatCode, raw[1], into)
	if !dated {
		u.LastActive = time.UnixMilli(int64(ms))
	}
	if err != nil {
		return prewarm.User{}, fmt.Errorf("%w: %s: %w", prewarm.ErrMalformed, fields[1].Name, err)
	}
	return u, nil
}

// nullError reports a row in which the user's id, or the time, is NULL.
func nullError(id, at string, isID bool) error {
	if isID {
		return fmt.Errorf("%w: %s is NULL", prewarm.ErrMalformed, id)
	}
	return fmt.Errorf("%w: %s is NULL", prewarm.ErrMalformed, at)
}
