package profile

import (
	"errors"
	"strings"
	"testing"
)

func sample() *Profile {
	return &Profile{
		ID: "123", Nom: "Ngo Mbé", Prenom: "Amélie", FullName: "Amélie Ngo Mbé", Avatar: "https://cdn.example.org/a/123.webp",
		Matricule: "623456-K", Ministere: "MINSANTE", Sexe: "F", UpdatedAt: 1700000000123,
		Attrs: map[string]string{"grade": "A2", "ville": "Yaoundé"},
	}
}

func TestCheckID(t *testing.T) {
	for _, id := range []string{"1", "a.b:c@d-e_F9", strings.Repeat("x", MaxIDLen)} {
		if err := CheckID(id); err != nil {
			t.Errorf("CheckID(%q) = %v, want nil", id, err)
		}
	}
	for id, part := range map[string]string{
		"": "empty", strings.Repeat("x", MaxIDLen+1): "129 bytes", "a b": `" " at 1`, "é": "at 0", "a/b": `"/" at 1`,
		"a%2Fb": `"%" at 1`, "x\x00": `"\x00" at 1`, "{1}": `"{" at 0`, "a\n": `"\n" at 1`, "*": `"*"`,
	} {
		err := CheckID(id)
		if !errors.Is(err, ErrInvalidID) || !strings.Contains(err.Error(), part) {
			t.Errorf("CheckID(%q) = %v, want ErrInvalidID with %s", id, err, part)
		}
	}
}

func TestCheckNamesTheField(t *testing.T) {
	many := map[string]string{}
	for i := range maxAttrs + 1 {
		many[strings.Repeat("k", i)] = ""
	}
	for name, c := range map[string]struct {
		change func(*Profile)
		want   error
		text   string
	}{
		"id":       {func(p *Profile) { p.ID = "a b" }, ErrInvalidID, `"a b"`},
		"negative": {func(p *Profile) { p.UpdatedAt = -1 }, ErrMalformed, "updatedAt -1"},
		"high":     {func(p *Profile) { p.UpdatedAt = MaxVersion + 1 }, ErrMalformed, "updatedAt 9007199254740992"},
		"large":    {func(p *Profile) { p.Avatar = strings.Repeat("a", MaxSize) }, ErrTooLarge, "at most 65536"},
		"attrs":    {func(p *Profile) { p.Attrs = many }, ErrTooLarge, "1025 attrs"},
	} {
		p := sample()
		c.change(p)
		if err := p.Check(); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: Check() = %v, want %v with %q", name, err, c.want, c.text)
		}
	}
	if err := sample().Check(); err != nil {
		t.Errorf("Check() of a good profile = %v", err)
	}
}

func TestCompleteSetsOnlyAnAbsentFullName(t *testing.T) {
	for _, c := range []struct{ prenom, nom, full, want string }{
		{"Jean", "Dupont", "", "Jean Dupont"}, {"", "Dupont", "", "Dupont"}, {"Jean", "", "", "Jean"}, {"", "", "", ""},
		{"Jean", "Dupont", "J. D.", "J. D."},
	} {
		p := Profile{Prenom: c.prenom, Nom: c.nom, FullName: c.full}
		if p.Complete(); p.FullName != c.want {
			t.Errorf("Complete() of %q %q %q gives %q, want %q", c.prenom, c.nom, c.full, p.FullName, c.want)
		}
	}
}

func TestCloneSharesNothing(t *testing.T) {
	b := AppendMsgpack(nil, sample())
	p, err := DecodeMsgpack(b)
	if err != nil {
		t.Fatal(err)
	}
	c := p.Clone()
	for i := range b {
		b[i] = 'x'
	}
	if !equal(c, sample()) {
		t.Errorf("the clone changed with the bytes of its original: %+v", c)
	}
}

// equal compares all fields.
func equal(a, b *Profile) bool {
	return string(AppendMsgpack(nil, a)) == string(AppendMsgpack(nil, b))
}
