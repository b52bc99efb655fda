package profile

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// DecodeJSONLoose decodes a profile, strictly first, for speed; services in other languages are given some latitude:
// numbers as ids and texts, null for nothing, times as ISO 8601.
func DecodeJSONLoose(raw json.RawMessage) (*Profile, error) {
	p, err := DecodeJSON(raw)
	if err != nil {
		if !ValidJSONText(raw) {
			return nil, err
		}
		if p, err = decodeLoose(raw); err != nil {
			return nil, err
		}
	}
	p.Complete()
	if err := p.Check(); err != nil {
		return nil, err
	}
	return p, nil
}

func decodeLoose(raw json.RawMessage) (*Profile, error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(raw, &keys); err != nil {
		return nil, fmt.Errorf("%w: JSON: %w", ErrMalformed, err)
	}
	p := new(Profile)
	id, ok := LooseID(keys["id"])
	if !ok {
		return nil, fmt.Errorf("%w: id %.60s; want a string or a whole number", ErrMalformed, keys["id"])
	}
	p.ID = id
	for _, f := range []struct {
		name string
		to   *string
	}{
		{"nom", &p.Nom}, {"prenom", &p.Prenom}, {"fullName", &p.FullName}, {"avatar", &p.Avatar},
		{"matricule", &p.Matricule}, {"ministere", &p.Ministere}, {"sexe", &p.Sexe},
	} {
		if *f.to, ok = looseText(keys[f.name]); !ok {
			return nil, fmt.Errorf("%w: %s %.60s; want a string", ErrMalformed, f.name, keys[f.name])
		}
	}
	p.Attrs = LooseAttrs(keys["attrs"])
	var err error
	p.UpdatedAt, err = looseTimeRaw(keys["updatedAt"])
	return p, err
}

// LooseID returns an id, which may be a whole number in decimal.
func LooseID(raw json.RawMessage) (string, bool) {
	text, ok := looseText(raw)
	if !ok || text == "" {
		return "", false
	}
	if raw[0] != '"' {
		for _, c := range text {
			if c < '0' || c > '9' {
				return "", false
			}
		}
	}
	return text, CheckID(text) == nil
}

// looseText returns a string, the digits of a number, or "" for null or nothing.
func looseText(raw json.RawMessage) (string, bool) {
	if len(raw) == 0 || string(raw) == "null" {
		return "", true
	}
	if raw[0] == '-' || (raw[0] >= '0' && raw[0] <= '9') {
		return string(raw), true
	}
	var s string
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

// LooseAttrs keeps the attributes that are texts, numbers or true and false.
func LooseAttrs(raw json.RawMessage) map[string]string {
	var all map[string]json.RawMessage
	if json.Unmarshal(raw, &all) != nil || len(all) == 0 {
		return nil
	}
	attrs := make(map[string]string, len(all))
	for key, v := range all {
		text, ok := looseText(v)
		if b := string(v); b == "true" || b == "false" {
			text, ok = b, true
		}
		if ok && string(v) != "null" {
			attrs[key] = text
		}
	}
	if len(attrs) == 0 {
		return nil
	}
	return attrs
}

// looseTime returns milliseconds since 1970 from a number, its digits in a string, or an ISO 8601 time.
func looseTimeRaw(raw json.RawMessage) (int64, error) {
	text, ok := looseText(raw)
	if !ok {
		text = string(raw)
	}
	return LooseTime(text)
}

// LooseTime returns milliseconds since 1970 from their digits or an ISO 8601 time, 0 from nothing.
func LooseTime(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at.UnixMilli(), nil
	}
	if v, err := strconv.ParseInt(text, 10, 64); err == nil {
		return v, nil
	}
	return 0, fmt.Errorf("%w: updatedAt %.60s; want milliseconds since 1970 or an ISO 8601 time", ErrMalformed, text)
}
