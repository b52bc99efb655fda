package style

import (
	"flag"
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// write breaks comments that are too wide, instead of complaining of them.
var write = flag.Bool("write", false, "break comments that are too wide")

func TestComments(t *testing.T) {
	for _, s := range readTree(t) {
		if len(s.wide()) > 0 && *write {
			text, err := s.wrapped()
			if err == nil {
				err = os.WriteFile(filepath.Join(root, s.path), text, 0o644)
			}
			if err != nil {
				t.Errorf("%s: %v", s.path, err)
			}
			continue
		}
		for _, line := range s.wide() {
			t.Errorf("%s:%d: a comment of more than %d columns; go test ./tests/style -write breaks it", s.path, line, widest)
		}
		for _, why := range s.stiff() {
			t.Error(why)
		}
	}
}

// stiff are words that read as if a court had written them.
var stiff = regexp.MustCompile(`(?i)\b(whom|whoever|whomever)\b`)

// stiff returns a line for each comment with such a word.
func (s *source) stiff() (why []string) {
	for _, group := range s.file.Comments {
		for _, c := range group.List {
			if word := stiff.FindString(c.Text); word != "" && s.room() != "tests/style" {
				why = append(why, fmt.Sprintf("%s: %q; say who does what", s.set.Position(c.Pos()), word))
			}
		}
	}
	return why
}

// names are how many exported names, methods included, a room may show.
const names = 45

// TestRoomsShowFewNames counts what a reader of a package's documentation has to choose from.
func TestRoomsShowFewNames(t *testing.T) {
	shown := map[string]int{}
	for _, s := range readTree(t) {
		if !s.test() {
			shown[s.room()] += s.exported()
		}
	}
	for _, room := range []string{"origin", "prewarm", "source", "stream", "tier"} {
		if n := shown[room]; n == 0 || n > names {
			t.Errorf("package %s has %d exported names; want 1 to %d", room, n, names)
		}
	}
}

// exported counts the exported names of a file: types, functions, values, and methods of exported
// types.
func (s *source) exported() (n int) {
	for _, d := range s.file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d.Recv.List[0].Type))) {
				n++
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				n += exportedSpec(spec)
			}
		}
	}
	return n
}

func exportedSpec(spec ast.Spec) (n int) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if spec.Name.IsExported() {
			n++
		}
	case *ast.ValueSpec:
		for _, name := range spec.Names {
			if name.IsExported() {
				n++
			}
		}
	}
	return n
}

// receiver returns the name of a receiver's type.
func receiver(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr:
		return receiver(t.X)
	case *ast.IndexListExpr:
		return receiver(t.X)
	case *ast.Ident:
		return t.Name
	}
	return ""
}

const (
	// longest is how many lines a function has at most, middle at half of those that embedders
	// link.
	longest = 60
	middle  = 9
)

// TestFunctionsAreShort looks at all functions, those of tests included, and at the median of those
// that are neither tests nor the command nor benchmarks.
func TestFunctionsAreShort(t *testing.T) {
	var lengths []int
	for _, s := range readTree(t) {
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := s.lines(f)
			if n > longest {
				t.Errorf("%s: %s has %d lines; at most %d", s.path, f.Name.Name, n, longest)
			}
			if !s.test() && embedded(s.room()) {
				lengths = append(lengths, n)
			}
		}
	}
	slices.Sort(lengths)
	if median := lengths[len(lengths)/2]; median > middle {
		t.Errorf("half of %d functions have %d lines or more; want %d", len(lengths), median, middle)
	}
}

// embedded reports whether a room is part of a library.
func embedded(room string) bool {
	top, _, _ := strings.Cut(room, "/")
	return !slices.Contains([]string{"bench", "benchmarks", "cmd", "tests"}, top) &&
		!strings.HasPrefix(room, "internal/testkit")
}

// TestRulesSee has a file break each rule.
func TestRulesSee(t *testing.T) {
	long := "// " + strings.Repeat("word ", 40) + "\n//\n//  - " + strings.Repeat("item ", 30) + "\nfunc F() {}\n"
	s, err := parseText("x.go", []byte("package x\n\n"+long+"\nvar a = 1 // whom "+strings.Repeat("it ", 40)+"\n\ntype T int\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.wide()) != 3 || len(s.stiff()) != 1 || s.exported() != 2 {
		t.Errorf("wide %v, stiff %v, %d exported; want 3, 1 and 2", s.wide(), s.stiff(), s.exported())
	}
	text, err := s.wrapped()
	if err != nil {
		t.Fatal(err)
	}
	again, err := parseText("x.go", text)
	if err != nil || len(again.wide()) > 0 {
		t.Errorf("%v; wide in lines %v of\n%s", err, again.wide(), text)
	}
	if strings.Count(string(text), "word") != 40 || strings.Count(string(text), "item") != 30 ||
		!strings.Contains(string(text), "\n//     item") {
		t.Errorf("wrapped to\n%s", text)
	}
}
