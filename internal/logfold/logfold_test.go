package logfold

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// plain returns a logger over h into b, without times.
func plain(b *bytes.Buffer) Handler {
	return New(slog.NewTextHandler(b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func TestRepeatsAreFolded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		h := plain(&b)
		log := slog.New(h)
		for n := range 18 {
			log.With("part", "x").Warn("it failed", "attempt", n, "link", "tail")
		}
		log.Warn("it failed", "link", "worker")
		log.Error("it failed", "link", "tail")
		for range 3 {
			log.Info("as ever")
		}
		time.Sleep(window + time.Second)
		log.Warn("it failed", "attempt", 19, "link", "tail") // in the next window
		time.Sleep(3 * window)
		log.Warn("it failed", "attempt", 20, "link", "tail") // as if for the first time
		h.Close()
		want := []string{
			`level=WARN msg="it failed" part=x attempt=0 link=tail`, `level=WARN msg="it failed" link=worker`, `level=ERROR msg="it failed" link=tail`,
			`level=INFO msg="as ever"`, `level=INFO msg="as ever"`, `level=INFO msg="as ever"`,
			`level=WARN msg="it failed (17 more in 10s)" part=x attempt=17 link=tail`, `level=WARN msg="it failed (1 more in 10s)" attempt=19 link=tail`,
			`level=WARN msg="it failed" attempt=20 link=tail`,
		}
		if got := strings.Split(strings.TrimSpace(b.String()), "\n"); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("the log is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestCloseTellsWhatWasCounted(t *testing.T) {
	var b bytes.Buffer
	h := plain(&b)
	for range 3 {
		slog.New(h).Warn("it failed")
	}
	h.Close()
	if !strings.Contains(b.String(), "it failed (2 more in 10s)") {
		t.Errorf("the log is %q", b.String())
	}
	for n := range 2 * most {
		slog.New(h).Warn(strings.Repeat("x", n))
	}
	if len(h.lines) != most {
		t.Errorf("%d lines are remembered; want %d", len(h.lines), most)
	}
	h.Close()
}
