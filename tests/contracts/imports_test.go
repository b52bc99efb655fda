package contracts

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const (
	module  = "github.com/chatapp-ngomna/edgecache/"
	inside  = module + "internal/"
	testkit = inside + "testkit"
)

// listed is what `go list` says of a package, without its tests.
type listed struct {
	ImportPath    string
	Imports, Deps []string
}

// listAll returns every package of the module.
func listAll(t *testing.T) (all []listed) {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Imports,Deps", "./...")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			t.Fatalf("go list: %v\n%s", err, failed.Stderr)
		}
		t.Fatal(err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(p.ImportPath, module) {
			all = append(all, p)
		}
	}
}

// under reports whether an import path is that of root, or below it.
func under(path, root string) bool {
	root = strings.TrimSuffix(root, "/")
	return path == root || strings.HasPrefix(path, root+"/")
}

// TestImportsPointOneWay keeps the rooms of docs/architecture.md apart.
func TestImportsPointOneWay(t *testing.T) {
	all := listAll(t)
	if len(all) < 20 || !slices.ContainsFunc(all, func(p listed) bool { return p.ImportPath == testkit+"/canary" }) {
		t.Fatalf("go list knows of %d packages; want all of the module", len(all))
	}
	for _, broken := range brokenRules(all) {
		t.Error(broken)
	}
}

// light are the packages of those who embed a node, or write an origin: they link no database and
// no web server, nor the truth.
var light = []string{"node", "tier", "origin", "profile", "stream", "gossip", "prewarm"}

// heavy are what these link none of.
var heavy = []string{module + "source", "github.com/jackc/pgx", "modernc.org/sqlite", "go.mongodb.org",
	"github.com/gofiber/fiber", "github.com/valyala/fasthttp"}

// brokenRules returns a line for each import that should not be.
func brokenRules(all []listed) (broken []string) {
	say := func(p listed, rule, what string) { broken = append(broken, p.ImportPath+" "+rule+" "+what) }
	for _, p := range all {
		if slices.Contains(light, strings.TrimPrefix(p.ImportPath, module)) {
			for _, dep := range p.Deps {
				if slices.ContainsFunc(heavy, func(root string) bool { return under(dep, root) }) {
					say(p, "links", dep)
				}
			}
		}
		for _, dep := range p.Imports {
			switch {
			case under(dep, module+"bench") && !under(p.ImportPath, module+"bench") && p.ImportPath != module+"cmd/edgecache":
				say(p, "runs in production, and imports", dep)
			case under(p.ImportPath, testkit):
			case under(dep, testkit):
				say(p, "is no test, and imports", dep)
			case strings.HasPrefix(p.ImportPath, inside) && under(dep, module) && !strings.HasPrefix(dep, inside):
				say(p, "is internal, and imports the public", dep)
			}
		}
	}
	return broken
}

// TestRulesOfImportsSee has one package break each rule.
func TestRulesOfImportsSee(t *testing.T) {
	for name, c := range map[string]struct {
		pkg    listed
		broken bool
	}{
		"a node with a database":      {listed{module + "node", nil, []string{"github.com/jackc/pgx/v5/pgconn"}}, true},
		"a node with the truth":       {listed{module + "tier", nil, []string{module + "source/internal/record"}}, true},
		"a node's own parts":          {listed{module + "node", []string{module + "tier"}, []string{module + "tier"}}, false},
		"the truth with its database": {listed{module + "source/sqlite", nil, []string{"modernc.org/sqlite"}}, false},
		"internal to public":          {listed{inside + "web", []string{module + "profile"}, nil}, true},
		"internal to internal":        {listed{inside + "web", []string{inside + "life"}, nil}, false},
		"the test kit to public":      {listed{testkit + "/truth", []string{module + "source"}, nil}, false},
		"the test kit to itself":      {listed{testkit + "/canary", []string{testkit + "/redistest"}, nil}, false},
		"a node that measures itself": {listed{module + "node", []string{module + "bench/load"}, nil}, true},
		"the command that measures":   {listed{module + "cmd/edgecache", []string{module + "bench/report"}, nil}, false},
		"a command with the test kit": {listed{module + "cmd/edgecache", []string{testkit + "/redistest"}, nil}, true},
	} {
		if got := brokenRules([]listed{c.pkg}); (len(got) > 0) != c.broken {
			t.Errorf("%s: %v", name, got)
		}
	}
}
