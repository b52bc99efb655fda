package strictjson

import "testing"

func TestDecode(t *testing.T) {
	for text, want := range map[string]string{
		`{"ids":["1"],"n":2}`: "",
		``:                    "EOF",
		`{"ids":["1"]`:        "the JSON ends too early, at byte 12",
		`{"ids":["1"]} {}`:    "something follows the JSON value at byte 15",
		`{"ids":["1"]} x`:     "something follows the JSON value at byte 14",
		`{"ids":[1]}`:         `"ids" holds a JSON number, not a string`,
		`{"ids":"1"}`:         `"ids" holds a JSON string, not an array of strings`,
		`{"n":"1"}`:           `"n" holds a JSON string, not a whole number`,
		`["1"]`:               "the body is a JSON array, not an object",
		`{"idz":["1"]}`:       `unknown field "idz"`,
		`{]`:                  "the body is no JSON: invalid character ']' looking for beginning of object key string at byte 2",
	} {
		var v struct {
			IDs []string `json:"ids"`
			N   int64    `json:"n"`
		}
		got := ""
		if err := Decode([]byte(text), &v); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q; want %q", text, got, want)
		}
	}
}
