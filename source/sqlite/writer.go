package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/source/internal/record"
)

const (
	// maxGroup bounds the changes that share one commit.
	maxGroup = 256
	// markDelay is how long a note that a row was announced may wait for a change to share its
	// commit with.
	markDelay = 20 * time.Millisecond
)

// sqliteWriter owns the writing connection. One goroutine executes all writes: it takes those that
// wait, up to maxGroup, into one transaction, so that callers who write together pay for one sync
// together.
type sqliteWriter struct {
	store *Store
	db    *sql.DB
	conn  *sql.Conn
	sync  string // the connection's level of PRAGMA synchronous, "" before the first commit
	stmts writeStatements

	writes  chan *write
	alone   chan *write // those that share no transaction
	closing chan struct{}
	ended   chan struct{}
}

// write is one change that waits for the writer.
type write struct {
	// run executes the statements. An error that wraps ErrInternal undoes the transaction; after
	// any other error the change has executed none that alters anything, so the rest of the group
	// goes on. It may be run again after an undo.
	run func() error
	// done gets the outcome after the commit.
	done chan error
}

// safely is run, with a panic (of the iterator of a bulk load) as an error.
func (op *write) safely() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = broken("write", fmt.Errorf("panic: %v", r))
		}
	}()
	return op.run()
}

type writeStatements struct {
	begin, commit, rollback                        *sql.Stmt
	one, versions                                  *sql.Stmt
	insert, update, remove, tombstone, bulk, queue *sql.Stmt
	mark, prune, probe                             *sql.Stmt
}

func openSQLiteWriter(ctx context.Context, dsn string, s *Store) (*sqliteWriter, error) {
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	w := &sqliteWriter{store: s, db: db, conn: conn,
		writes: make(chan *write), alone: make(chan *write), closing: make(chan struct{}), ended: make(chan struct{})}
	if err := w.prepare(ctx); err != nil {
		return nil, errors.Join(err, conn.Close(), db.Close())
	}
	go w.loop()
	return w, nil
}

func (w *sqliteWriter) prepare(ctx context.Context) error {
	have, err := migrateSQLite(ctx, w.conn)
	if err != nil {
		return err
	}
	for _, q := range []struct {
		to   **sql.Stmt
		text string
	}{
		{&w.stmts.begin, "BEGIN IMMEDIATE"}, {&w.stmts.commit, "COMMIT"}, {&w.stmts.rollback, "ROLLBACK"},
		{&w.stmts.one, "SELECT " + record.Columns + " FROM personnel WHERE id = ?"},
		{&w.stmts.versions, `SELECT (SELECT updated_at FROM personnel WHERE id = ?1),
			(SELECT version FROM personnel_deleted WHERE id = ?1)`},
		{&w.stmts.insert, "INSERT INTO personnel (" + record.Columns + ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"},
		{&w.stmts.update, `UPDATE personnel SET nom = ?2, prenom = ?3, full_name = ?4, avatar = ?5, matricule = ?6,
			ministere = ?7, sexe = ?8, attrs = ?9, updated_at = ?10 WHERE id = ?1`},
		{&w.stmts.remove, "DELETE FROM personnel WHERE id = ?"},
		{&w.stmts.tombstone, `INSERT INTO personnel_deleted (id, version) VALUES (?, ?)
			ON CONFLICT (id) DO UPDATE SET version = excluded.version`},
		{&w.stmts.bulk, "INSERT INTO personnel (" + record.Columns + `) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,
			max(?10, coalesce((SELECT version + 1 FROM personnel_deleted WHERE id = ?1), 0))) ON CONFLICT (id) DO NOTHING`},
		{&w.stmts.queue, "INSERT INTO outbox (kind, user_id, version, profile, committed_at) VALUES (?, ?, ?, ?, ?)"},
		{&w.stmts.mark, "UPDATE outbox SET done_at = ? WHERE seq IN (SELECT value FROM json_each(?))"},
		{&w.stmts.probe, fmt.Sprintf("PRAGMA user_version = %d", have)},
		{&w.stmts.prune, "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox WHERE done_at < ? LIMIT ?)"},
	} {
		stmt, err := w.conn.PrepareContext(ctx, q.text)
		if err != nil {
			return fmt.Errorf("prepare %q: %w", q.text, err)
		}
		*q.to = stmt
	}
	return nil
}

// do has the writer execute run and returns its error once the outcome is committed. Until the
// writer takes it from queue (writes or alone), ctx and Close can end the wait; afterwards the
// outcome is always known.
func (w *sqliteWriter) do(ctx context.Context, queue chan<- *write, run func() error) error {
	op := &write{run: run, done: make(chan error, 1)}
	select {
	case queue <- op:
		return <-op.done
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-w.closing:
		return origin.ErrClosed
	}
}

// loop is the writer's goroutine.
func (w *sqliteWriter) loop() {
	defer close(w.ended)
	flush := time.NewTimer(markDelay)
	defer flush.Stop()
	for {
		select {
		case op := <-w.writes:
			w.commitGroup(w.group(op))
		case op := <-w.alone:
			w.commitGroup([]*write{op})
		case <-w.store.marks.added:
			flush.Reset(markDelay)
		case <-flush.C:
			w.commitMarks()
		case <-w.closing:
			w.commitMarks()
			return
		}
	}
}

// group returns op and what waits behind it. It does not wait for more: under load the previous
// commit was wait enough.
func (w *sqliteWriter) group(op *write) []*write {
	group := []*write{op}
	for len(group) < maxGroup {
		select {
		case op := <-w.writes:
			group = append(group, op)
		default:
			return group
		}
	}
	return group
}

// commitGroup commits the group in one transaction, or, when the database refused any of it, each
// change in one of its own, so that a broken one fails alone.
func (w *sqliteWriter) commitGroup(group []*write) {
	outcomes, err := w.transaction(group, w.store.marks.take())
	if err != nil && len(group) > 1 {
		for _, op := range group {
			w.commitGroup([]*write{op})
		}
		return
	}
	for i, op := range group {
		if err != nil {
			op.done <- err
			continue
		}
		op.done <- outcomes[i]
	}
	w.store.wakeRelay()
}

// transaction runs the group and the marks. Its error means that nothing was committed.
func (w *sqliteWriter) transaction(group []*write, marked []int64) (outcomes []error, err error) {
	defer func() {
		if err != nil {
			w.store.marks.putBack(marked)
		} else {
			w.store.marks.committed(marked)
		}
	}()
	if err := w.setSync(len(group)); err != nil {
		return nil, err
	}
	if err := w.exec(w.stmts.begin); err != nil {
		return nil, broken("begin", err)
	}
	outcomes = make([]error, len(group))
	for i, op := range group {
		if outcomes[i] = op.safely(); errors.Is(outcomes[i], origin.ErrInternal) {
			return nil, errors.Join(outcomes[i], w.undo())
		}
	}
	if err := w.mark(marked); err != nil {
		return nil, errors.Join(err, w.undo())
	}
	if err := w.exec(w.stmts.commit); err != nil {
		return nil, errors.Join(broken("commit", err), w.undo())
	}
	return outcomes, nil
}

// undo rolls back. After some errors (a full disk) SQLite has done so itself and says that there is
// no transaction.
func (w *sqliteWriter) undo() error {
	_ = w.exec(w.stmts.rollback)
	return nil
}

func (w *sqliteWriter) mark(seqs []int64) error {
	if len(seqs) == 0 {
		return nil
	}
	list, err := json.Marshal(seqs)
	if err != nil {
		return err
	}
	return broken("mark outbox rows", w.exec(w.stmts.mark, w.now(), string(list)))
}

// commitMarks commits the marks alone. When that does not work they wait for the next change or
// mark; until then they are known in memory, so that this process does not announce their rows
// again.
func (w *sqliteWriter) commitMarks() {
	marked := w.store.marks.take()
	if len(marked) == 0 {
		return
	}
	if _, err := w.transaction(nil, marked); err != nil {
		w.store.cfg.Logger.Warn("source: SQLite: mark outbox rows done", "rows", len(marked), "error", err)
	}
}

// setSync sets how the next commit reaches the disk. Marks alone are not worth a sync: one that a
// power cut undoes costs an announcement, no change.
func (w *sqliteWriter) setSync(changes int) error {
	level := "NORMAL" // in WAL mode: synced at checkpoints only
	if changes > 0 && !w.store.cfg.NoSync {
		level = "FULL"
	}
	if level == w.sync {
		return nil
	}
	if _, err := w.conn.ExecContext(context.Background(), "PRAGMA synchronous = "+level); err != nil {
		return broken("set synchronous", err)
	}
	w.sync = level
	return nil
}

// exec runs a statement to its end: nothing but the database can stop a write once it has begun.
func (w *sqliteWriter) exec(stmt *sql.Stmt, args ...any) error {
	_, err := stmt.ExecContext(context.Background(), args...)
	return err
}

func (w *sqliteWriter) now() int64 { return w.store.cfg.Now().UnixMilli() }

// close ends the loop, which commits the last marks, and the connection.
func (w *sqliteWriter) close() error {
	close(w.closing)
	<-w.ended
	return errors.Join(w.conn.Close(), w.db.Close())
}
