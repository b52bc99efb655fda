package profile

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestLooseIDs(t *testing.T) {
	for raw, want := range map[string]string{
		`"123"`: "123", `"\u0037"`: "7", `"a@b"`: "a@b", `7`: "7", `-7`: "-7", `12345678901234567890`: "12345678901234567890",
		`123.0`: "123", `1.23e2`: "123", `9007199254740992.0`: "9007199254740992",
		`1.5`: "", `1e300`: "", `1e-1`: "", `true`: "", `null`: "", `{"a":1}`: "", `["7"]`: "", `""`: "",
		`"a b"`: "", `"\ud800"`: "",
	} {
		var v Loose
		if err := json.Unmarshal([]byte(raw), &v); err != nil {
			t.Fatal(err)
		}
		got, err := v.ID()
		if got != want || (err != nil) != (want == "") || err != nil && !errors.Is(err, ErrInvalidID) {
			t.Errorf("%s as an id: %q, %v; want %q", raw, got, err, want)
		}
	}
}

func TestLooseTimes(t *testing.T) {
	for raw, want := range map[string]int64{
		`1700000000123`: 1700000000123, `"1700000000123"`: 1700000000123, `1.7e12`: 1700000000000,
		`1700000000123.75`: 1700000000123, `"2023-11-14T22:13:20.123Z"`: 1700000000123,
		`"2023-11-14T23:13:20+01:00"`: 1700000000000, `"2023-11-14T22:13:20.5"`: 1700000000500,
		`null`: 0, `""`: 0, `0`: 0,
		`-1`: -1, `"1969-12-31T00:00:00Z"`: -1, `9007199254740992`: -1, `1e300`: -1, `"NaN"`: -1, `"Inf"`: -1,
		`"now"`: -1, `true`: -1, `[5]`: -1, `{}`: -1, `"\ud800"`: -1,
	} {
		var v Loose
		if err := json.Unmarshal([]byte(raw), &v); err != nil {
			t.Fatal(err)
		}
		got, err := v.Millis()
		if err == nil && got != want || (err != nil) != (want < 0) || err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s as a time: %d, %v; want %d", raw, got, err, want)
		}
	}
}

func TestLooseProfiles(t *testing.T) {
	p, err := DecodeJSONLoose([]byte(`{"id":7.0,"nom":null,"prenom":"Awa","matricule":623456,
		"updatedAt":"2023-11-14T22:13:20","attrs":{"a":1,"b":true,"c":null,"d":{},"e":"x"}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Profile{
		ID: "7", Prenom: "Awa", FullName: "Awa", Matricule: "623456", UpdatedAt: 1700000000000,
		Attrs: map[string]string{"a": "1", "b": "true", "e": "x"},
	}
	if !equal(p, want) {
		t.Errorf("decoded %+v; want %+v", p, want)
	}
	for raw, part := range map[string]string{
		`{"id":true}`: "id", `{"nom":"x"}`: "id", `{"id":1,"sexe":[]}`: "sexe",
		`{"id":1,"updatedAt":"soon"}`: "updatedAt", `{"id":1,"nom":"\ud800"}`: "UTF",
	} {
		if p, err := DecodeJSONLoose([]byte(raw)); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %+v, %v; want an error about %s", raw, p, err, part)
		}
	}
}

// TestFieldsHaveOneTable: each part is a text of the profile, under the same name.
func TestFieldsHaveOneTable(t *testing.T) {
	p := sample()
	patch := p.Parts()
	for i, part := range patch.parts() {
		if at := TextOf(strings.ToUpper(partNames[i])); at == nil || at(p) != *part {
			t.Errorf("%s is not the text of that name", partNames[i])
		}
	}
	for i, text := range p.texts() {
		if TextOf(textNames[i])(p) != text {
			t.Errorf("%s is another text", textNames[i])
		}
	}
	if TextOf("updatedAt") != nil {
		t.Error("the version is a text")
	}
}
