package gossip

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestLinesOfMemberlistKeepTheirLevel(t *testing.T) {
	for line, want := range map[string]struct {
		level slog.Level
		text  string
	}{
		"[DEBUG] memberlist: Stream connection\n": {slog.LevelDebug, "gossip: Stream connection"},
		"[INFO] memberlist: Marking b as failed":  {slog.LevelInfo, "gossip: Marking b as failed"},
		"[WARN] memberlist: Refuting":             {slog.LevelWarn, "gossip: Refuting"},
		"[ERR] memberlist: Decrypt failed: [x] y": {slog.LevelWarn, "gossip: Decrypt failed: [x] y"},
		"Err: Could not set the deadline":         {slog.LevelWarn, "gossip: Err: Could not set the deadline"},
		"[ERR] " + strings.Repeat("x", 1000):      {slog.LevelWarn, "gossip: " + strings.Repeat("x", maxLine-len("[ERR] "))},
		"":                                        {slog.LevelWarn, "gossip: "},
	} {
		if level, text := parseLine(line); level != want.level || text != want.text {
			t.Errorf("%q became %v %q; want %v %q", line, level, text, want.level, want.text)
		}
	}
}

func TestFloodsOfLinesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, book := testLogbook(t)
		var dropped atomic.Int64
		j := &journal{to: logger, dropped: &dropped}
		log := j.logger()
		for i := range 1000 {
			log.Printf("[ERR] memberlist: packet %d", i)
			log.Printf("[DEBUG] memberlist: not even counted")
		}
		if n := book.count("packet"); n != linesPerSecond || dropped.Load() != 1000-linesPerSecond {
			t.Errorf("of 1000 lines %d came through and %d were counted as dropped; want %d and %d", n, dropped.Load(), linesPerSecond, 1000-linesPerSecond)
		}
		<-time.After(time.Second)
		log.Print("[ERR] memberlist: one more")
		if want := fmt.Sprintf("one more\" suppressed=%d", 1000-linesPerSecond); book.count(want) != 1 {
			t.Errorf("the log does not have %q:\n%s", want, book.String())
		}
		j.off.Store(true)
		log.Print("[ERR] memberlist: after the end")
		if book.count("after the end") != 0 {
			t.Error("a line came through after the end")
		}
	})
}
