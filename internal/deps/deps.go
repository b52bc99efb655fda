// Package deps refuses versions of dependencies that are known to be bad for edgecache and that a
// vulnerability scanner may not know, or that a machine without the scanner's database would miss.
package deps

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

// MaxModFile is the size up to which a go.mod is read, in bytes.
const MaxModFile = 1 << 20

var (
	// ErrRefused is wrapped by every refusal.
	ErrRefused = errors.New("deps: refused version")
	// ErrMalformed says that a file is no go.mod or names no version that can be compared.
	ErrMalformed = errors.New("deps: malformed go.mod")
)

// rule refuses versions of one module: all below min, and each of bad.
type rule struct {
	module string
	min    string
	bad    []string
	why    string
}

// rules has a path without its major suffix match every major of the module.
func rules() []rule {
	return []rule{
		{
			module: "github.com/hashicorp/memberlist", min: "v0.7.0",
			why: "a peer's message can crash the process or make it allocate without bound",
		},
		{
			module: "github.com/dgraph-io/ristretto", bad: []string{"v2.4.1"},
			why: "a new cache takes several times the memory it was given",
		},
		{
			module: "github.com/redis/go-redis", min: "v9.7.3",
			why: "replies can reach the wrong caller (CVE-2025-29923)",
		},
		{
			module: "github.com/gofiber/fiber", min: "v2.52.12",
			why: "more than 30 route parameters overflow (GO-2026-4543)",
		},
	}
}

// Check parses a go.mod and returns nil or every refusal in it, joined: of a version that is
// required, directly or not, or put in another's place by a replace directive.
func Check(name string, data []byte) error {
	if len(data) > MaxModFile {
		return fmt.Errorf("%w: %s has %d bytes, at most %d are read", ErrMalformed, name, len(data), MaxModFile)
	}
	f, err := modfile.Parse(name, data, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	var errs []error
	for _, r := range f.Require {
		errs = append(errs, refuse(r.Mod.Path, r.Mod.Version))
	}
	for _, r := range f.Replace {
		if r.New.Version != "" { // a folder has none, and a go.mod of its own
			errs = append(errs, refuse(r.New.Path, r.New.Version))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func refuse(module, version string) error {
	if !semver.IsValid(version) {
		return fmt.Errorf("%w: %s has version %q", ErrMalformed, module, version)
	}
	for _, r := range rules() {
		if r.covers(module) && r.refuses(version) {
			return fmt.Errorf("%w: %s %s: %s", ErrRefused, module, version, r.why)
		}
	}
	return nil
}

func (r rule) covers(module string) bool {
	rest, found := strings.CutPrefix(module, r.module)
	return found && (rest == "" || strings.HasPrefix(rest, "/v"))
}

// refuses compares as semantic versions do: a pre-release, and a commit between releases, come
// before the release that they lead to.
func (r rule) refuses(version string) bool {
	if r.min != "" && semver.Compare(version, r.min) < 0 {
		return true
	}
	for _, bad := range r.bad {
		if semver.Compare(version, bad) == 0 {
			return true
		}
	}
	return false
}
