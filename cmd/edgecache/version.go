package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// given is the version that the linker was told (-X main.given=v1.2.3), for builds that know
// nothing of themselves: those of an image, to which Git does not come.
var given string

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Say which build this is",
		Long:    `Prints the version of this build, or the commit it was made of, and the Go that built it.`,
		Example: `  edgecache version`,
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(p.stdout, "edgecache version", version())
			return err
		},
	}
}

// version returns what the build knows of itself, and the Go that built it.
func version() string {
	return build() + ", " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
}

// build returns what the build knows of itself.
func build() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = new(debug.BuildInfo)
	}
	return describe(info, given)
}

// describe names a build by the version of its module, which "go install" knows, and which a build
// in a checkout makes of its tag and commit; else by its commit; else by what the linker was told.
func describe(info *debug.BuildInfo, given string) string {
	number, commit := info.Main.Version, commitOf(info)
	if number == "(devel)" {
		number = ""
	}
	switch {
	case number != "" && commit != "":
		return number + " (" + commit + ")"
	case number != "":
		return number
	case commit != "":
		return commit
	case given != "":
		return given
	}
	return "unknown"
}

// commitOf returns the commit that a build was made of, "" when it was not made in a checkout.
func commitOf(info *debug.BuildInfo) string {
	commit, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = "commit " + s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = ", with changes"
		}
	}
	if commit == "" {
		return ""
	}
	return commit + changed
}
