package profile

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestIDsUnderOtherNames(t *testing.T) {
	for _, tt := range []struct{ raw, field, id string }{
		{`{"_id":"65a1"}`, "", "65a1"},
		{`{"_id":{"$oid":"65a1b2"}}`, "", "65a1b2"},
		{`{"_id":7}`, "", "7"},
		{`{"id":null,"_id":8}`, "", "8"},
		{`{"id":"7","_id":"65a1"}`, "", "7"},
		{`{"id":1,"matricule":"100001B"}`, "matricule", "100001B"},
		{`{"id":1,"matricule":623456}`, "matricule", "623456"},
	} {
		p, shed, err := DecodeJSONShed([]byte(tt.raw), tt.field)
		if err != nil || p.ID != tt.id || len(shed) != 0 {
			t.Errorf("%s by %q: %+v, %v, %v; want id %s", tt.raw, tt.field, p, shed, err, tt.id)
		}
	}
	for raw, says := range map[string]string{
		`{"id":1}`: "matricule: it is missing", `{"id":1,"matricule":"a b"}`: "invalid id",
	} {
		if _, _, err := DecodeJSONShed([]byte(raw), "matricule"); !errors.Is(err, ErrMalformed) ||
			!strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; want %q", raw, err, says)
		}
	}
}

// TestTooLargeFieldsAreShed: a profile is taken without the fields that no profile has room for.
func TestTooLargeFieldsAreShed(t *testing.T) {
	avatar := "data:image/png;base64," + strings.Repeat("A", 200<<10)
	var many strings.Builder
	for i := range maxAttrs + 1 {
		fmt.Fprintf(&many, `,"a%d":"x"`, i)
	}
	for raw, want := range map[string][]string{
		`{"id":"7","nom":"N","avatar":"` + avatar + `"}`: {"avatar"},
		`{"id":"7","nom":"N","avatar":"` + avatar + `","attrs":{"photo":"` + avatar + `","b":"1"}}`: {
			"attrs.photo", "avatar"},
		`{"id":"7","nom":"N","attrs":{"z":"1"` + many.String() + `}}`: {"attrs"},
	} {
		p, shed, err := DecodeJSONShed([]byte(raw), "")
		if err != nil || !slices.Equal(shed, want) {
			t.Errorf("%.40s…: %v, %v; want to shed %v", raw, shed, err, want)
			continue
		}
		if p.ID != "7" || p.Nom != "N" || p.FullName != "N" || p.Avatar != "" || p.Check() != nil {
			t.Errorf("%.40s…: %+v", raw, p)
		}
	}
	name := strings.Repeat("x", MaxSize-100)
	p, shed, err := DecodeJSONShed([]byte(`{"id":"7","nom":"`+name+`"}`), "")
	if err != nil || !slices.Equal(shed, []string{"nom"}) && !slices.Equal(shed, []string{"fullName"}) {
		t.Errorf("a name that fits once and not twice: %v, %v, %.40v", shed, err, p)
	}
}
