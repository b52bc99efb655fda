package check

import (
	"context"
	"fmt"
	"go/version"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// root is the folder of the repository.
const root = "../.."

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// imageVersion is what the builder of the image says that it is.
const imageVersion = "v1.2.3-of-the-image"

// image is the content of the image, made once as the Dockerfile makes it: from those files alone
// that .dockerignore lets through.
var image = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "edgecache-image-"); err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o711); err != nil { // the image runs as someone else
		return dir, err
	}
	source := filepath.Join(dir, "source")
	if err := copyContext(source); err != nil {
		return dir, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 9*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "scripts/image-root.sh", filepath.Join(dir, "root"))
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "VERSION="+imageVersion)
	if out, err := cmd.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("scripts/image-root.sh: %w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, _ := image(); dir != "" {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// imageRoot returns the folder that is the image's root.
func imageRoot(t *testing.T) string {
	t.Helper()
	dir, err := image()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "root")
}

// copyContext copies what the engine would get to build the image of.
func copyContext(to string) error {
	list, err := os.Open(filepath.Join(root, ".dockerignore"))
	if err != nil {
		return err
	}
	defer list.Close()
	patterns, err := ignorefile.ReadAll(list)
	if err != nil {
		return err
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		return err
	}
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if skip, err := ignored.MatchesOrParentMatches(filepath.ToSlash(name)); skip || err != nil {
			return err
		}
		return copyFile(path, filepath.Join(to, name))
	})
}

func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, text, info.Mode().Perm())
}

// TestTheDockerfileBuildsWhatIsTested: the commands that make the image are those that these tests
// run.
func TestTheDockerfileBuildsWhatIsTested(t *testing.T) {
	var got []string
	for line := range strings.Lines(read(t, "Dockerfile")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			got = append(got, line)
		}
	}
	want := []string{"WORKDIR /src", "COPY go.mod go.sum ./", "RUN go mod download", "COPY . .", "ARG VERSION",
		"RUN scripts/image-root.sh /image", "FROM scratch", "COPY --from=build /image/ /", "USER 65532:65532"}
	builder, got := got[0], got[1:]
	for i, line := range want {
		if i >= len(got) || got[i] != line {
			t.Fatalf("line %d is not %q:\n%s", i+1, line, strings.Join(got, "\n"))
		}
	}
	least, built := goOfModule(t), goOf(builder)
	if version.Lang(built) != version.Lang(least) || version.Compare(built, least) < 0 {
		t.Errorf("%q; want the Go that go.mod asks for, %s, or a newer patch of it", builder, least)
	}
	for _, line := range []string{`ENTRYPOINT ["/edgecache"]`, `CMD ["serve"]`} {
		if !strings.Contains(strings.Join(got, "\n"), line) {
			t.Errorf("no line %q", line)
		}
	}
}

// goOf returns the Go of the line by which a Dockerfile begins to build, "" when it names none.
func goOf(line string) string {
	name, found := strings.CutPrefix(line, "FROM golang:")
	name, debian := strings.CutSuffix(name, "-bookworm AS build")
	if !found || !debian || !version.IsValid("go"+name) {
		return ""
	}
	return "go" + name
}

// goOfModule returns the Go that go.mod asks for.
func goOfModule(t *testing.T) string {
	t.Helper()
	_, rest, _ := strings.Cut(read(t, "go.mod"), "\ngo ")
	number, _, _ := strings.Cut(rest, "\n")
	return "go" + number
}
