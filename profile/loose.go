package profile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Loose is a JSON value that another service has written, read with some latitude: an id or a text
// may be a number, a time may be a number, its digits or an ISO 8601 time, and what is null is not
// there. Whether a value will do is judged when it is used, so that one that is wrong does not hide
// those beside it. The zero value is not there.
type Loose struct {
	kind looseKind
	text string
}

// looseKind is the JSON type of a Loose.
type looseKind uint8

const (
	looseAbsent looseKind = iota // not there, or null
	looseText
	looseNumber
	looseOther // true, false, an object, an array, or a text that is not Unicode
)

// maxLooseShown is how much of a value an error shows, in bytes.
const maxLooseShown = 60

// UnmarshalJSON takes any value and never fails.
func (l *Loose) UnmarshalJSON(b []byte) error {
	*l = Loose{}
	switch {
	case len(b) == 0 || b[0] == 'n':
	case b[0] == '"' && ValidJSONText(b):
		l.kind, l.text = looseText, unquote(b)
	case b[0] == '-' || b[0] >= '0' && b[0] <= '9':
		l.kind, l.text = looseNumber, string(b)
	default:
		l.kind, l.text = looseOther, string(b[:min(len(b), maxLooseShown)])
	}
	return nil
}

// looseOf reads a value that the scanner has passed as well-formed.
func looseOf(raw json.RawMessage) (l Loose) {
	_ = l.UnmarshalJSON(raw)
	return l
}

// unquote returns the text of a JSON string that the scanner has passed as well-formed.
func unquote(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b[1 : len(b)-1])
	}
	var s string
	_ = json.Unmarshal(b, &s)
	return s
}

// Absent reports whether the value is not there, or null.
func (l Loose) Absent() bool { return l.kind == looseAbsent }

// IsText reports whether the value is a string.
func (l Loose) IsText() bool { return l.kind == looseText }

// Text returns a string, or a number as it was written; "" when absent. It reports false for any
// other value.
func (l Loose) Text() (string, bool) {
	if l.kind == looseOther {
		return "", false
	}
	return l.text, true
}

// String returns the value for an error message: the text, or how it begins.
func (l Loose) String() string { return l.text[:min(len(l.text), maxLooseShown)] }

// ID returns an id, which may be a whole number. Errors wrap ErrInvalidID.
func (l Loose) ID() (string, error) {
	id := l.text
	switch l.kind {
	case looseNumber:
		var ok bool
		if id, ok = wholeNumber(l.text); !ok {
			return "", fmt.Errorf("%w: the number %.60s; want a whole one of at most 2^53",
				ErrInvalidID, l.text)
		}
	case looseOther:
		return "", fmt.Errorf("%w: %s; want a text or a whole number", ErrInvalidID, l)
	}
	if err := CheckID(id); err != nil {
		return "", err
	}
	return id, nil
}

// wholeNumber returns the digits of a number, which may be written as 123, 123.0 or 1.23e2.
func wholeNumber(text string) (string, bool) {
	if strings.Trim(strings.TrimPrefix(text, "-"), "0123456789") == "" {
		return text, true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return "", false
	}
	return NumberID(f)
}

// NumberID returns the id of a user whose id is kept as a double. It reports false for one that is
// not whole, or above 2^53, where doubles leave numbers out.
func NumberID(f float64) (string, bool) {
	if f != math.Trunc(f) || math.Abs(f) > MaxVersion+1 {
		return "", false
	}
	return strconv.FormatInt(int64(f), 10), true
}

// Millis returns a time in milliseconds since 1970, as LooseMillis does; 0 when absent. Errors wrap
// ErrMalformed.
func (l Loose) Millis() (int64, error) {
	if l.kind == looseOther {
		return 0, badTime(l.String())
	}
	return LooseMillis(l.text)
}

// isoLayouts are the forms of a time that are read; one without a zone is UTC.
var isoLayouts = [...]string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"}

// LooseMillis returns milliseconds since 1970, 0 to MaxVersion, from a number, of which a fraction
// is cut off, or an ISO 8601 time; 0 from nothing. Errors wrap ErrMalformed.
func LooseMillis(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	if v, err := strconv.ParseInt(text, 10, 64); err == nil {
		return checkedTime(v, text)
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(f) <= MaxVersion {
		return checkedTime(int64(f), text)
	}
	for _, layout := range isoLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			return checkedTime(t.UnixMilli(), text)
		}
	}
	return 0, badTime(text)
}

func checkedTime(ms int64, text string) (int64, error) {
	if CheckVersion(ms) != nil {
		return 0, badTime(text)
	}
	return ms, nil
}

func badTime(text string) error {
	return fmt.Errorf("%w: the time %.60q; want milliseconds since 1970, below 2^53, or ISO 8601",
		ErrMalformed, text)
}

// LooseParts are the fields of a profile that an event may carry.
type LooseParts struct {
	FullName  Loose `json:"fullName"`
	Avatar    Loose `json:"avatar"`
	Matricule Loose `json:"matricule"`
	Ministere Loose `json:"ministere"`
	Sexe      Loose `json:"sexe"`
}

// Patch returns the change that the parts make to a user. Errors wrap ErrMalformed.
func (l *LooseParts) Patch(id string, version int64) (*Patch, error) {
	t := &Patch{ID: id, Version: version}
	from := [...]*Loose{&l.FullName, &l.Avatar, &l.Matricule, &l.Ministere, &l.Sexe}
	for i, to := range t.parts() {
		text, ok := from[i].Text()
		if !ok {
			return nil, fmt.Errorf("%w: %s: %s; want a text", ErrMalformed, partNames[i], from[i])
		}
		if !from[i].Absent() {
			*to = &text
		}
	}
	return t, nil
}

// DecodeJSONLoose decodes a profile, strictly first, for speed; services in other languages are
// given the latitude of Loose. Errors wrap ErrInvalidID, ErrMalformed or ErrTooLarge.
func DecodeJSONLoose(raw json.RawMessage) (*Profile, error) {
	p, err := DecodeJSON(raw)
	if err != nil {
		if !ValidJSONText(raw) {
			return nil, err
		}
		if p, err = decodeLooseRaw(raw); err != nil {
			return nil, err
		}
	}
	p.Complete()
	if err := p.Check(); err != nil {
		return nil, err
	}
	return p, nil
}

func decodeLooseRaw(raw json.RawMessage) (*Profile, error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(raw, &keys); err != nil {
		return nil, fmt.Errorf("%w: JSON: %w", ErrMalformed, err)
	}
	return decodeLoose(keys)
}

// decodeLoose takes the fields of a profile, and does not check their sizes.
func decodeLoose(keys map[string]json.RawMessage) (p *Profile, err error) {
	p = &Profile{Attrs: LooseAttrs(keys["attrs"])}
	if p.ID, err = looseOf(keys["id"]).ID(); err != nil {
		return nil, fmt.Errorf("%w: id: %w", ErrMalformed, err)
	}
	for i, to := range p.texts() {
		if name := textNames[i]; name != "id" {
			value, ok := looseOf(keys[name]), false
			if *to, ok = value.Text(); !ok {
				return nil, fmt.Errorf("%w: %s: %s; want a text", ErrMalformed, name, value)
			}
		}
	}
	if p.UpdatedAt, err = looseOf(keys["updatedAt"]).Millis(); err != nil {
		return nil, fmt.Errorf("updatedAt: %w", err)
	}
	return p, nil
}

// LooseAttrs keeps the attributes that are texts, numbers or true and false.
func LooseAttrs(raw json.RawMessage) map[string]string {
	var all map[string]json.RawMessage
	if json.Unmarshal(raw, &all) != nil || len(all) == 0 {
		return nil
	}
	attrs := make(map[string]string, len(all))
	for key, v := range all {
		value := looseOf(v)
		text, ok := value.Text()
		if b := string(v); b == "true" || b == "false" {
			text, ok = b, true
		}
		if ok && !value.Absent() {
			attrs[key] = text
		}
	}
	if len(attrs) == 0 {
		return nil
	}
	return attrs
}
