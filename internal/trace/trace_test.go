package trace

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const heading = "ts_ms\troom\tuser\tmentions\n"

func open(t *testing.T, text string) (*Reader, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "chat.tsv")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path)
	if err == nil {
		t.Cleanup(func() { _ = r.Close() })
	}
	return r, err
}

func TestMessages(t *testing.T) {
	r, err := open(t, heading+"1700000000123\t7\t1\t2,2,1,3\n1700000000124\t8\t2\t\n")
	if err != nil || !r.Next() {
		t.Fatal(err)
	}
	if m := r.Message; m.At.UnixMilli() != 1700000000123 || m.Room != "7" || m.User != "1" || !slices.Equal(m.Shown, []string{"1", "2", "3"}) {
		t.Errorf("the first message is %+v", m)
	}
	if !r.Next() || len(r.Message.Shown) != 1 || r.Next() || r.Err != nil {
		t.Errorf("the end: %+v", r)
	}
}

func TestWhatIsNoTrace(t *testing.T) {
	if _, err := open(t, "a\tb\n"); !errors.Is(err, ErrMalformed) {
		t.Errorf("without a heading: %v", err)
	}
	for text, want := range map[string]string{
		"1\t2\n": "line 2: bad trace: 2 fields", "x\t2\t3\n": `ts_ms is "x"`, strings.Repeat("x", 70<<10): "line 2",
	} {
		r, err := open(t, heading+text)
		if err != nil {
			t.Fatal(err)
		}
		if r.Next() || r.Err == nil || !strings.Contains(r.Err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", text, r.Err, want)
		}
	}
}
