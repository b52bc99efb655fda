//go:build unix && !solaris && !aix

package kv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lock keeps others from a folder. It is a file beside the store, so that the store can be checked,
// and thrown away, under it.
type lock struct{ file *os.File }

// lockDir takes the lock of a folder. Errors wrap ErrInUse.
func lockDir(dir string) (*lock, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("kv: lock the store: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return &lock{f}, nil
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrInUse
	}
	return nil, errors.Join(fmt.Errorf("%w: %s", err, dir), f.Close())
}

func (l *lock) release() error { return l.file.Close() }
