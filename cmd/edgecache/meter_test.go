package main

import (
	"strings"
	"testing"
	"time"
)

func TestMeter(t *testing.T) {
	var out buffer
	m := newMeter(&out)
	m.terminal = true
	m.show(0.5, "50 users")
	if got := out.String(); !strings.Contains(got, "\r[###############...............]  50 %  50 users") {
		t.Errorf("drew %q", got)
	}
	m.clear()
	m.clear()
	if got := out.String(); strings.Count(got, "\r\x1b[K") != 1 {
		t.Errorf("took away %q", got)
	}
	var lines buffer
	m = newMeter(&lines)
	m.show(-1, "1 user")
	if lines.String() != "" {
		t.Errorf("a line at once: %q", lines.String())
	}
	m.last = time.Now().Add(-meterEvery)
	m.show(-1, "2 users")
	if got := lines.String(); got != "2 users\n" {
		t.Errorf("said %q", got)
	}
}
