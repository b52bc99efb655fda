package main

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/redistest"
)

const someChat = "ts_ms\troom\tuser\tmentions\n1\t7\t1\t\n2\t7\t2\t1,1,3\n3\t8\t1\t2\n4\t7\t1\t3\n"

func TestReplayCountsByTier(t *testing.T) {
	dir := t.TempDir()
	plain, zipped := filepath.Join(dir, "chat.tsv"), filepath.Join(dir, "chat.tsv.gz")
	write(t, plain, []byte(someChat))
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(someChat))
	_ = z.Close()
	write(t, zipped, b.Bytes())
	for _, args := range [][]string{
		{"replay", "--trace", plain, "--nodes", "1"},
		{"replay", "--trace", zipped, "--nodes", "1", "--redis", redistest.Server(t).URL()},
	} {
		var out, errs bytes.Buffer
		if err := run(t.Context(), args, &out, &errs); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		if strings.Contains(errs.String(), "\r") {
			t.Errorf("%v: carriage returns where there is no terminal: %q", args, errs.String())
		}
		for _, want := range []string{"4 messages, 8 lookups on 1 nodes, 3 users", "origin calls: 3, 375.00 per 1,000 lookups"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%v: no %q in\n%s", args, want, out.String())
			}
		}
	}
}

func TestReplayAtARate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "chat.tsv")
	write(t, file, []byte(someChat))
	got := command(t, "", nil, "replay", "--trace", file, "--nodes", "1", "--rate", "20", "--lookups", "6", "--origin-latency", "20ms")
	if got.err != nil {
		t.Fatal(got.err)
	}
	for _, want := range []string{"3 messages, 6 lookups on 1 nodes, 3 users", "all        6  100.00 %", "origin calls: 3, 500.00 per 1,000 lookups"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("no %q in\n%s", want, got.stdout)
		}
	}
}

func TestReplayRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"none.tsv": "a\tb\n", "short.tsv": "ts_ms\troom\tuser\tmentions\n1\t2\n", "broken.tsv.gz": "x"} {
		write(t, filepath.Join(dir, name), []byte(content))
	}
	for want, args := range map[string][]string{
		"--trace FILE is missing":      {"replay"},
		"--nodes 0: want 1 to 64":      {"replay", "--trace", "x", "--nodes", "0"},
		"--rate -1: want 1 to 50000":   {"replay", "--trace", "x", "--rate", "-1"},
		"--lookups -1: want 1 or more": {"replay", "--trace", "x", "--lookups", "-1"},
		"--origin-latency -1s: want 0": {"replay", "--trace", "x", "--origin-latency", "-1s"},
		"no such file":                 {"replay", "--trace", filepath.Join(dir, "absent.tsv")},
		"not the heading":              {"replay", "--trace", filepath.Join(dir, "none.tsv")},
		"line 2: bad trace":            {"replay", "--trace", filepath.Join(dir, "short.tsv")},
		"broken.tsv.gz":                {"replay", "--trace", filepath.Join(dir, "broken.tsv.gz")},
	} {
		var out, errs bytes.Buffer
		if err := run(t.Context(), args, &out, &errs); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
