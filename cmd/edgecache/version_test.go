package main

import (
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	flag, command := command(t, "", nil, "--version"), command(t, "", nil, "version")
	if flag.err != nil || command.err != nil || flag.stdout != command.stdout {
		t.Errorf("--version says %q, %v; version says %q, %v; want the same", flag.stdout, flag.err, command.stdout, command.err)
	}
	built := ", " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + "\n"
	if name, found := strings.CutSuffix(command.stdout, built); !found || len(name) <= len("edgecache version ") {
		t.Errorf("version says %q; want a version and %q", command.stdout, built)
	}
}

func TestEachBuildSaysWhichItIs(t *testing.T) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	git := func(modified string) []debug.BuildSetting {
		return []debug.BuildSetting{{Key: "vcs.revision", Value: commit}, {Key: "vcs.modified", Value: modified}}
	}
	for _, c := range []struct {
		build    string
		version  string
		settings []debug.BuildSetting
		given    string
		want     string
	}{
		{"go install", "v1.2.3", nil, "", "v1.2.3"},
		{"go install of a commit", "v1.2.4-0.20261129103000-0123456789ab", nil, "v9", "v1.2.4-0.20261129103000-0123456789ab"},
		{"go build at a tag", "v1.2.3", git("false"), "", "v1.2.3 (commit 0123456789ab)"},
		{"go build with changes", "v1.2.3+dirty", git("true"), "", "v1.2.3+dirty (commit 0123456789ab, with changes)"},
		{"go run", "(devel)", git("false"), "v9", "commit 0123456789ab"},
		{"go run with changes", "", git("true"), "", "commit 0123456789ab, with changes"},
		{"in an image", "(devel)", nil, "v1.2.3", "v1.2.3"},
		{"of an archive", "(devel)", nil, "", "unknown"},
		{"without modules", "", nil, "", "unknown"},
	} {
		info := &debug.BuildInfo{Main: debug.Module{Version: c.version}, Settings: c.settings}
		if got := describe(info, c.given); got != c.want {
			t.Errorf("%s: %q; want %q", c.build, got, c.want)
		}
	}
}
