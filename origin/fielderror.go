package origin

import (
	"strings"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// FieldError says what is wrong with one field of a request.
type FieldError struct {
	// Field is the JSON name, of an attribute "attrs.name".
	Field string `json:"field"`
	// Detail is the rule that it broke.
	Detail string `json:"detail"`
}

// FieldErrors are all broken fields of one request. It wraps profile.ErrMalformed.
type FieldErrors []FieldError

// Error names every field.
func (e FieldErrors) Error() string {
	parts := make([]string, len(e))
	for i, f := range e {
		parts[i] = f.Field + ": " + f.Detail
	}
	return strings.Join(parts, "; ")
}

// Is makes errors.Is(e, profile.ErrMalformed) true.
func (e FieldErrors) Is(target error) bool { return target == profile.ErrMalformed }
