package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/chatapp-ngomna/edgecache/origin"
)

const (
	// meterWidth is the number of cells of the bar.
	meterWidth = 30
	// meterEvery is the pause between two lines when there is no terminal to draw on.
	meterEvery = 5 * time.Second
)

// meter shows how far an import is: a bar that is drawn over itself on a terminal, else a line now and then.
type meter struct {
	out      io.Writer
	size     int64 // of the whole, in bytes; 0: unknown
	terminal bool
	drawn    bool
	began    time.Time
	last     time.Time
}

func newMeter(out io.Writer, size int64) *meter {
	return &meter{out: out, size: size, terminal: terminal(out), began: time.Now(), last: time.Now()}
}

// show tells what was done so far.
func (m *meter) show(s origin.ImportStats) {
	switch {
	case m.terminal:
		fmt.Fprintf(m.out, "\r%s\x1b[K", m.line(s))
		m.drawn = true
	case time.Since(m.last) >= meterEvery:
		m.last = time.Now()
		fmt.Fprintln(m.out, m.line(s))
	}
}

// clear takes the bar away, for what is printed next.
func (m *meter) clear() {
	if m.drawn {
		fmt.Fprint(m.out, "\r\x1b[K")
		m.drawn = false
	}
}

func (m *meter) line(s origin.ImportStats) string {
	rate := float64(s.Users) / max(time.Since(m.began).Seconds(), 1e-3)
	text := fmt.Sprintf("%d users, %d left out, %.0f/s", s.Users, s.Failed, rate)
	if m.size <= 0 {
		return text
	}
	share := min(float64(s.Bytes)/float64(m.size), 1)
	full := int(share * meterWidth)
	return fmt.Sprintf("[%s%s] %3.0f %%  %s", strings.Repeat("#", full), strings.Repeat(".", meterWidth-full), 100*share, text)
}
