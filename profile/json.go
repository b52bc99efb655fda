package profile

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

// JSONSize returns at least the number of bytes that AppendJSON appends where nothing is escaped,
// and little more.
func (p *Profile) JSONSize() int { return p.msgpackSize() + 112 + 4*len(p.Attrs) }

// AppendJSON appends p as a JSON object with the contract's names, attrs last and only when there
// are any. Text that is not UTF-8 comes out with U+FFFD in place of each broken byte.
func AppendJSON(dst []byte, p *Profile) []byte {
	dst = slices.Grow(dst, p.JSONSize())
	dst = AppendJSONString(append(dst, `{"id":`...), p.ID)
	dst = AppendJSONString(append(dst, `,"nom":`...), p.Nom)
	dst = AppendJSONString(append(dst, `,"prenom":`...), p.Prenom)
	dst = AppendJSONString(append(dst, `,"fullName":`...), p.FullName)
	dst = AppendJSONString(append(dst, `,"avatar":`...), p.Avatar)
	dst = AppendJSONString(append(dst, `,"matricule":`...), p.Matricule)
	dst = AppendJSONString(append(dst, `,"ministere":`...), p.Ministere)
	dst = AppendJSONString(append(dst, `,"sexe":`...), p.Sexe)
	dst = strconv.AppendInt(append(dst, `,"updatedAt":`...), p.UpdatedAt, 10)
	if len(p.Attrs) > 0 {
		dst = appendJSONAttrs(append(dst, `,"attrs":`...), p.Attrs)
	}
	return append(dst, '}')
}

func appendJSONAttrs(dst []byte, attrs map[string]string) []byte {
	sep := byte('{')
	for _, k := range slices.Sorted(maps.Keys(attrs)) {
		dst = AppendJSONString(append(dst, sep), k)
		dst = AppendJSONString(append(dst, ':'), attrs[k])
		sep = ','
	}
	return append(dst, '}')
}

// AppendJSON appends what t carries as members of a JSON object, each behind a comma, without id
// and version.
func (t *Patch) AppendJSON(dst []byte) []byte {
	for i, part := range t.parts() {
		if *part != nil {
			dst = append(append(append(dst, `,"`...), partNames[i]...), `":`...)
			dst = AppendJSONString(dst, **part)
		}
	}
	return dst
}

// AppendJSONString appends s as a JSON string. The characters that HTML and JavaScript treat
// specially (<, >, &, U+2028, U+2029) are escaped as encoding/json escapes them, so the text is
// safe inside a page.
func AppendJSONString(dst []byte, s string) []byte {
	for i := range len(s) {
		if !jsonPlain[s[i]] {
			return appendJSONQuoted(dst, s)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

// jsonPlain marks the bytes that stand for themselves in a JSON string whatever surrounds them.
var jsonPlain = func() (ok [256]bool) {
	for c := byte(' '); c < utf8.RuneSelf; c++ {
		ok[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&' && c != 0x7f
	}
	return ok
}()

// appendJSONQuoted handles text with anything beyond plain ASCII.
func appendJSONQuoted(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, c := range s { // a broken byte ranges as U+FFFD
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', byte(c))
		case c < ' ' || c == '<' || c == '>' || c == '&' || c == 0x2028 || c == 0x2029:
			dst = append(dst, '\\', 'u', hex[c>>12&15], hex[c>>8&15], hex[c>>4&15], hex[c&15])
		default:
			dst = utf8.AppendRune(dst, c)
		}
	}
	return append(dst, '"')
}

// MarshalJSON is AppendJSON for encoding/json.
func (p *Profile) MarshalJSON() ([]byte, error) { return AppendJSON(nil, p), nil }

// DecodeJSON decodes one JSON object of the contract's names; names that it does not know are
// ignored. Errors wrap ErrMalformed, ErrTooLarge or ErrInvalidID.
func DecodeJSON(b []byte) (*Profile, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes of JSON; at most %d", ErrTooLarge, len(b), MaxSize)
	}
	if !ValidJSONText(b) {
		return nil, fmt.Errorf("%w: JSON with text that is no Unicode: broken UTF-8, or half of a surrogate pair", ErrMalformed)
	}
	p := new(Profile)
	if err := json.Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("%w: JSON: %w", ErrMalformed, err)
	}
	if len(p.Attrs) == 0 {
		p.Attrs = nil
	}
	if err := p.Check(); err != nil {
		return nil, err
	}
	return p, nil
}
