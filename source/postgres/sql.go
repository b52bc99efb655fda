package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"
)

//go:embed migrations/*.sql personnel.sql
var postgresMigrations embed.FS

// beginPG begins a transaction in which each statement sees what was committed before it: changes
// take a user's lock in one statement and read in the next. Whether it may write is the database's
// to say: operators, and services that run databases for others, make one read-only before its disk
// is full.
const beginPG = "BEGIN ISOLATION LEVEL READ COMMITTED"

// migratePostgres runs the migrations that the database has not seen, all in one transaction.
// Processes that start together do it one after another. The file at place n brings the database to
// version n+1.
func migratePostgres(ctx context.Context, conn *pgx.Conn, users Table) error {
	files, err := fs.Glob(postgresMigrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite})
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('edgecache migrations', 0))"); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "CREATE TABLE IF NOT EXISTS edgecache_schema (version integer NOT NULL)"); err != nil {
		return err
	}
	var have int
	if err := tx.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM edgecache_schema").Scan(&have); err != nil {
		return err
	}
	if have > len(files) {
		return newerSchema(have, len(files))
	}
	steps := files[have:]
	if users.own() {
		steps = append(steps, "personnel.sql")
	}
	for _, file := range steps {
		if err := migrateStepPG(ctx, tx, file); err != nil {
			return fmt.Errorf("migration %s: %w", file, err)
		}
	}
	if have < len(files) {
		if _, err := tx.Exec(ctx, fmt.Sprintf("INSERT INTO edgecache_schema VALUES (%d)", len(files))); err != nil {
			return err
		}
	}
	return tx.Commit(ctx)
}

func migrateStepPG(ctx context.Context, tx pgx.Tx, file string) error {
	text, err := postgresMigrations.ReadFile(file)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, string(text))
	return err
}

// postgresSQL are the statements for one table of users.
type postgresSQL struct {
	users *usersTable

	one, batch, page, count     string
	lock, clock                 string
	current, tombstone, bury    string
	queue, undone, mark         string
	heads, headsOf, headsNewest string
	backlog, prune, waits       string
	stage, load, sweep          string
}

// statements writes the texts. Parameters have their types spelled out, since the columns' may be
// others.
func (u *usersTable) statements() *postgresSQL {
	selectFrom := "SELECT " + strings.Join(u.reads(), ", ") + " FROM " + u.name
	names, staged := u.staged()
	id := u.columns[atID].source
	idType := "text"
	if !u.idIsText() {
		idType = u.columns[atID].typ
	}
	if idType == "character" {
		idType = "bpchar"
	}
	return &postgresSQL{users: u,
		one:   selectFrom + u.isID("$1::text"),
		batch: selectFrom + " WHERE " + id + " = ANY($1::text[]::" + idType + "[])",
		page:  selectFrom + " WHERE " + u.order + " > $1::text ORDER BY " + u.order + " LIMIT $2",
		count: "SELECT count(*) FROM " + u.name,

		lock:      "SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0)), " + ownSetting,
		clock:     "SELECT " + nowMS,
		current:   selectFrom + u.isID("$1::text") + " FOR UPDATE",
		tombstone: "SELECT version FROM edgecache_deleted WHERE id = $1",
		bury: `INSERT INTO edgecache_deleted (id, version) VALUES ($1, $2)
			ON CONFLICT (id) DO UPDATE SET version = excluded.version`,
		queue: `INSERT INTO edgecache_outbox (kind, user_id, version, profile, committed_at)
			VALUES ($1, $2, $3, $4, $5) RETURNING seq`,

		heads:       headsPG("ASC"),
		headsNewest: headsPG("DESC"),
		headsOf: `SELECT o.user_id FROM unnest($1::text[]) AS u (id)
			CROSS JOIN LATERAL (` + oldestPG("u.id") + `) AS h
			JOIN edgecache_outbox o ON o.seq = h.seq
			WHERE o.done_at IS NULL ORDER BY o.seq LIMIT $2 FOR UPDATE OF o SKIP LOCKED`,
		undone: `SELECT o.seq, o.kind, o.user_id, o.version, o.profile FROM unnest($1::text[]) AS u (id)
			CROSS JOIN LATERAL (SELECT * FROM edgecache_outbox e
				WHERE e.user_id = u.id AND e.done_at IS NULL ORDER BY e.seq LIMIT $2) AS o
			ORDER BY o.seq LIMIT $2`,
		mark:    "UPDATE edgecache_outbox SET done_at = $1 WHERE seq = ANY($2::bigint[])",
		backlog: "SELECT count(*), coalesce(min(committed_at), 0) FROM edgecache_outbox WHERE done_at IS NULL",
		waits:   "SELECT seq FROM edgecache_outbox WHERE seq = ANY($1::bigint[]) AND done_at IS NULL",
		prune: `DELETE FROM edgecache_outbox WHERE seq IN (SELECT seq FROM edgecache_outbox
			WHERE done_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)`,

		sweep: u.sweeping(),
		stage: `DROP TABLE IF EXISTS pg_temp.edgecache_load; CREATE TEMPORARY TABLE edgecache_load (id text, nom text, prenom text, full_name text, avatar text,
			matricule text, ministere text, sexe text, attrs text, updated_at bigint) ON COMMIT DROP`,
		load: "INSERT INTO " + u.name + " (" + strings.Join(names, ", ") + ") SELECT " + strings.Join(staged, ", ") +
			" FROM edgecache_load l ON CONFLICT (" + id + ") DO NOTHING RETURNING " + id + "::text",
	}
}

// isID is the condition that the row is the user's.
func (u *usersTable) isID(value string) string {
	return " WHERE " + u.columns[atID].source + " = " + u.write(&u.columns[atID], value)
}

// headsPG locks the oldest undone row of users who are not on a list, in an order of these rows.
// The list is hashed: a comparison with each of a thousand users for each of their rows would take
// longer than an announcement may.
func headsPG(order string) string {
	return `SELECT o.user_id FROM edgecache_outbox o
		WHERE o.done_at IS NULL AND o.user_id NOT IN (SELECT unnest($1::text[]))
			AND o.seq = (` + oldestPG("o.user_id") + `)
		ORDER BY o.seq ` + order + ` LIMIT $2 FOR UPDATE OF o SKIP LOCKED`
}

// oldestPG finds the oldest undone row of a user.
func oldestPG(user string) string {
	return "SELECT e.seq FROM edgecache_outbox e WHERE e.user_id = " + user + " AND e.done_at IS NULL ORDER BY e.seq LIMIT 1"
}
