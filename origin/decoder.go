package origin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// decoder reads the profiles of a service. The zero value is that of the contract.
type decoder struct {
	idField string       // the field that holds the id; empty: "id", or "_id"
	shed    atomic.Int64 // fields that were too large
}

// profile decodes one profile, without the fields that no profile has room for.
func (d *decoder) profile(raw json.RawMessage) (*profile.Profile, error) {
	p, shed, err := profile.DecodeJSONShed(raw, d.idField)
	d.shed.Add(int64(len(shed)))
	return p, err
}

// id returns the id of a profile that may be broken otherwise.
func (d *decoder) id(raw json.RawMessage) (string, bool) {
	var keys map[string]json.RawMessage
	if json.Unmarshal(raw, &keys) != nil {
		return "", false
	}
	only, err := json.Marshal(map[string]json.RawMessage{
		"id": keys["id"], "_id": keys["_id"], d.idField: keys[d.idField],
	})
	if err != nil {
		return "", false
	}
	p, _, err := profile.DecodeJSONShed(only, d.idField)
	if err != nil {
		return "", false
	}
	return p.ID, true
}

// identified reports whether an object has an id of its own, so that it is a profile and no wrap.
func (d *decoder) identified(object json.RawMessage, keys *wrapped) bool {
	if d.idField == "" {
		return keys.ID != nil || keys.MongoID != nil
	}
	var all map[string]json.RawMessage
	return json.Unmarshal(object, &all) == nil && all[d.idField] != nil
}

// another explains a profile of another user than was asked for. One that has the id in another
// field belongs to a service that must be told of.
func (d *decoder) another(p *profile.Profile, id string) error {
	if p.Matricule == id {
		return fmt.Errorf("the answer is about user %q; it has %q as its matricule: "+
			"name the field of the id (--origin-id-field matricule)", p.ID, id)
	}
	return fmt.Errorf("the answer is about user %q", p.ID)
}

const (
	// maxShownFields and maxShownField bound what an error says of the fields of an object.
	maxShownFields = 8
	maxShownField  = 24
)

// fieldsOf names the fields of an object, for an error.
func fieldsOf(object json.RawMessage) string {
	var all map[string]json.RawMessage
	if json.Unmarshal(object, &all) != nil || len(all) == 0 {
		return "no fields"
	}
	names := slices.Sorted(maps.Keys(all))
	more := ""
	if len(names) > maxShownFields {
		names, more = names[:maxShownFields], ", …"
	}
	for i, name := range names {
		names[i] = fmt.Sprintf("%.*q", maxShownField, name)
	}
	return "the fields " + strings.Join(names, ", ") + more
}

// inside returns what a wrap holds: "data", else "user".
func (w *wrapped) inside() json.RawMessage {
	if w.Data != nil {
		return bytes.TrimSpace(w.Data)
	}
	return bytes.TrimSpace(w.User)
}
