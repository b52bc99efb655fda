package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/tier"
)

// busy is the rate of changes at which a store's cost is measured.
const busy = 1000

// costs measures processor time under changes, and hits.
func costs(ctx context.Context, p params, b *strings.Builder) error {
	fmt.Fprintf(b, "## Cost\n\n| | without | with a store |\n|---|---|---|\n")
	var cpu [2]float64
	var hits [2]time.Duration
	for i, name := range []string{"", "cost"} {
		var err error
		if cpu[i], hits[i], err = oneCost(ctx, p, name); err != nil {
			return err
		}
	}
	fmt.Fprintf(b, "| processor of the node, the writer and the client of Redis at %d changes/s of all users | %.1f %% of a core | %.1f %% |\n"+
		"| a hit of L1 | %v | %v |\n", busy, cpu[0], cpu[1], hits[0], hits[1])
	bare, stored, err := storeHit(ctx, p)
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "\nA lookup that the store answers, its way into L1 included: %v; a read of bbolt alone of the same file: %v.\n", stored, bare)
	return nil
}

// oneCost has a node that holds all users hear of changes.
func oneCost(ctx context.Context, p params, name string) (cpu float64, hit time.Duration, err error) {
	w, err := newWorld(ctx, p)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	n, err := w.start(ctx, name)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := w.holdAll(ctx, n); err != nil {
		return 0, 0, err
	}
	before := processor()
	writing, stop := context.WithTimeout(ctx, p.lasts)
	defer stop()
	if err := w.change(writing, busy); err != nil {
		return 0, 0, err
	}
	cpu = 100 * (processor() - before).Seconds() / p.lasts.Seconds()
	if _, err := n.Get(ctx, "1"); err != nil {
		return 0, 0, err
	}
	r := testing.Benchmark(func(b *testing.B) {
		for range b.N {
			_, _ = n.Get(ctx, "1")
		}
	})
	return cpu, time.Duration(r.NsPerOp()), nil
}

// holdAll has a node load all users.
func (w *world) holdAll(ctx context.Context, n *node.Node) error {
	for from := 1; from <= w.users; from += 500 {
		ids := make([]string, 0, 500)
		for id := from; id < from+500 && id <= w.users; id++ {
			ids = append(ids, strconv.Itoa(id))
		}
		if _, err := n.BatchGet(ctx, ids, tier.Want{}); err != nil {
			return err
		}
	}
	return nil
}

func processor() time.Duration {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		return 0
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// storeHit measures lookups that L1 has not and the store has, and bbolt's own read of the same
// users.
func storeHit(ctx context.Context, p params) (bare, stored time.Duration, err error) {
	w, err := newWorld(ctx, p)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	n, err := w.start(ctx, alone)
	if err != nil {
		return 0, 0, err
	}
	if err := errors.Join(w.holdAll(ctx, n), n.Close()); err != nil {
		return 0, 0, err
	}
	if bare, err = bareRead(filepath.Join(w.dir, alone, "profiles.bbolt"), p.users); err != nil {
		return 0, 0, err
	}
	if n, err = w.start(ctx, alone); err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	for n.Stats().Cache.Fenced {
		time.Sleep(time.Millisecond)
	}
	before, began := n.Stats().Cache.StoreHits, time.Now()
	for id := range p.users { // each once, so that L1 has none
		if _, err := n.Get(ctx, strconv.Itoa(1+id*7919%p.users)); err != nil {
			return 0, 0, err
		}
	}
	took, hits := time.Since(began), n.Stats().Cache.StoreHits-before
	if hits < uint64(p.users)/2 {
		return 0, 0, fmt.Errorf("the store has answered %d of %d lookups", hits, p.users)
	}
	return bare, took / time.Duration(p.users), nil
}

// bareRead measures a read of bbolt in a copy of the file.
func bareRead(path string, users int) (time.Duration, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	if err := os.WriteFile(path+".bare", text, 0o600); err != nil {
		return 0, err
	}
	db, err := bbolt.Open(path+".bare", 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return 0, err
	}
	began := time.Now()
	for id := range users {
		err := db.View(func(tx *bbolt.Tx) error {
			if tx.Bucket([]byte("users")).Get([]byte(strconv.Itoa(1+id*7919%users))) == nil {
				return errors.New("nothing there")
			}
			return nil
		})
		if err != nil {
			return 0, errors.Join(err, db.Close())
		}
	}
	return time.Since(began) / time.Duration(users), db.Close()
}
