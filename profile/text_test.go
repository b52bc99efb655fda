package profile

import (
	"errors"
	"strings"
	"testing"
)

func TestCheckJSONText(t *testing.T) {
	for text, field := range map[string]string{
		`{"nom":"Ngo Mbé 😀"}`: "", `{"nom":"\ud83d\ude00"}`: "", `{"nom":"\\ud800"}`: "", `not json`: "",
		"{\"nom\":\"a\xff\"}": `"nom"`, `{"nom":"\ud800"}`: `"nom"`, `{"a":"x","nom":"\udc00\ud800"}`: `"nom"`,
		`{"attrs":{"k":"\ud800"}}`: `"attrs"`, `{"attrs":{"\ud800":"v"}}`: `"attrs"`,
		`{"\ud800":"x"}`: "the JSON holds", "[\"\xc3\"]": "the JSON holds",
	} {
		err := CheckJSONText([]byte(text))
		if (err == nil) != (field == "") || err != nil && (!errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), field)) {
			t.Errorf("%q: %v; want an error that says %q", text, err, field)
		}
	}
}
