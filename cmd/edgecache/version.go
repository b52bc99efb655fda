package main

import (
	"runtime"
	"runtime/debug"
)

// version returns what the build knows of itself: version, commit, and the Go that built it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown " + runtime.Version()
	}
	return describe(info) + ", " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
}

func describe(info *debug.BuildInfo) string {
	number := info.Main.Version
	if number == "" || number == "(devel)" {
		number = "development build"
	}
	commit, changed := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = ", with changes"
		}
	}
	return number + " (commit " + commit + changed + ")"
}
