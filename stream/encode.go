package stream

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Encode returns the fields of e's entry as XADD takes them: payload for every service, and profile
// with the whole record for those of edgecache, or for a deletion version. ID, At and Degraded are
// not encoded. When the parts do not fit into the payload, beside a whole profile that does fit,
// the payload goes without them. Errors wrap ErrMalformed, ErrUnknownKind or ErrTooLarge.
func Encode(e Event) ([]any, error) {
	if err := check(e); err != nil {
		return nil, fmt.Errorf("stream: encode %q: %w", e.UserID, err)
	}
	payload := appendPayload(nil, e, parts(e))
	if len(payload) > maxPayload && e.Profile != nil {
		payload = appendPayload(nil, e, profile.Patch{})
	}
	if len(payload) > maxPayload {
		return nil, fmt.Errorf("stream: encode %q: %w: payload of %d bytes; at most %d", e.UserID, ErrTooLarge, len(payload), maxPayload)
	}
	switch {
	case e.Kind == profile.Deleted && e.Version > 0 && !e.Hint:
		return []any{fieldPayload, payload, fieldVersion, strconv.FormatInt(e.Version, 10)}, nil
	case e.Profile == nil:
		return []any{fieldPayload, payload}, nil
	}
	return []any{fieldPayload, payload, fieldProfile, profile.AppendMsgpack(nil, e.Profile)}, nil
}

// check returns nil for an event that may be published.
func check(e Event) error {
	if e.Kind.Event() == "" {
		return fmt.Errorf("%w: %d", ErrUnknownKind, e.Kind)
	}
	if err := profile.CheckID(e.UserID); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := profile.CheckVersion(e.Version); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return checkContent(e)
}

func checkContent(e Event) error {
	changes := e.Kind == profile.Created || e.Kind == profile.Updated
	switch {
	case !changes && (e.Profile != nil || e.Patch != nil):
		return fmt.Errorf("%w: %s carries no profile", ErrMalformed, e.Kind.Event())
	case e.Profile != nil && e.Patch != nil:
		return fmt.Errorf("%w: both a whole profile and parts", ErrMalformed)
	case e.Profile != nil:
		return checkWhole(e)
	case e.Patch != nil && (e.Patch.ID != e.UserID || e.Patch.Version != e.Version):
		return fmt.Errorf("%w: the parts are of %q at %d, not of %q at %d", ErrMalformed, e.Patch.ID, e.Patch.Version, e.UserID, e.Version)
	}
	return nil
}

func checkWhole(e Event) error {
	if e.Profile.ID != e.UserID || e.Profile.UpdatedAt != e.Version {
		return fmt.Errorf("%w: the profile is of %q at %d, not of %q at %d", ErrMalformed, e.Profile.ID, e.Profile.UpdatedAt, e.UserID, e.Version)
	}
	if err := e.Profile.Check(); err != nil {
		if errors.Is(err, profile.ErrTooLarge) {
			return fmt.Errorf("%w: %w", ErrTooLarge, err)
		}
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// parts returns what the payload says about the profile.
func parts(e Event) profile.Patch {
	switch p := e.Profile; {
	case p != nil:
		return p.Parts()
	case e.Patch != nil:
		return *e.Patch
	}
	return profile.Patch{}
}

func appendPayload(dst []byte, e Event, p profile.Patch) []byte {
	dst = append(append(dst, `{"event":"`...), e.Kind.Event()...)
	dst = append(append(dst, `","userId":"`...), e.UserID...) // neither needs escapes
	dst = p.AppendJSON(append(dst, '"'))
	if e.Version > 0 {
		dst = strconv.AppendInt(append(dst, `,"timestamp":`...), e.Version, 10)
	}
	return append(dst, '}')
}
