// Package strictjson decodes JSON that was written for edgecache: no field is unknown, nothing
// follows.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Decode decodes exactly one JSON value into v, and explains in words of the wire, not of Go, what
// is wrong with it.
func Decode(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return explain(err, len(b))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("something follows the JSON value at byte %d", dec.InputOffset())
	}
	return nil
}

func explain(err error, length int) error {
	var wrongType *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &wrongType) && wrongType.Field == "":
		return fmt.Errorf("the body is a JSON %s, not an object", wrongType.Value)
	case errors.As(err, &wrongType):
		return fmt.Errorf("%q holds a JSON %s, not %s", wrongType.Field, wrongType.Value, article(wrongType.Type.String()))
	case errors.As(err, &syntax):
		return fmt.Errorf("the body is no JSON: %s at byte %d", strings.TrimPrefix(syntax.Error(), "json: "), syntax.Offset)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the JSON ends too early, at byte %d", length)
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

// article names a Go type as JSON does.
func article(goType string) string {
	switch goType {
	case "[]string":
		return "an array of strings"
	case "int64":
		return "a whole number"
	case "map[string]string":
		return "an object of strings"
	}
	return "a " + goType
}
