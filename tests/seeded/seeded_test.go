package seeded

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// root is the module's.
const root = "../.."

// within is how long a seeded bug may stay unseen.
const within = time.Minute

// witness is a test that must fail, and words that its output must hold then: those of what judges,
// so that no other failure counts.
type witness struct {
	pkg, test string
	args      []string
	says      string
}

const (
	oracleSays = "oracle: consistency violated"
	modelSays  = "flushed " // node 1 flushed 1 times, want 2
	relaySays  = "waits behind those who cannot be announced"
)

// storm is the storm in tier, and model the cluster in virtual time: either sees most of the bugs.
func storm() witness {
	return witness{"tier", "TestStorm", []string{"-storm=3s"}, oracleSays}
}

// model begins at a seed that shows the rarest of them, no-stamp-check, within a few runs.
func model(says string) witness {
	args := []string{"-runs=10000", "-rapid.nofailfile", "-rapid.shrinktime=0s", "-rapid.seed=19111"}
	return witness{"node", "TestModel/half", args, says}
}

func fault(name string) witness {
	return witness{"node", "TestSafeguards/" + name, []string{"-safeguard=50s"}, oracleSays}
}

// bugs are the patches of testdata by name, and who sees each.
var bugs = map[string][]witness{
	"no-stamp-check":          {{"tier", "TestStorm", []string{"-storm=20s"}, oracleSays}},
	"no-lease":                {storm()},
	"no-flight-key":           {storm()},
	"del-only":                {storm(), model(oracleSays)},
	"set-over-set":            {storm(), model(oracleSays)},
	"del-instead-of-guard":    {storm(), model(oracleSays)},
	"no-gap-check":            {fault("gap_check"), model(modelSays)},
	"no-fence":                {fault("fence"), model(oracleSays)},
	"end-on-reconnect":        {fault("cursor"), model(modelSays)},
	"slow-tail":               {fault("event_after_L2")}, // beyond what the canary excuses
	"stuck-users-hold-others": {{"source", "TestRelayStuckUsers/10_users,_who_hang:_true", nil, relaySays}},
	"answered-version":        {model(oracleSays)},
	"versions-of-others":      {{"tier/l2", "TestConformance/redis/versions_of_others_outrank_nothing", nil, "a change of the origin was refused"}},
	"hint-unheeded":           {model(oracleSays)},
	"reads-without-deadline":  {{"tests/outage", "TestNoReadOutlastsItsDeadline/attempt_./3s,_origin_takes_0s,_warm_false", nil, "a read took"}},

	"store-cursor-early":      {{"stream", "TestACheckpointIsOfWhatIsHandled", nil, "was handled by neither"}},
	"store-cursor-apart":      {{"tier/kv", "TestWriteFailureGivesTheStoreUp", nil, "want what the first checkpoint vouches for"}},
	"store-deletes-unwritten": {{"tier/kv", "TestModel", []string{"-rapid.nofailfile", "-rapid.shrinktime=0s"}, ", want "}, {"node", "TestStartAlone", nil, "from stale"}},
	"store-keeps-invalidated": {{"tier", "TestStormWithStores", nil, oracleSays}},
	"store-ends-apart":        {{"tier/kv", "TestEndsTogether", nil, "found what had ended"}},
	"store-counts-too-early":  {{"tier", "TestStoreIsFenced", nil, "answered from L1.5, want L2"}},
}

var all = flag.Bool("all", false, "let every witness of a bug see it, and not the first alone")

// TestEachSeededBugIsSeen removes one safeguard at a time.
func TestEachSeededBugIsSeen(t *testing.T) {
	patches, err := filepath.Glob("testdata/*.patch")
	if err != nil || len(patches) != len(bugs) {
		t.Errorf("%d patches, %d rows, %v", len(patches), len(bugs), err)
	}
	for bug, witnesses := range bugs {
		t.Run(bug, func(t *testing.T) {
			dir := t.TempDir()
			list, err := overlay(root, "testdata/"+bug+".patch", dir)
			if err != nil {
				t.Fatal(err)
			}
			if !*all {
				witnesses = witnesses[:1]
			}
			for _, w := range witnesses {
				w.see(t, build(t, list, dir, w.pkg))
			}
		})
	}
}

// build compiles a package's tests under an overlay. A patch after which it does not compile proves
// nothing.
func build(t *testing.T, list, dir, pkg string) string {
	t.Helper()
	binary := filepath.Join(dir, strings.ReplaceAll(pkg, "/", "_")+".test")
	out, err := goTool(t, "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", list, "-o", binary, "./"+pkg).CombinedOutput()
	if err != nil {
		t.Fatalf("%s does not compile: %v\n%s", pkg, err, out)
	}
	return binary
}

func goTool(t *testing.T, args ...string) *exec.Cmd {
	c := exec.CommandContext(t.Context(), "go", args...)
	c.Dir = root
	return c
}

// see requires that the witness fails in time, and in its own words.
func (w witness) see(t *testing.T, binary string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	c := exec.CommandContext(ctx, binary, append([]string{"-test.v", "-test.run=" + anchored(w.test)}, w.args...)...)
	c.Dir = filepath.Join(root, w.pkg)
	c.WaitDelay = time.Second
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	began := time.Now()
	out, err := c.CombinedOutput()
	took := time.Since(began).Round(time.Millisecond)
	var failed *exec.ExitError
	switch {
	case ctx.Err() != nil:
		t.Errorf("%s has not seen it in %v\n%s", w.test, within, out)
	case err == nil:
		t.Errorf("%s passes without the safeguard\n%s", w.test, out)
	case !errors.As(err, &failed):
		t.Fatal(err)
	case !strings.Contains(string(out), w.says):
		t.Errorf("%s fails, but not with %q\n%s", w.test, w.says, out)
	default:
		t.Logf("seen after %v by %s: %s", took, w.test, lineWith(string(out), w.says))
	}
}

// anchored has -test.run match the test of that name, and no other.
func anchored(test string) string { return "^" + strings.ReplaceAll(test, "/", "$/^") + "$" }

func lineWith(out, words string) string {
	for line := range strings.Lines(out) {
		if strings.Contains(line, words) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

func TestPatchThatNoLongerAppliesIsAnError(t *testing.T) {
	const patch = "--- a/f.go\n+++ b/f.go\n@@ -1,3 +1,2 @@\n one\n-two\n three\n"
	for name, c := range map[string]struct {
		patch, source string
		applies       bool
	}{
		"as made":          {patch, "one\ntwo\nthree\n", true},
		"lines above":      {patch, "zero\none\ntwo\nthree\n", true},
		"safeguard gone":   {patch, "one\nthree\n", false},
		"safeguard moved":  {patch, "two\none\nthree\n", false},
		"context changed":  {patch, "one\ntwo\nfour\n", false},
		"spaces changed":   {patch, "one\n two\nthree\n", false},
		"there twice":      {patch, "one\ntwo\nthree\none\ntwo\nthree\n", false},
		"file gone":        {strings.ReplaceAll(patch, "f.go", "g.go"), "one\ntwo\nthree\n", false},
		"no patch":         {"nothing\n", "one\ntwo\nthree\n", false},
		"patch cut in two": {patch[:len(patch)-8], "one\ntwo\nthree\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range map[string]string{"f.go": c.source, "p.patch": c.patch} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			_, err := overlay(dir, filepath.Join(dir, "p.patch"), t.TempDir())
			if c.applies != (err == nil) || err != nil && !errors.Is(err, errDoesNotApply) {
				t.Errorf("got %v", err)
			}
		})
	}
}
