package reread

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// due makes the next Get look at the files.
func due[T any](v *Value[T]) { v.next.Store(0) }

func TestChangedFileIsReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	write(t, file, "one\n")
	var log bytes.Buffer
	v, err := New(slog.New(slog.NewTextHandler(&log, nil)), func() (string, error) {
		text, err := Secret(file)
		if text == "bad" {
			err = errors.New("bad content")
		}
		return text, err
	}, file)
	if err != nil {
		t.Fatal(err)
	}
	first := v.Get()
	if due(v); v.Get() != first || *first != "one" {
		t.Fatalf("an unchanged file: %q, another pointer %t", *v.Get(), v.Get() != first)
	}
	write(t, file, "twice")
	if v.Get() != first {
		t.Error("it looked before its time")
	}
	if due(v); *v.Get() != "twice" {
		t.Errorf("after a change: %q", *v.Get())
	}
	for range 3 {
		write(t, file, "bad")
		if due(v); *v.Get() != "twice" {
			t.Errorf("after a bad change: %q", *v.Get())
		}
	}
	if n := strings.Count(log.String(), "bad content"); n != 1 {
		t.Errorf("the failure was logged %d times:\n%s", n, log.String())
	}
	if err := os.Rename(file, file+".old"); err != nil {
		t.Fatal(err)
	}
	if due(v); *v.Get() != "twice" {
		t.Errorf("without the file: %q", *v.Get())
	}
	write(t, file, "again")
	if due(v); *v.Get() != "again" {
		t.Errorf("a new file: %q", *v.Get())
	}
}

func TestLooksOnceASecond(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	write(t, file, "one")
	v, err := New(nil, func() (string, error) { return Secret(file) }, file)
	if err != nil {
		t.Fatal(err)
	}
	due(v)
	v.Get()
	if left := time.Duration(v.next.Load()) - time.Since(v.began); left <= 0 || left > Every {
		t.Errorf("looks again in %v, want within %v", left, Every)
	}
}

func TestSecretsHaveACapAndAContent(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	for text, says := range map[string]string{"": "is empty", "\n": "is empty", strings.Repeat("x", maxSecret+1): "larger than 65536"} {
		write(t, file, text)
		if _, err := Secret(file); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.10q: %v, want %q", text, err, says)
		}
	}
	if _, err := New(nil, func() (string, error) { return Secret(file) }, file+"x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such file: %v", err)
	}
}
