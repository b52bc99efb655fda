package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
)

//go:embed migrations/*.sql
var sqliteMigrations embed.FS

// migrateSQLite runs the migrations that the database has not seen, each in a transaction that also
// counts it in user_version. The file at place n brings the database to version n+1. It returns the
// version that the database has then.
func migrateSQLite(ctx context.Context, conn *sql.Conn) (version int, err error) {
	files, err := fs.Glob(sqliteMigrations, "migrations/*.sql")
	if err != nil {
		return 0, err
	}
	var have int
	if err := conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		return 0, fmt.Errorf("read schema version: %w", err)
	}
	if have > len(files) {
		return 0, fmt.Errorf("the database has schema version %d, made by a newer edgecache; this one knows %d", have, len(files))
	}
	for n := have; n < len(files); n++ {
		if err := migrateStep(ctx, conn, files[n], n+1); err != nil {
			return 0, fmt.Errorf("migration %s: %w", files[n], err)
		}
	}
	return len(files), nil
}

func migrateStep(ctx context.Context, conn *sql.Conn, file string, version int) error {
	text, err := sqliteMigrations.ReadFile(file)
	if err != nil {
		return err
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, string(text)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", version)); err != nil {
		return err
	}
	return tx.Commit()
}
