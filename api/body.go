package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// wantType refuses a body of another type, or in an encoding that would have to be unpacked. A body without a type passes
// as the first of the allowed.
func wantType(c *fiber.Ctx, allowed ...string) error {
	if encoding := c.Get(fiber.HeaderContentEncoding); encoding != "" && encoding != "identity" {
		return problemType(fmt.Sprintf("the Content-Encoding %.40q is not taken; send the body as it is", encoding))
	}
	given := bodyType(c)
	if given == "" {
		return nil
	}
	for _, t := range allowed {
		if strings.EqualFold(given, t) {
			return nil
		}
	}
	return problemType(fmt.Sprintf("the Content-Type %.60q is not taken; send %s", given, strings.Join(allowed, " or ")))
}

// bodyType returns the media type of the request body without its parameters.
func bodyType(c *fiber.Ctx) string {
	name, _, _ := strings.Cut(c.Get(fiber.HeaderContentType), ";")
	return strings.TrimSpace(name)
}

func problemType(detail string) *problem {
	return &problem{status: 415, name: "unsupported-type", title: "Unsupported media type", detail: detail}
}

// errBody reports a body that is not what it should be; the text says why.
var errBody = errors.New("api: bad body")

// decodeBody reads a body of up to limit bytes, if there is one, and decodes it. Errors of the body wrap errBody.
func (s *Server) decodeBody(c *fiber.Ctx, limit int, v any) error {
	body, err := s.budget.ReadBody(c.Context(), limit)
	if err != nil {
		return err
	}
	defer body.Release()
	if err := decodeStrict(body.Bytes, v); err != nil {
		return fmt.Errorf("%w: %w", errBody, err)
	}
	return nil
}

// decodeStrict decodes exactly one JSON value into v and explains in words of the wire, not of Go, what is wrong with it.
func decodeStrict(b []byte, v any) error {
	if len(bytes.TrimSpace(b)) == 0 {
		return errors.New("the body is empty")
	}
	if err := profile.CheckJSONText(b); err != nil {
		return errors.New(reason(err, profile.ErrMalformed))
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return explain(err, dec.InputOffset())
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("something follows the JSON value at byte %d", dec.InputOffset())
	}
	return nil
}

func explain(err error, offset int64) error {
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
		return fmt.Errorf("the JSON ends too early, at byte %d", offset)
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
