package hitratio

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func numbered(keys ...int) recorded {
	r := recorded{requests: keys}
	r.keys = slices.Max(keys) + 1
	return r
}

// TestKnownAnswers has the example by which textbooks show Belady's optimum: 20 requests, room for
// 3, 9 faults at best and 12 with LRU.
func TestKnownAnswers(t *testing.T) {
	r := numbered(7, 0, 1, 2, 0, 3, 0, 4, 2, 3, 0, 3, 2, 1, 2, 0, 1, 7, 0, 1)
	if hits, offers, _ := lru(r, 3); hits != 8 || offers != 12 {
		t.Errorf("LRU: %d hits, %d offers; want 8, 12", hits, offers)
	}
	if hits, offers, _ := belady(r, 3); hits < 11 || hits+offers != 20 {
		t.Errorf("Belady: %d hits, %d offers; want 11 hits or more", hits, offers)
	}
	for _, p := range policies() {
		best, _, _ := belady(r, 3)
		if hits, _, err := p.run(r, 3); err != nil || hits > best {
			t.Errorf("%s: %d hits, %v; nobody has more than %d", p.name, hits, err, best)
		}
	}
	if hits, offers, _ := lru(numbered(1, 1, 2, 2), 5); hits != 2 || offers != 2 {
		t.Errorf("with room for all: %d hits, %d offers", hits, offers)
	}
}

func TestReaders(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"web1.gz": "\x00\x00\x00\x07\x00\x00\x01\x00\x00\x00\x00\x07", "request.gz": "1 5 100\n2 6 7\n3 5 100\n", "lines.gz": "5\n*\n\n6\n5\n",
	} {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(text))
		_ = z.Close()
		if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := readFile(filepath.Join(dir, name))
		if err != nil || !slices.Equal(r.requests, []int{0, 1, 0}) || r.keys != 2 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if _, err := read(t.TempDir(), ""); !errors.Is(err, errTrace) {
		t.Errorf("an empty folder: %v", err)
	}
}
