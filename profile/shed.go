package profile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// DecodeJSONShed decodes as DecodeJSONLoose does, and takes profiles of services that keep other
// rules. The id is that of idField; without an idField it is "id", else "_id", which may be
// MongoDB's {"$oid":…}. A profile that is too large loses its largest fields until it fits; shed
// names them. Errors wrap ErrInvalidID, ErrMalformed or ErrTooLarge.
func DecodeJSONShed(raw json.RawMessage, idField string) (p *Profile, shed []string, err error) {
	if idField == "" {
		if p, err = DecodeJSON(raw); err == nil {
			p.Complete()
			if err = p.Check(); err == nil {
				return p, nil, nil
			}
		}
	}
	if !ValidJSONText(raw) {
		return nil, nil, fmt.Errorf("%w: JSON with text that is no Unicode", ErrMalformed)
	}
	if p, err = decodeLooseBy(raw, idField); err != nil {
		return nil, nil, err
	}
	shed = p.shed()
	p.Complete()
	shed = append(shed, p.shed()...) // the name that Complete puts together counts as well
	if err := p.Check(); err != nil {
		return nil, nil, err
	}
	return p, shed, nil
}

// decodeLooseBy decodes a profile whose id has another name, without a check.
func decodeLooseBy(raw json.RawMessage, idField string) (*Profile, error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(raw, &keys); err != nil {
		return nil, fmt.Errorf("%w: JSON: %w", ErrMalformed, err)
	}
	if keys == nil {
		return nil, fmt.Errorf("%w: JSON: null; want a profile", ErrMalformed)
	}
	id, name := keys[idField], idField
	if idField == "" {
		if id, name = keys["id"], "id"; looseOf(id).Absent() {
			id, name = objectID(keys["_id"]), "_id"
		}
	}
	if keys["id"] = id; looseOf(id).Absent() {
		return nil, fmt.Errorf("%w: %s: it is missing", ErrMalformed, name)
	}
	return decodeLoose(keys)
}

// objectID returns the text inside {"$oid":"…"}, else raw as it is.
func objectID(raw json.RawMessage) json.RawMessage {
	var oid struct {
		Text json.RawMessage `json:"$oid"`
	}
	if bytes.HasPrefix(raw, []byte("{")) && json.Unmarshal(raw, &oid) == nil && oid.Text != nil {
		return oid.Text
	}
	return raw
}

// shed empties the largest fields of a profile that is too large, and names them; the id stays.
func (p *Profile) shed() (names []string) {
	if len(p.Attrs) > maxAttrs {
		p.Attrs, names = nil, append(names, "attrs")
	}
	for p.msgpackSize() > MaxSize {
		name, size := "", 0
		for i, s := range p.texts() {
			if textNames[i] != "id" && len(*s) > size {
				name, size = textNames[i], len(*s)
			}
		}
		for key, value := range p.Attrs {
			if n := len(key) + len(value); n > size {
				name, size = "attrs."+key, n
			}
		}
		if size == 0 {
			return names
		}
		p.drop(name)
		names = append(names, name[:min(len(name), maxLooseShown)])
	}
	return names
}

// drop empties a field that shed has found.
func (p *Profile) drop(name string) {
	if key, ok := strings.CutPrefix(name, "attrs."); ok {
		if delete(p.Attrs, key); len(p.Attrs) == 0 {
			p.Attrs = nil
		}
		return
	}
	*TextOf(name)(p) = ""
}
