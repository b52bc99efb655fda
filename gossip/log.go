package gossip

import (
	"context"
	"log"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// linesPerSecond is how many lines of memberlist's are passed on. A host that can send a packet to
// the port causes a line.
const linesPerSecond = 10

// maxLine is how many bytes of a line are passed on. Some quote what a stranger sent.
const maxLine = 300

// journal passes what memberlist writes on to slog. Its errors become warnings, because they are
// about single packets.
type journal struct {
	to      *slog.Logger
	off     atomic.Bool // memberlist's goroutines may still write after its Shutdown
	dropped *atomic.Int64

	mu     sync.Mutex
	second time.Time
	lines  int
	untold int // silent lines since the last that was passed on
}

func (j *journal) logger() *log.Logger { return log.New(j, "", 0) }

// Write takes one line such as "[WARN] memberlist: …".
func (j *journal) Write(line []byte) (int, error) {
	level, text := parseLine(string(line))
	if j.off.Load() || !j.to.Enabled(context.Background(), level) {
		return len(line), nil
	}
	if level == slog.LevelDebug {
		j.to.Debug(text)
	} else if untold, ok := j.admit(time.Now()); ok && untold > 0 {
		j.to.Log(context.Background(), level, text, "suppressed", untold)
	} else if ok {
		j.to.Log(context.Background(), level, text)
	}
	return len(line), nil
}

func (j *journal) admit(now time.Time) (untold int, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if now.Sub(j.second) >= time.Second {
		j.second, j.lines = now, 0
	}
	if j.lines++; j.lines > linesPerSecond {
		j.untold++
		j.dropped.Add(1)
		return 0, false
	}
	untold, j.untold = j.untold, 0
	return untold, true
}

func parseLine(line string) (slog.Level, string) {
	level := slog.LevelWarn
	line = strings.TrimSpace(line)
	line = strings.ToValidUTF8(line[:min(len(line), maxLine)], "")
	if name, rest, ok := strings.Cut(line, "] "); ok && strings.HasPrefix(name, "[") {
		line = rest
		switch name {
		case "[DEBUG":
			level = slog.LevelDebug
		case "[INFO":
			level = slog.LevelInfo
		}
	}
	return level, "gossip: " + strings.TrimPrefix(line, "memberlist: ")
}
