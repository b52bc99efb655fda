package source

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// Limits of the fields that the service accepts, in bytes of UTF-8. They are far above what people
// have and far below profile.MaxSize, so that a profile of valid fields is a valid profile unless
// its attributes fill it.
const (
	maxName  = 256  // nom, prenom, ministere
	maxFull  = 512  // fullName
	maxURL   = 2048 // avatar
	maxShort = 64   // matricule, sexe
	maxKey   = 128  // name of an attribute
	maxValue = 4096 // value of an attribute

	// maxFieldErrors bounds the broken fields that one answer names.
	maxFieldErrors = 32
)

// fieldParser collects the fields of a request and everything that is wrong with them.
type fieldParser struct {
	ignore bool // what is unknown is left out
	update origin.Update
	id     *string
	errs   origin.FieldErrors
}

func (fp *fieldParser) fail(field, format string, args ...any) {
	if len(fp.errs) == maxFieldErrors {
		return
	}
	if len(field) > maxKey {
		field = strings.ToValidUTF8(field[:maxKey], "") + "…"
	}
	fp.errs = append(fp.errs, origin.FieldError{Field: field, Detail: fmt.Sprintf(format, args...)})
}

// parseUpdate reads the body of a PUT to id: any of updateFields; null empties a field, and in
// attrs removes a key. It takes back what a lookup gave: updatedAt is left out, and so is what
// nobody knows when ignore says so.
func parseUpdate(body []byte, id string, ignore bool) (origin.Update, error) {
	fp, err := parseFields(body, ignore)
	if err != nil {
		return origin.Update{}, err
	}
	if fp.id != nil && *fp.id != id {
		fp.fail("id", "%q is not the user of the path, %q; an id cannot be changed", *fp.id, id)
	}
	if len(fp.errs) == 0 && fp.update.Empty() {
		return origin.Update{}, fmt.Errorf("%w: the body changes nothing; give at least one of %s", profile.ErrMalformed, origin.UpdateFields)
	}
	return fp.update, fp.err()
}

// parseCreate reads the body of a create: id and any of updateFields. makesIDs says that it may
// lack the id.
func parseCreate(body []byte, makesIDs, ignore bool) (*profile.Profile, error) {
	fp, err := parseFields(body, ignore)
	if err != nil {
		return nil, err
	}
	p := new(profile.Profile)
	if fp.id == nil {
		if !makesIDs {
			fp.fail("id", "it is missing")
		}
	} else if err := origin.CheckNewID(*fp.id); err != nil {
		fp.fail("id", "%v", err)
	} else {
		p.ID = *fp.id
	}
	return fp.update.Apply(p), fp.err()
}

func (fp *fieldParser) err() error {
	if len(fp.errs) == 0 {
		return nil
	}
	return fp.errs
}

// parseFields walks the object key by key, so that unknown and repeated keys are seen.
func parseFields(body []byte, ignore bool) (*fieldParser, error) {
	if !utf8.Valid(body) {
		return nil, fmt.Errorf("%w: the body is not UTF-8", profile.ErrMalformed)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, fmt.Errorf("%w: the body is not a JSON object", profile.ErrMalformed)
	}
	fp, seen := &fieldParser{ignore: ignore}, map[string]bool{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("%w: JSON: %w", profile.ErrMalformed, err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, fmt.Errorf("%w: JSON: %w", profile.ErrMalformed, err)
		}
		name := key.(string) // More and Token give nothing else inside an object
		if seen[name] {
			fp.fail(name, "it is given twice")
			continue
		}
		seen[name] = true
		fp.field(name, value)
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("%w: JSON: %w", profile.ErrMalformed, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("%w: something follows the JSON object", profile.ErrMalformed)
	}
	return fp, nil
}

// field takes one key of the body.
func (fp *fieldParser) field(name string, value json.RawMessage) {
	u := &fp.update
	switch name {
	case "id":
		fp.id = fp.idText(value)
	case "nom":
		u.Nom = fp.text(name, value, maxName)
	case "prenom":
		u.Prenom = fp.text(name, value, maxName)
	case "fullName":
		u.FullName = fp.text(name, value, maxFull)
	case "avatar":
		u.Avatar = fp.text(name, value, maxURL)
	case "matricule":
		u.Matricule = fp.text(name, value, maxShort)
	case "ministere":
		u.Ministere = fp.text(name, value, maxName)
	case "sexe":
		u.Sexe = fp.text(name, value, maxShort)
	case "attrs":
		u.Attrs = fp.attrs(value)
	case "updatedAt":
		fp.time(name, value)
	default:
		if !fp.ignore {
			fp.fail(name, "unknown; the fields are %s", origin.UpdateFields)
		}
	}
}

// idText returns the id that value is: a text, or the whole number as which many services write it.
func (fp *fieldParser) idText(value json.RawMessage) *string {
	var l profile.Loose
	if len(value) == 0 || value[0] == '"' || value[0] == 'n' {
		return fp.text("id", value, profile.MaxIDLen)
	}
	_ = l.UnmarshalJSON(value) // never fails
	id, err := l.ID()
	if err != nil {
		fp.fail("id", "want a text or a whole number")
		return nil
	}
	return &id
}

// time takes the version that a lookup gave: the origin sets the next one, so it is no condition.
func (fp *fieldParser) time(name string, value json.RawMessage) {
	var l profile.Loose
	_ = l.UnmarshalJSON(value) // never fails
	if _, err := l.Millis(); err != nil {
		fp.fail(name, "want milliseconds since 1970, as a lookup gives them; the origin sets it, and to change a user "+
			"only if it still has a version, send If-Match with its ETag")
	}
}

// text returns the string that value is, "" for null, and nil after noting what is wrong with it.
func (fp *fieldParser) text(name string, value json.RawMessage, limit int) *string {
	var s *string
	if !fp.unicode(name, value) {
		return nil
	}
	if err := json.Unmarshal(value, &s); err != nil {
		fp.fail(name, "want a JSON string or null")
		return nil
	}
	if s == nil {
		s = new(string)
	}
	if len(*s) > limit {
		fp.fail(name, "%d bytes; at most %d", len(*s), limit)
		return nil
	}
	if i := strings.IndexFunc(*s, isControl); i >= 0 {
		fp.fail(name, "control character %q at byte %d", (*s)[i], i)
		return nil
	}
	return s
}

// unicode reports whether a value's texts are Unicode, and notes it when they are not: decoding
// would change them.
func (fp *fieldParser) unicode(name string, value json.RawMessage) bool {
	ok := profile.ValidJSONText(value)
	if !ok {
		fp.fail(name, "it holds half of a surrogate pair, which is no Unicode")
	}
	return ok
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// attrs returns the merge that value asks for.
func (fp *fieldParser) attrs(value json.RawMessage) map[string]*string {
	var raw map[string]json.RawMessage
	if !fp.unicode("attrs", value) {
		return nil
	}
	if err := json.Unmarshal(value, &raw); err != nil || raw == nil {
		fp.fail("attrs", `want an object of strings; a null inside it removes a key: {"attrs":{"key":null}}`)
		return nil
	}
	merge := make(map[string]*string, len(raw))
	for key, v := range raw {
		name := "attrs." + key
		if key == "" || len(key) > maxKey || strings.ContainsFunc(key, isControl) {
			fp.fail(name, "want a name of 1-%d bytes without control characters", maxKey)
			continue
		}
		if string(v) == "null" {
			merge[key] = nil
			continue
		}
		merge[key] = fp.attr(name, v)
	}
	return merge
}

// attr is text without the control characters' rule: a value may have several lines.
func (fp *fieldParser) attr(name string, value json.RawMessage) *string {
	var s string
	if err := json.Unmarshal(value, &s); err != nil {
		fp.fail(name, "want a JSON string or null")
		return nil
	}
	if len(s) > maxValue || strings.Contains(s, "\x00") {
		fp.fail(name, "want at most %d bytes without NUL", maxValue)
		return nil
	}
	return &s
}
