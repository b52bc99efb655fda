package stream

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// payload is the JSON that all services share. Its fields take any JSON value, so that one that is wrong does not hide the
// others: whether a value will do is judged afterwards, the id first.
type payload struct {
	Event     scalar `json:"event"`
	UserID    scalar `json:"userId"`
	FullName  scalar `json:"fullName"`
	Avatar    scalar `json:"avatar"`
	Matricule scalar `json:"matricule"`
	Ministere scalar `json:"ministere"`
	Sexe      scalar `json:"sexe"`
	Timestamp scalar `json:"timestamp"`
}

// Decode reads the fields of an entry of the stream. It is liberal in what it takes from other services: the timestamp may
// be a number, a number in a string or an ISO 8601 time; user ids and parts may be numbers; absent and null are the same;
// unknown fields are ignored. A profile field that is not readable beside a good payload makes the event Degraded.
//
// Errors wrap ErrMalformed, ErrUnknownKind or ErrTooLarge. The event that comes with an error has the UserID if that could
// be read and is valid, and nothing else. The event's strings may share memory with values.
func Decode(values map[string]any) (Event, error) {
	raw := text(values[fieldPayload])
	if len(raw) > MaxPayload {
		return Event{}, fmt.Errorf("%w: payload of %d bytes; at most %d", ErrTooLarge, len(raw), MaxPayload)
	}
	if e, ok := decodeOwn(raw, text(values[fieldProfile])); ok {
		return e, nil
	}
	var p payload
	if err := json.Unmarshal(bytesOf(raw), &p); err != nil {
		return Event{}, fmt.Errorf("%w: payload: %w", ErrMalformed, err)
	}
	if err := profile.CheckID(p.UserID.text); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	e, err := p.event(text(values[fieldProfile]))
	if err != nil {
		return Event{UserID: p.UserID.text}, err
	}
	return e, nil
}

// decodeOwn decodes an entry whose payload is byte for byte what Encode writes for its profile, which is most of them: to
// write it again and compare takes a seventh of the time of parsing JSON. It reports false for every other entry.
func decodeOwn(raw, packed string) (Event, bool) {
	e := Event{Kind: Updated}
	if strings.HasPrefix(raw, `{"event":"user.profile.created"`) {
		e.Kind = Created
	}
	if packed == "" || len(packed) > profile.MaxSize {
		return Event{}, false
	}
	p, err := profile.DecodeMsgpack(bytesOf(packed))
	if err != nil {
		return Event{}, false
	}
	e.UserID, e.Version, e.Profile = p.ID, p.UpdatedAt, p
	var room [1 << 10]byte
	if string(appendPayload(room[:0], e, parts(e))) != raw {
		return Event{}, false
	}
	return e, true
}

// event returns what the payload says, with whole, the field that holds the whole profile if it is not empty.
func (p *payload) event(whole string) (Event, error) {
	e := Event{Kind: parseKind(p.Event.text), UserID: p.UserID.text}
	if e.Kind == 0 && p.Event.kind == isText {
		return e, fmt.Errorf("%w: %.64q", ErrUnknownKind, p.Event.text)
	}
	if e.Kind == 0 {
		return e, p.Event.bad("event")
	}
	var err error
	if e.Version, err = p.Timestamp.version(); err != nil {
		return e, err
	}
	if e.Kind == Deleted || e.Kind == Invalidated {
		return e, nil
	}
	if whole != "" {
		done, err := e.setWhole(whole)
		if done || err != nil {
			return e, err
		}
	}
	e.Patch, err = p.patch(e.Version)
	return e, err
}

// setWhole puts the whole profile into e. It reports false when it is not readable, so that the parts have to do.
func (e *Event) setWhole(packed string) (bool, error) {
	if len(packed) > profile.MaxSize {
		return false, fmt.Errorf("%w: profile of %d bytes; at most %d", ErrTooLarge, len(packed), profile.MaxSize)
	}
	p, err := profile.DecodeMsgpack(bytesOf(packed))
	if err != nil {
		e.Degraded = true
		return false, nil
	}
	e.Profile = p
	return true, checkWhole(*e)
}

func (p *payload) patch(version int64) (*profile.Patch, error) {
	t := &profile.Patch{ID: p.UserID.text, Version: version}
	for _, part := range []struct {
		name string
		from *scalar
		to   **string
	}{
		{"fullName", &p.FullName, &t.FullName}, {"avatar", &p.Avatar, &t.Avatar}, {"matricule", &p.Matricule, &t.Matricule},
		{"ministere", &p.Ministere, &t.Ministere}, {"sexe", &p.Sexe, &t.Sexe},
	} {
		switch part.from.kind {
		case isText, isNumber:
			*part.to = &part.from.text
		case isOther:
			return nil, part.from.bad(part.name)
		}
	}
	return t, nil
}

// scalarKind is the JSON type of a scalar.
type scalarKind uint8

const (
	isAbsent scalarKind = iota // not there, or null
	isText
	isNumber
	isOther // true, false, an object or an array
)

// scalar is a JSON string or number, or the fact that it is neither.
type scalar struct {
	kind scalarKind
	text string // the string, or the number as it was written
}

// UnmarshalJSON takes any value and never fails.
func (s *scalar) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case 'n':
		*s = scalar{}
	case '"':
		if s.kind, s.text = isText, unquote(b); !profile.ValidJSONText(b) {
			s.kind = isOther
		}
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		s.kind, s.text = isNumber, string(b)
	default:
		*s = scalar{kind: isOther}
	}
	return nil
}

// unquote returns the text of a JSON string that the scanner has passed as well-formed.
func unquote(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 && isASCII(b) {
		return string(b[1 : len(b)-1])
	}
	var s string
	_ = json.Unmarshal(b, &s)
	return s
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// bad is the error for a value that will not do.
func (s *scalar) bad(name string) error {
	return fmt.Errorf("%w: %s: %.64q will not do", ErrMalformed, name, s.text)
}

// version reads a timestamp: milliseconds since 1970 as a number or in a string, or an ISO 8601 time. Absent is 0.
func (s *scalar) version() (int64, error) {
	if s.kind == isAbsent {
		return 0, nil
	}
	v, ok := milliseconds(s.text)
	if !ok || s.kind == isOther || profile.CheckVersion(v) != nil {
		return 0, s.bad("timestamp")
	}
	return v, nil
}

func milliseconds(s string) (int64, bool) {
	if v, err := strconv.ParseInt(s, 10, 64); err == nil {
		return v, true
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		return int64(f), math.Abs(f) <= profile.MaxVersion
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UnixMilli(), true
		}
	}
	return 0, false
}

// text returns the text of a field's value, as a client delivers it or as Encode returned it.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	return ""
}

// bytesOf returns the bytes of s, which must not be changed.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
