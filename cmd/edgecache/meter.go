package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	// meterWidth is the number of cells of the bar.
	meterWidth = 30
	// meterEvery is the pause between two lines when there is no terminal to draw on.
	meterEvery = 5 * time.Second
)

// meter shows how far something is: a bar that is drawn over itself on a terminal, else a line now
// and then.
type meter struct {
	out      io.Writer
	terminal bool
	drawn    bool
	last     time.Time
}

func newMeter(out io.Writer) *meter {
	return &meter{out: out, terminal: terminal(out), last: time.Now()}
}

// show tells how much is done, 0 to 1 and below 0 when nobody knows, and what there is to say.
func (m *meter) show(share float64, text string) {
	text = printable(text)
	if share >= 0 {
		full := int(min(share, 1) * meterWidth)
		text = fmt.Sprintf("[%s%s] %3.0f %%  %s", strings.Repeat("#", full), strings.Repeat(".", meterWidth-full), 100*min(share, 1), text)
	}
	switch {
	case m.terminal:
		fmt.Fprintf(m.out, "\r%s\x1b[K", text)
		m.drawn = true
	case time.Since(m.last) >= meterEvery:
		m.last = time.Now()
		fmt.Fprintln(m.out, text)
	}
}

// clear takes the bar away, for what is printed next.
func (m *meter) clear() {
	if m.drawn {
		fmt.Fprint(m.out, "\r\x1b[K")
		m.drawn = false
	}
}
