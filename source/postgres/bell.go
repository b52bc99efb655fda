package postgres

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chatapp-ngomna/edgecache/internal/life"
)

const (
	// channelPG is the channel of the notifications. It has the database's scope; a notification
	// only makes relays look.
	channelPG = "edgecache_outbox"
	// ringEvery bounds the notifications of one process, so that many changes share one. They cost
	// a transaction each.
	ringEvery = 20 * time.Millisecond
	// ringTimeout bounds the sending of one.
	ringTimeout = 2 * time.Second
	// minListenPause and maxListenPause bound the pause before another try to listen.
	minListenPause = 20 * time.Millisecond
	maxListenPause = 5 * time.Second
)

// bell tells the relays of other processes about changes, and this process's relay about theirs. It
// only saves them the wait for their next poll: a notification that is lost loses no change.
//
// NOTIFY is not part of the transaction of a change, because PostgreSQL commits transactions with
// notifications one after another, each with its own sync of the log.
type bell struct {
	store  *Store
	name   string // tells notifications of this store from others'
	ringer chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newBell(s *Store) *bell {
	b := &bell{store: s, name: rand.Text(), ringer: make(chan struct{}, 1)}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b
}

func (b *bell) start() {
	b.wg.Go(b.listen)
	b.wg.Go(b.ring)
}

func (b *bell) stop() {
	b.cancel()
	b.wg.Wait()
}

// changed is called after a commit.
func (b *bell) changed() {
	b.store.wakeRelay()
	select {
	case b.ringer <- struct{}{}:
	default:
	}
}

// ring is the goroutine that notifies others.
func (b *bell) ring() {
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-b.ringer:
		}
		if err := b.notify(); err != nil && b.ctx.Err() == nil {
			b.store.cfg.Logger.Debug("source: PostgreSQL: notify", "error", err)
		}
		if !life.Wait(b.ctx, ringEvery) {
			return
		}
	}
}

// notify does not wait for its commit record to reach the disk.
func (b *bell) notify() error {
	ctx, cancel := context.WithTimeout(b.ctx, ringTimeout)
	defer cancel()
	_, err := b.store.pool.Exec(ctx, "BEGIN; SET LOCAL synchronous_commit TO off; NOTIFY "+channelPG+", '"+b.name+"'; COMMIT")
	return err
}

// listen is the goroutine that hears of others' changes, on a connection of its own.
func (b *bell) listen() {
	for failed := 1; ; failed++ {
		heard, err := b.hear()
		if b.ctx.Err() != nil {
			return
		}
		if heard {
			failed = 1
		}
		pause := life.Backoff(failed, minListenPause, maxListenPause)
		b.store.cfg.Logger.Warn("source: PostgreSQL: listen for changes", "attempt", failed, "error", err, "pause", pause)
		if !life.Wait(b.ctx, pause) {
			return
		}
	}
}

// hear listens until the connection breaks, and reports whether there was one.
func (b *bell) hear() (heard bool, err error) {
	conn, err := pgx.ConnectConfig(b.ctx, b.store.pooled.ConnConfig.Copy())
	if err != nil {
		return false, err
	}
	defer conn.Close(context.WithoutCancel(b.ctx))
	if _, err := conn.Exec(b.ctx, "LISTEN "+channelPG); err != nil {
		return false, err
	}
	b.store.wakeRelay() // for what was not heard until now
	for {
		n, err := conn.WaitForNotification(b.ctx)
		if err != nil {
			return true, err
		}
		if n.Payload != b.name {
			b.store.wakeRelay()
		}
	}
}
