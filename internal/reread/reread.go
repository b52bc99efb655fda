// Package reread keeps what files hold, and reads them again when they change: keys, certificates,
// passwords.
package reread

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Every is how often files are looked at, when somebody asks.
const Every = time.Second

// Value is what some files hold, parsed. Its methods may be called concurrently. It has no
// goroutine: who asks looks, at most once a second.
type Value[T any] struct {
	parse func() (T, error)
	files []string
	log   *slog.Logger

	current atomic.Pointer[T]
	began   time.Time
	next    atomic.Int64 // when to look again, since began

	mu     sync.Mutex
	seen   []os.FileInfo // guarded by mu: of the files that current was read from
	failed string        // guarded by mu: the last failure that was logged
}

// New reads the files with parse. When they change later and parse fails, what was read last holds
// on, and the failure is logged once; log may be nil.
func New[T any](log *slog.Logger, parse func() (T, error), files ...string) (*Value[T], error) {
	log = cmp.Or(log, slog.New(slog.DiscardHandler))
	v := &Value[T]{parse: parse, files: files, log: log, began: time.Now()}
	seen, err := v.stat()
	if err != nil {
		return nil, err
	}
	got, err := parse()
	if err != nil {
		return nil, err
	}
	v.seen = seen
	v.current.Store(&got)
	v.next.Store(int64(Every))
	return v, nil
}

// Get returns what the files hold. The pointer is another one after a change, and what it points to
// is shared.
func (v *Value[T]) Get() *T {
	if now := int64(time.Since(v.began)); now >= v.next.Load() && v.mu.TryLock() {
		v.look()
		v.next.Store(now + int64(Every))
		v.mu.Unlock()
	}
	return v.current.Load()
}

func (v *Value[T]) look() {
	seen, err := v.stat()
	if err == nil && same(v.seen, seen) {
		return
	}
	if err == nil {
		var got T
		if got, err = v.parse(); err == nil {
			v.current.Store(&got)
			v.seen, v.failed = seen, ""
			v.log.Info("read again", "files", v.files)
			return
		}
	}
	if text := err.Error(); text != v.failed {
		v.failed = text
		v.log.Error("a changed file cannot be used; what it held before holds on", "files", v.files, "error", text)
	}
}

func (v *Value[T]) stat() ([]os.FileInfo, error) {
	var all []os.FileInfo
	for _, file := range v.files {
		info, err := os.Stat(file)
		if err != nil {
			return nil, err
		}
		all = append(all, info)
	}
	return all, nil
}

func same(a, b []os.FileInfo) bool {
	for i := range a {
		if !os.SameFile(a[i], b[i]) || a[i].Size() != b[i].Size() || !a[i].ModTime().Equal(b[i].ModTime()) {
			return false
		}
	}
	return true
}

// File returns the contents of a file of at most limit bytes.
func File(name string, limit int) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(text) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return text, err
}

// maxSecret is the largest file with a secret, in bytes.
const maxSecret = 64 << 10

// Secret returns the secret in a file, without the line break at its end.
func Secret(name string) (string, error) {
	text, err := File(name, maxSecret)
	if err != nil {
		return "", err
	}
	text = bytes.TrimRight(text, "\r\n")
	if len(text) == 0 {
		return "", fmt.Errorf("%s is empty; want a secret", name)
	}
	return string(text), nil
}
