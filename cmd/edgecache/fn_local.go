package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/edge/guests"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// languages are those that a function can be written in, and what its source is called.
var languages = []string{"assemblyscript", "c", "rust", "go"}

func (p *program) fnNewCommand() *cobra.Command {
	var language, like string
	cmd := &cobra.Command{
		Use:   "new DIR",
		Short: "Write a function to begin with",
		Long: `Makes a folder with one of the examples as source: hide-matricule, display-name or avatar-size.
AssemblyScript wants npm, C clang and lld, Rust rustc with its library for
wasm32-unknown-unknown, Go wants Go. Functions in Go are a thousand times as large and slow as
the others, and need --fuel 1000000 when pushed.`,
		Example: "  edgecache fn new hide\n  edgecache fn new avatar --lang c --like avatar-size",
		Args:    wantArgs(1, 1, "hide"),
		RunE: func(_ *cobra.Command, args []string) error {
			if !slices.Contains(languages, language) {
				return usagef("--lang %q%s: want one of %q", language, didYouMean("", language, languages), languages)
			}
			return p.newFunction(args[0], language, like)
		},
	}
	cmd.Flags().StringVar(&language, "lang", "assemblyscript", "`LANGUAGE`: assemblyscript, c, rust or go")
	cmd.Flags().StringVar(&like, "like", "hide-matricule", "`EXAMPLE` to begin with: hide-matricule, display-name or avatar-size")
	return cmd
}

// newFunction writes an example into a new folder. Its main file is named as the folder.
func (p *program) newFunction(dir, language, like string) error {
	if !slices.Contains([]string{"hide-matricule", "display-name", "avatar-size"}, like) {
		return usagef("--like %q: want hide-matricule, display-name or avatar-size", like)
	}
	if err := os.Mkdir(dir, 0o777); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	name := filepath.Base(dir)
	files := map[string]map[string]string{
		"c":              {"c/edgecache.h": "edgecache.h", "c/" + like + ".c": name + ".c"},
		"assemblyscript": {"assemblyscript/edgecache.ts": "edgecache.ts", "assemblyscript/package.json": "package.json", "assemblyscript/" + like + ".ts": name + ".ts"},
		"rust":           {"rust/edgecache.rs": "edgecache.rs", "rust/" + like + ".rs": name + ".rs"},
		"go":             {"go/guest/guest.go": "guest/guest.go", "go/guest/export.go": "guest/export.go", "go/" + like + "/main.go": "main.go"},
	}[language]
	for from, to := range files {
		text, err := fs.ReadFile(guests.Sources, from)
		if err == nil {
			text = []byte(strings.ReplaceAll(string(text), "github.com/chatapp-ngomna/edgecache/edge/guests/go/guest", "function/guest"))
			err = writeFile(filepath.Join(dir, to), text)
		}
		if err != nil {
			return fmt.Errorf("write the function: %w", err)
		}
	}
	if language == "go" {
		if err := writeFile(filepath.Join(dir, "go.mod"), []byte("module function\n\ngo 1.24\n")); err != nil {
			return fmt.Errorf("write the function: %w", err)
		}
	}
	_, err := fmt.Fprintf(p.stdout, "made %s, which does what %s does; build it: edgecache fn build %s\n", dir, like, dir)
	return err
}

func writeFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o666)
}

func (p *program) fnBuildCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "build DIR",
		Short:   "Compile a function",
		Long:    "Compiles what \"edgecache fn new\" made, with the compiler of its language, into DIR/NAME.wasm.",
		Example: "  edgecache fn build hide",
		Args:    wantArgs(1, 1, "hide"),
		RunE:    func(cmd *cobra.Command, args []string) error { return p.buildFunction(cmd.Context(), args[0]) },
	}
}

// buildFunction runs the compiler that the files of the folder want.
func (p *program) buildFunction(ctx context.Context, dir string) error {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	name := filepath.Base(absolute)
	out := name + ".wasm"
	has := func(file string) bool {
		_, err := os.Stat(filepath.Join(dir, file))
		return err == nil
	}
	var steps [][]string
	switch {
	case has(name + ".c"):
		steps = [][]string{{"clang", "--target=wasm32", "-Os", "-mbulk-memory", "-nostdlib", "-Wl,--no-entry", "-Wl,--strip-all",
			"-Wl,--stack-first", "-Wl,-z,stack-size=8192", "-Wl,--initial-memory=65536", "-o", out, name + ".c"}}
	case has(name + ".ts"):
		if !has("node_modules") {
			steps = append(steps, []string{"npm", "install", "--silent"})
		}
		steps = append(steps, []string{"node_modules/.bin/asc", name + ".ts", "--runtime", "stub", "-O3", "--noAssert", "--use", "abort=",
			"--initialMemory", "1", "--outFile", out})
	case has(name + ".rs"):
		steps = [][]string{{rustc(), "--edition", "2021", "--crate-type", "cdylib", "--target", "wasm32-unknown-unknown", "-C", "opt-level=s",
			"-C", "lto", "-C", "panic=abort", "-C", "strip=symbols", "-C", "target-feature=+bulk-memory", "-C", "link-arg=--stack-first",
			"-C", "link-arg=-zstack-size=8192", "-C", "link-arg=--initial-memory=65536", "-o", out, name + ".rs"}}
	case has("main.go"):
		steps = [][]string{{"go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, "."}}
	default:
		return fmt.Errorf("%s holds neither %[2]s.ts nor %[2]s.c nor %[2]s.rs nor main.go; make a function with: edgecache fn new %[1]s", dir, name)
	}
	for _, step := range steps {
		if err := p.runIn(ctx, dir, step); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(p.stdout, "built %s; try it: edgecache fn test %s\n", filepath.Join(dir, out), filepath.Join(dir, out))
	return err
}

// rustc is $RUSTC, as for cargo, or the rustc of the PATH.
func rustc() string { return cmp.Or(os.Getenv("RUSTC"), "rustc") }

func (p *program) runIn(ctx context.Context, dir string, step []string) error {
	program := step[0]
	if strings.Contains(program, "/") && !filepath.IsAbs(program) {
		program = filepath.Join(dir, program)
		if a, err := filepath.Abs(program); err == nil {
			program = a
		}
	}
	cmd := exec.CommandContext(ctx, program, step[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, p.stderr, p.stderr
	cmd.Env = os.Environ()
	if step[0] == "go" {
		cmd.Env = append(cmd.Env, "GOOS=wasip1", "GOARCH=wasm")
	}
	if err := cmd.Run(); errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%s is not installed; docs/edge-functions.md says what each language wants", step[0])
	} else if err != nil {
		return fmt.Errorf("%s: %w", step[0], err)
	}
	return nil
}

// madeUpCaller is a caller of the command line.
type madeUpCaller struct {
	claims, args map[string]string
	locale       string
	fuel         int64
}

func (m *madeUpCaller) flags(f *pflag.FlagSet) {
	f.StringToStringVar(&m.claims, "claim", nil, "`NAME=TEXT`: a claim of the caller")
	f.StringToStringVar(&m.args, "arg", nil, "`NAME=TEXT`: an argument")
	f.StringVar(&m.locale, "locale", "", "`LANGUAGE` of the caller, such as fr-CM")
	f.Int64Var(&m.fuel, "fuel", edge.DefaultFuel, "`UNITS` that a call may use")
}

// sampleUser is the user that fn test shows when no file says another.
func sampleUser() *profile.Profile {
	return &profile.Profile{ID: "123", Nom: "Ngo Mbé", Prenom: "Awa", FullName: "Awa Ngo Mbé", Avatar: "/a/123.webp", Matricule: "623456-K",
		Ministere: "MINSANTE", Sexe: "F", UpdatedAt: 1700000000000, Attrs: map[string]string{"room": "12", "name.fr": "Mme Ngo Mbé"}}
}

func (p *program) fnTestCommand() *cobra.Command {
	var m madeUpCaller
	cmd := &cobra.Command{
		Use:   "test FILE [PROFILE.json...]",
		Short: "Call a function here, and show what it does",
		Long: `Calls a module for profiles from files, or for a made-up one, and prints for each what it shows or
why not, the fuel that it took, and the time. Nothing is sent anywhere.`,
		Example: "  edgecache fn test hide.wasm --claim role=guest\n  edgecache fn test hide.wasm awa.json",
		Args:    wantArgs(1, math.MaxInt, "hide.wasm"),
		RunE:    func(cmd *cobra.Command, args []string) error { return p.testFunction(cmd.Context(), args, m) },
	}
	m.flags(cmd.Flags())
	return cmd
}

func (p *program) testFunction(ctx context.Context, args []string, m madeUpCaller) error {
	wasm, err := readModule(args[0])
	if err != nil {
		return err
	}
	engine, err := edge.NewEngine(edge.Config{MaxFuel: math.MaxInt64})
	if err != nil {
		return err
	}
	defer engine.Close()
	began := time.Now()
	f, err := engine.Compile(ctx, strings.TrimSuffix(filepath.Base(args[0]), ".wasm"), wasm, m.fuel)
	if err != nil {
		return err
	}
	defer f.Close()
	about, _ := json.Marshal(f.About())
	fmt.Fprintf(p.stdout, "%d bytes, compiled in %v; it reads %s\n", len(wasm), time.Since(began).Round(10*time.Microsecond), about)
	users, err := readProfiles(args[1:])
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(users)) {
		if err := p.tryFunction(ctx, f, name, users[name], m); err != nil {
			return err
		}
	}
	return nil
}

func readProfiles(files []string) (map[string]*profile.Profile, error) {
	users := make(map[string]*profile.Profile)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read the profile: %w", err)
		}
		u := new(profile.Profile)
		if err := json.Unmarshal(text, u); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if err := u.Check(); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		users[file] = u
	}
	if len(users) == 0 {
		users["a made-up user"] = sampleUser()
	}
	return users, nil
}

// tryFunction calls f twice: the first call has an instance made.
func (p *program) tryFunction(ctx context.Context, f *edge.Function, name string, u *profile.Profile, m madeUpCaller) error {
	tail, err := f.AppendTail(nil, edge.Request{Claims: edge.Map(m.claims), Args: edge.Map(m.args), Locale: m.locale})
	if err != nil {
		return err
	}
	packed := profile.AppendMsgpack(nil, u)
	var shown *profile.Profile
	var used int64
	var took time.Duration
	for range 2 {
		began := time.Now()
		shown, used, err = f.View(ctx, u, packed, tail)
		took = time.Since(began)
	}
	what := "as it is"
	switch {
	case err != nil:
		what = err.Error()
	case shown != nil:
		what = string(profile.AppendJSON(nil, shown))
	}
	_, err = fmt.Fprintf(p.stdout, "%s: %d units of fuel, %v\n%s\n", name, used, took, what)
	return err
}

func (p *program) fnDiffCommand() *cobra.Command {
	var c fnClient
	var m madeUpCaller
	var users int
	cmd := &cobra.Command{
		Use:   "diff NAME FILE",
		Short: "Show what a push would change",
		Long: `Has a node call a module and the version that serves, for the users who were shown most lately and
one made-up caller, and prints how often they differ, and how. Nothing is switched.`,
		Example: "  edgecache fn diff hide-matricule hide.wasm --claim role=guest",
		Args:    wantArgs(2, 2, "hide-matricule hide.wasm"),
		RunE: func(cmd *cobra.Command, args []string) error {
			wasm, err := readModule(args[1])
			if err != nil {
				return err
			}
			query := url.Values{"users": {strconv.Itoa(users)}, "fuel": {strconv.FormatInt(m.fuel, 10)}, "locale": {m.locale}}
			for name, text := range m.claims {
				query.Set("claim."+name, text)
			}
			for name, text := range m.args {
				query.Set("arg."+name, text)
			}
			return c.ask(cmd.Context(), p, http.MethodPost, args[0], "/diff", query, wasm)
		},
	}
	c.flags(p, cmd)
	m.flags(cmd.Flags())
	cmd.Flags().IntVar(&users, "users", 1000, "compare for `N` users, 10,000 at most")
	return cmd
}
