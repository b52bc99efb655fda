package web

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// CheckText returns an error that wraps profile.ErrMalformed, and names the field if it can, for JSON with text that is no
// Unicode: bytes that are not UTF-8, or half of a surrogate pair. Decoders put U+FFFD in its place in silence.
func CheckText(body []byte) error {
	if profile.ValidJSONText(body) {
		return nil
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) == nil {
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			if !profile.ValidJSONText(fields[name]) {
				return fmt.Errorf("%w: %.128q holds text that is no Unicode: broken UTF-8, or half of a surrogate pair", profile.ErrMalformed, name)
			}
		}
	}
	return fmt.Errorf("%w: the JSON holds text that is no Unicode: broken UTF-8, or half of a surrogate pair", profile.ErrMalformed)
}
