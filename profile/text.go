package profile

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// ValidJSONText reports whether all texts of a JSON value are Unicode: UTF-8, and without half of a surrogate pair in an
// escape. What is no JSON may pass.
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
