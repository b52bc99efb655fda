package stream

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unsafe"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// payload is the JSON that all services share. Its fields take any JSON value, so that one that is
// wrong does not hide the others: whether a value will do is judged afterwards, the id first.
type payload struct {
	Event     profile.Loose `json:"event"`
	UserID    profile.Loose `json:"userId"`
	Timestamp profile.Loose `json:"timestamp"`
	profile.LooseParts
}

// Decode reads the fields of an entry of the stream. It is liberal in what it takes from other
// services: the timestamp may be a number, a number in a string or an ISO 8601 time; user ids and
// parts may be numbers; absent and null are the same; unknown fields are ignored. A profile field
// that is not readable beside a good payload makes the event Degraded.
//
// Errors wrap ErrMalformed, ErrUnknownKind or ErrTooLarge. The event that comes with an error has
// the UserID if that could be read and is valid, and nothing else. The event's strings may share
// memory with values.
func Decode(values map[string]any) (Event, error) {
	if name := text(values[fieldFunction]); name != "" {
		return Event{Kind: profile.Invalidated, UserID: functionsID, Hint: true, Function: name}, nil
	}
	raw := text(values[fieldPayload])
	if len(raw) > maxPayload {
		return Event{}, fmt.Errorf("%w: payload of %d bytes; at most %d", ErrTooLarge, len(raw), maxPayload)
	}
	if e, ok := decodeOwn(raw, text(values[fieldProfile])); ok {
		e.Hint = e.Version == 0
		return e, nil
	}
	var p payload
	if err := json.Unmarshal(bytesOf(raw), &p); err != nil {
		return Event{}, fmt.Errorf("%w: payload: %w", ErrMalformed, err)
	}
	id, err := p.UserID.ID()
	if err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	e, err := p.event(id, text(values[fieldProfile]))
	if err != nil {
		return Event{UserID: id}, err
	}
	e.Hint = e.Version == 0 || e.Profile == nil && !announcesDeletion(e, text(values[fieldVersion]))
	return e, nil
}

// announcesDeletion reports whether the field version says that edgecache wrote e.
func announcesDeletion(e Event, version string) bool {
	return e.Kind == profile.Deleted && version == strconv.FormatInt(e.Version, 10)
}

// decodeOwn decodes an entry whose payload is byte for byte what Encode writes for its profile,
// which is most of them: to write it again and compare takes a seventh of the time of parsing JSON.
// It reports false for every other entry.
func decodeOwn(raw, packed string) (Event, bool) {
	e := Event{Kind: profile.Updated}
	if strings.HasPrefix(raw, `{"event":"user.profile.created"`) {
		e.Kind = profile.Created
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

// event returns what the payload says of a user, with whole, the field that holds the whole profile
// if it is not empty.
func (p *payload) event(id, whole string) (Event, error) {
	kind, err := p.kind()
	if err != nil {
		return Event{}, err
	}
	e := Event{Kind: kind, UserID: id}
	if e.Version, err = p.Timestamp.Millis(); err != nil {
		return e, fmt.Errorf("%w: timestamp: %w", ErrMalformed, err)
	}
	if e.Kind == profile.Deleted || e.Kind == profile.Invalidated {
		return e, nil
	}
	if whole != "" {
		done, err := e.setWhole(whole)
		if done || err != nil {
			return e, err
		}
	}
	if e.Patch, err = p.Patch(id, e.Version); err != nil {
		return e, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return e, nil
}

func (p *payload) kind() (profile.Kind, error) {
	if !p.Event.IsText() {
		return 0, fmt.Errorf("%w: event: %s; want a text", ErrMalformed, p.Event)
	}
	name, _ := p.Event.Text()
	if kind := profile.KindOf(name); kind != 0 {
		return kind, nil
	}
	return 0, fmt.Errorf("%w: %.64q", ErrUnknownKind, name)
}

// setWhole puts the whole profile into e. It reports false when it is not readable, so that the
// parts have to do.
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
