package deps

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

// TestNoModuleRequiresABadVersion reads every go.mod of the repository.
func TestNoModuleRequiresABadVersion(t *testing.T) {
	checked := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata" || d.Name() == "vendor") {
			return fs.SkipDir
		}
		if d.Name() != "go.mod" {
			return nil
		}
		checked++
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := Check(path, data); err != nil {
			t.Error(err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked == 0 {
		t.Fatal("no go.mod was found")
	}
}

func TestVersions(t *testing.T) {
	for _, c := range []struct {
		module, version string
		want            error
	}{
		{"github.com/hashicorp/memberlist", "v0.6.0", ErrRefused},
		{"github.com/hashicorp/memberlist", "v0.5.4", ErrRefused},
		{"github.com/hashicorp/memberlist", "v0.7.0-rc.1", ErrRefused},
		{"github.com/hashicorp/memberlist", "v0.6.1-0.20260101000000-0123456789ab", ErrRefused},
		{"github.com/hashicorp/memberlist", "v0.7.0", nil},
		{"github.com/hashicorp/memberlist", "v0.10.0", nil},
		{"github.com/dgraph-io/ristretto/v2", "v2.4.1", ErrRefused},
		{"github.com/dgraph-io/ristretto/v2", "v2.4.0", nil},
		{"github.com/dgraph-io/ristretto/v2", "v2.4.2", nil},
		{"github.com/redis/go-redis/v9", "v9.7.2", ErrRefused},
		{"github.com/redis/go-redis/v9", "v9.7.3", nil},
		{"github.com/redis/go-redis/v9", "v9.23.0", nil},
		{"github.com/gofiber/fiber/v2", "v2.52.11", ErrRefused},
		{"github.com/gofiber/fiber/v2", "v2.52.9", ErrRefused},
		{"github.com/gofiber/fiber/v2", "v2.52.12", nil},
		{"github.com/gofiber/fiber/v3", "v3.0.0", nil},
		{"github.com/gofiber/fiber-like", "v1.0.0", nil},
		{"example.org/other", "v0.0.1", nil},
	} {
		t.Run(c.module+"@"+c.version, func(t *testing.T) {
			for _, line := range []string{
				"require " + c.module + " " + c.version,
				"require " + c.module + " " + c.version + " // indirect",
				"replace example.org/fork => " + c.module + " " + c.version,
			} {
				if err := Check("go.mod", []byte("module m\n"+line+"\n")); !errors.Is(err, c.want) {
					t.Errorf("%s: got %v, want %v", line, err, c.want)
				}
			}
		})
	}
}

func TestARefusalNamesFileModuleVersionAndReason(t *testing.T) {
	err := Check("benchmarks/go.mod", []byte("module m\nrequire (\n"+
		"\tgithub.com/hashicorp/memberlist v0.6.0\n\tgithub.com/dgraph-io/ristretto/v2 v2.4.1\n)\n"))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"benchmarks/go.mod", "memberlist v0.6.0", "crash", "ristretto/v2 v2.4.1", "memory"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
}

func TestWhatCannotBeComparedIsNotAccepted(t *testing.T) {
	for name, data := range map[string]string{
		"no go.mod at all":       "{}",
		"version that is none":   "module m\nrequire github.com/redis/go-redis/v9 latest\n",
		"version without its v":  "module m\nrequire github.com/redis/go-redis/v9 9.7.3\n",
		"major of another path":  "module m\nrequire github.com/gofiber/fiber/v2 v3.0.0\n",
		"missing version":        "module m\nrequire github.com/redis/go-redis/v9\n",
		"unknown directive":      "module m\ninclude other\n",
		"file beyond every size": "module m\n// " + strings.Repeat("x", MaxModFile),
	} {
		if err := Check("go.mod", []byte(data)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := Check("go.mod", []byte("module m\nreplace github.com/redis/go-redis/v9 => ../fork\n")); err != nil {
		t.Errorf("a folder in a module's place: %v", err)
	}
	if err := Check("go.mod", nil); err != nil {
		t.Errorf("an empty file requires nothing: %v", err)
	}
}
