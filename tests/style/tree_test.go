package style

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	root = "../.."
	// widest is how many columns a line with a comment has at most, a tab being 4 of them.
	widest = 100
)

// source is one file in Go of the repository, those of other modules in it included.
type source struct {
	path string // from the root
	text []byte
	set  *token.FileSet
	file *ast.File
}

func (s *source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

// room is the folder of a file, from the root.
func (s *source) room() string { return filepath.ToSlash(filepath.Dir(s.path)) }

// lines is how many lines a node takes.
func (s *source) lines(n ast.Node) int {
	return s.set.Position(n.End()).Line - s.set.Position(n.Pos()).Line + 1
}

// readTree parses every file in Go of the repository.
func readTree(t *testing.T) (all []*source) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && skipped(d.Name()) {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		s, err := parse(path)
		all = append(all, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 500 {
		t.Fatalf("%d files were found; want all of the repository", len(all))
	}
	return all
}

func skipped(folder string) bool {
	return strings.HasPrefix(folder, ".") ||
		slices.Contains([]string{"testdata", "vendor", "node_modules"}, folder)
}

func parse(path string) (*source, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return nil, err
	}
	return parseText(rel, text)
}

func parseText(path string, text []byte) (*source, error) {
	s := &source{path: path, text: text, set: token.NewFileSet()}
	var err error
	s.file, err = parser.ParseFile(s.set, path, text, parser.ParseComments)
	return s, err
}
