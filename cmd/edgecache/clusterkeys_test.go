package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chatapp-ngomna/edgecache/gossip"
)

func keysOf(t *testing.T, file string) (ids []string) {
	t.Helper()
	keys, err := gossip.ReadKeys(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		ids = append(ids, gossip.KeyID(k))
	}
	return ids
}

func TestKeysAreMadeUsedAndRemoved(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cluster.keys")
	must := func(args ...string) string {
		t.Helper()
		got := command(t, "", nil, append([]string{"cluster", "keys"}, append(args, "--file", file)...)...)
		if got.err != nil {
			t.Fatal(got.err)
		}
		return got.stdout
	}
	refused := func(want string, args ...string) {
		t.Helper()
		before := keysOf(t, file)
		got := command(t, "", nil, append([]string{"cluster", "keys"}, append(args, "--file", file)...)...)
		if got.err == nil || !strings.Contains(got.err.Error(), want) {
			t.Errorf("%q gave %v; want %q", args, got.err, want)
		}
		if after := keysOf(t, file); !slices.Equal(before, after) {
			t.Errorf("%q was refused and changed the keys from %q to %q", args, before, after)
		}
	}

	if out := must("add"); !strings.Contains(out, "its primary") {
		t.Errorf("the first add said %q", out)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the file has mode %v, error %v; want 0600", info.Mode().Perm(), err)
	}
	old := keysOf(t, file)[0]
	refused("only key", "remove", old)
	if out := must("add"); !strings.Contains(out, "still "+old) {
		t.Errorf("the second add said %q", out)
	}
	added := keysOf(t, file)[1]
	refused("is the primary", "remove", old)
	refused(`no key "nonsense"; there are`, "remove", "nonsense")
	refused(`no key "nonsense"`, "use", "nonsense")
	must("use", added)
	if out := must("list"); out != added+"  primary\n"+old+"\n" {
		t.Errorf("list said %q", out)
	}
	must("remove", old)
	if got := keysOf(t, file); !slices.Equal(got, []string{added}) {
		t.Errorf("the keys are %q; want %q", got, added)
	}
}

func TestMistakesWithKeys(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.keys")
	if err := os.WriteFile(bad, []byte("c2VjcmV0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"cluster kyes", 2, `unknown command "kyes" for "edgecache cluster"; did you mean keys?`},
		{"cluster keys", 2, "wants one of"},
		{"cluster keys ad", 2, "did you mean add?"},
		{"cluster keys add", 2, "--file PATH"},
		{"cluster keys add x --file y", 2, `add takes flags only, not "x"`},
		{"cluster keys use --file y", 2, "use wants ID, such as: edgecache cluster keys use 1f0e9d8c"},
		{"cluster keys list --file " + filepath.Join(dir, "none"), 1, "no such file"},
		{"cluster keys add --file " + bad, 1, "line 1 of " + bad + " is not the base64 of 32 bytes"},
		{"cluster keys add --file " + filepath.Join(dir, "no", "folder"), 1, "no such file"},
	} {
		t.Run(c.args, func(t *testing.T) {
			got := command(t, "", nil, strings.Fields(c.args)...)
			if got.err == nil || exitCode(got.err) != c.code || !strings.Contains(got.err.Error(), c.want) {
				t.Fatalf("exit %d: %v\nwant exit %d: %s", exitCode(got.err), got.err, c.code, c.want)
			}
			if strings.Contains(got.err.Error(), "c2VjcmV0") {
				t.Errorf("a line of the key file got out: %v", got.err)
			}
		})
	}
	if text, _ := os.ReadFile(bad); string(text) != "c2VjcmV0\n" {
		t.Errorf("a file that is no key file was overwritten: %q", text)
	}
}
