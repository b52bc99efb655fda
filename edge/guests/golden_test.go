package guests

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// golden is what each example does, whatever the language that it is written in.
var golden = map[string][]struct {
	name    string
	user    func(*profile.Profile)
	request edge.Request
	shown   func(*profile.Profile) // nil when the profile is shown as it is
	refused string
}{
	"hide-matricule": {
		{name: "nobody", shown: noMatricule},
		{name: "a guest", request: role("guest"), shown: noMatricule},
		{name: "a role of none", request: role("none"), shown: noMatricule},
		{name: "an empty role", request: role(""), shown: noMatricule},
		{name: "a reader", request: role("read")},
		{name: "a role that begins like another", request: role("guests")},
		{name: "a name of two bytes more", user: func(p *profile.Profile) { p.Nom = text(300) }, shown: noMatricule},
		{name: "a user without anything", user: func(p *profile.Profile) { *p = profile.Profile{ID: p.ID} }, shown: noMatricule},
		{name: "a user of 40 KiB", user: func(p *profile.Profile) { p.Attrs["long"] = text(40 << 10) }, shown: noMatricule},
		{name: "a user with 60 attributes", user: manyAttrs, shown: noMatricule},
	},
	"display-name": {
		{name: "no locale"},
		{name: "French", request: edge.Request{Locale: "fr"}, shown: func(p *profile.Profile) { p.FullName = "Mme Ngo Mbé" }},
		{name: "French of Cameroon", request: edge.Request{Locale: "FR-CM"}, shown: func(p *profile.Profile) { p.FullName = "Mme Ngo Mbé" }},
		{name: "a language that the user has no name in", request: edge.Request{Locale: "de"}},
		{name: "the beginning of a language", request: edge.Request{Locale: "f"}},
		{name: "Arabic", request: edge.Request{Locale: "ar"}, shown: func(p *profile.Profile) { p.FullName = "السيدة نغو مبي" }},
		{name: "a user without attributes", user: func(p *profile.Profile) { p.Attrs = nil }, request: edge.Request{Locale: "fr"}},
	},
	"avatar-size": {
		{name: "no size"},
		{name: "64", request: size("64"), shown: func(p *profile.Profile) { p.Avatar = "/a/1.webp?size=64" }},
		{name: "a picture with a query", user: func(p *profile.Profile) { p.Avatar = "/a?u=1" }, request: size("128"),
			shown: func(p *profile.Profile) { p.Avatar = "/a?u=1&size=128" }},
		{name: "a long path", user: func(p *profile.Profile) { p.Avatar = text(200) }, request: size("16"),
			shown: func(p *profile.Profile) { p.Avatar = text(200) + "?size=16" }},
		{name: "no picture", user: func(p *profile.Profile) { p.Avatar = "" }, request: size("64")},
		{name: "too small", request: size("15"), refused: "size wants 16 to 1024"},
		{name: "too large", request: size("1025"), refused: "size wants 16 to 1024"},
		{name: "no number", request: size("64x"), refused: "size wants 16 to 1024"},
		{name: "empty", request: size(""), refused: "size wants 16 to 1024"},
		{name: "a number that would wrap", request: size("4294967360"), refused: "size wants 16 to 1024"},
	},
}

func role(r string) edge.Request { return edge.Request{Claims: edge.Map{"role": r}} }
func size(s string) edge.Request { return edge.Request{Args: edge.Map{"size": s}} }

func noMatricule(p *profile.Profile) { p.Matricule = "" }

func manyAttrs(p *profile.Profile) {
	for i := range 60 {
		p.Attrs[fmt.Sprint("attr", i)] = text(i)
	}
}

func text(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(i%26)
	}
	return string(b)
}

func awa() *profile.Profile {
	return &profile.Profile{ID: "1", Nom: "Ngo Mbé", Prenom: "Awa", FullName: "Awa Ngo Mbé", Avatar: "/a/1.webp", Matricule: "623456-K",
		Ministere: "MINSANTE", Sexe: "F", UpdatedAt: 1700000000000,
		Attrs: map[string]string{"room": "12", "name.fr": "Mme Ngo Mbé", "name.ar": "السيدة نغو مبي"}}
}

// modules returns the ways in which an example was built.
func modules(t *testing.T, example string) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	if !withRace || example == "hide-matricule" {
		all["Go"] = buildGo(t, example)
	}
	for language, suffix := range map[string]string{"C": "c", "AssemblyScript": "as", "Rust": "rust"} {
		wasm, err := Modules.ReadFile("prebuilt/" + example + "." + suffix + ".wasm")
		if err != nil {
			t.Fatal(err)
		}
		all[language] = wasm
	}
	return all
}

func buildGo(t *testing.T, example string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "guest.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, "./go/"+example)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", example, err, text)
	}
	wasm, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

func TestExamplesDoTheSameInEveryLanguage(t *testing.T) {
	e, err := edge.NewEngine(edge.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for example, cases := range golden {
		for language, wasm := range modules(t, example) {
			t.Run(example+" in "+language, func(t *testing.T) {
				budget := int64(0)
				if language == "Go" {
					budget = 1_000_000 // its runtime alone takes more than the default
				}
				f, err := e.Compile(t.Context(), example, wasm, budget)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				most := int64(0)
				for _, c := range cases {
					user := awa()
					if c.user != nil {
						c.user(user)
					}
					var want *profile.Profile
					if c.shown != nil {
						want = user.Clone()
						c.shown(want)
					}
					for range 2 { // the second finds the instance as the first did
						used := check(t, c.name, f, user, c.request, want, c.refused)
						most = max(most, used)
					}
				}
				s := f.Stats()
				t.Logf("%d bytes, at most %d units, %d KiB an instance", len(wasm), most, s.Bytes/int64(1+s.Instances)>>10)
			})
		}
	}
}

func check(t *testing.T, name string, f *edge.Function, user *profile.Profile, r edge.Request, want *profile.Profile, refused string) int64 {
	t.Helper()
	tail, err := f.AppendTail(nil, r)
	if err != nil {
		t.Fatal(err)
	}
	shown, used, err := f.View(t.Context(), user, profile.AppendMsgpack(nil, user), tail)
	failure, _ := errors.AsType[*edge.Failure](err)
	switch {
	case refused != "":
		if !errors.Is(err, edge.ErrRefused) || failure.Detail != refused {
			t.Errorf("%s: got %+v, %v; want a refusal: %s", name, shown, err, refused)
		}
	case err != nil:
		t.Errorf("%s: %v", name, err)
	default:
		got, wants := cmp.Or(shown, user), cmp.Or(want, user)
		if !reflect.DeepEqual(got, wants) {
			t.Errorf("%s: got\n%+v\nwant\n%+v", name, got, wants)
		}
	}
	return used
}
