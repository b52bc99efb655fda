package gossip

import (
	"os"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"time"
)

// memory watches what the process takes, at its peak.
type memory struct {
	before, most int64
	stop, done   chan struct{}
}

func watchMemory(t *testing.T) *memory {
	m := &memory{before: taken(t), stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(m.done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			m.most = max(m.most, taken(t))
			select {
			case <-tick.C:
			case <-m.stop:
				return
			}
		}
	}()
	return m
}

func (m *memory) grown() int64 {
	close(m.stop)
	<-m.done
	return m.most - m.before
}

// taken returns the resident set in bytes. Under the race detector, whose own memory is several
// times the program's, and where there is no /proc, it returns what Go's runtime holds.
func taken(t testing.TB) int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if raceDetector || err != nil {
		s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
		metrics.Read(s)
		return int64(s[0].Value.Uint64() - s[1].Value.Uint64())
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		t.Errorf("/proc/self/statm is %q", text)
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		t.Errorf("/proc/self/statm is %q", text)
	}
	return pages * int64(os.Getpagesize())
}
