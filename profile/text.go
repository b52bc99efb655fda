package profile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// CheckJSONText returns an error that wraps ErrMalformed, and names the field if it can, for JSON
// with text that is no Unicode: bytes that are not UTF-8, or half of a surrogate pair. Decoders put
// U+FFFD in its place in silence. What is no JSON may pass.
func CheckJSONText(body []byte) error {
	if ValidJSONText(body) {
		return nil
	}
	const why = "text that is no Unicode: broken UTF-8, or half of a surrogate pair"
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) == nil {
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			if !ValidJSONText(fields[name]) {
				return fmt.Errorf("%w: %.128q holds %s", ErrMalformed, name, why)
			}
		}
	}
	return fmt.Errorf("%w: the JSON holds %s", ErrMalformed, why)
}

// ValidJSONText reports whether all texts of a JSON value are Unicode: UTF-8, and without half of a
// surrogate pair in an escape. What is no JSON may pass.
func ValidJSONText(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for {
		i := bytes.IndexByte(b, '\\')
		if i < 0 || i+1 == len(b) {
			return true
		}
		b = b[i:]
		unit, ok := escapedUnit(b)
		switch {
		case !ok:
			b = b[2:]
		case !utf16.IsSurrogate(unit):
			b = b[6:]
		default:
			low, ok := escapedUnit(b[6:])
			if !ok || utf16.DecodeRune(unit, low) == utf8.RuneError {
				return false
			}
			b = b[12:]
		}
	}
}

// escapedUnit returns the UTF-16 unit of the escape \uXXXX that b begins with.
func escapedUnit(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(v), err == nil
}
