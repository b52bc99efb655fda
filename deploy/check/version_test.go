package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheBinarySaysWhichBuildItIs builds as the image does, without Git, and in a checkout.
func TestTheBinarySaysWhichBuildItIs(t *testing.T) {
	t.Run("in the image, what the builder said", func(t *testing.T) {
		said := run(t, "", nil, filepath.Join(imageRoot(t), "edgecache"), "version")
		if want := "edgecache version " + imageVersion + ", go1."; !strings.HasPrefix(said, want) {
			t.Errorf("%q; want %q", said, want)
		}
	})
	t.Run("in a checkout, its commit", func(t *testing.T) {
		source, binary := filepath.Join(t.TempDir(), "source"), filepath.Join(t.TempDir(), "edgecache")
		if err := copyContext(source); err != nil {
			t.Fatal(err)
		}
		commit := commitAll(t, source)
		run(t, source, []string{"VERSION=" + imageVersion, "GOFLAGS=-buildvcs=true"}, "scripts/build-static.sh", binary)
		said := run(t, "", nil, binary, "version")
		if !strings.Contains(said, "(commit "+commit[:12]+")") || strings.Contains(said, imageVersion) {
			t.Errorf("%q; want commit %s, without changes", said, commit)
		}
	})
}

// commitAll makes a Git repository of a folder, with one commit, and returns its hash.
func commitAll(t *testing.T, dir string) string {
	t.Helper()
	env := []string{"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null"}
	git := func(args ...string) string {
		who := []string{"-c", "user.name=test", "-c", "user.email=test@example.org"}
		return run(t, dir, env, "git", append(who, args...)...)
	}
	git("init", "--quiet")
	git("add", "--all")
	git("commit", "--quiet", "--message", "all")
	return strings.TrimSpace(git("rev-parse", "HEAD"))
}

// run returns what a command printed, and fails the test when the command did.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}
