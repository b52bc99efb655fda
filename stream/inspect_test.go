package stream

import (
	"testing"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

func TestLastID(t *testing.T) {
	c := redistest.Server(t).Client()
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() {}, "0-0"},
		{func() { must(t, c.Do(t.Context(), "XADD", Name, "5-7", "payload", "{}").Err()) }, "5-7"},
		{func() { must(t, c.XTrimMaxLen(t.Context(), Name, 0).Err()) }, "5-7"},
	} {
		step.do()
		if got, err := LastID(t.Context(), c, ""); got != step.want || err != nil {
			t.Errorf("last id %q, %v; want %s", got, err, step.want)
		}
	}
	must(t, c.Set(t.Context(), "text", "x", 0).Err())
	if _, err := LastID(t.Context(), c, "text"); err == nil {
		t.Error("the last id of a text is no error")
	}
}
