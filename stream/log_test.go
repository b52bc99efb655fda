package stream

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"
)

// logbook is where a test's loggers write, for tests that read it and for the output of those that
// fail.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func testLogger(t testing.TB) *slog.Logger {
	logger, _ := testLogbook(t)
	return logger
}

func testLogbook(t testing.TB) (*slog.Logger, *logbook) {
	l := &logbook{}
	t.Cleanup(func() {
		if t.Failed() {
			text := l.String()
			t.Logf("log:\n%s", text[max(0, len(text)-4000):])
		}
	})
	return slog.New(slog.NewTextHandler(l, nil)), l
}
