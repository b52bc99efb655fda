package origin

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// maxWraps is how many {"data":…} may be around an answer.
const maxWraps = 3

// wrapped are the keys that tell what an answer is. Everything else in it is ignored.
type wrapped struct {
	ID      json.RawMessage `json:"id"`
	MongoID json.RawMessage `json:"_id"`
	User    json.RawMessage `json:"user"`
	Success *bool           `json:"success"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data"`
	Users   json.RawMessage `json:"users"`
	Missing []string        `json:"missing"`
	Errors  json.RawMessage `json:"errors"`
}

// unwrap takes the {"success":true,"data":…}, or "user" for "data", off an answer. It returns the
// JSON inside, and, when that is an object, its keys. Errors wrap errNonsense.
func (d *decoder) unwrap(body []byte) (inside json.RawMessage, keys *wrapped, err error) {
	inside = bytes.TrimSpace(body)
	for range maxWraps {
		if len(inside) == 0 || inside[0] != '{' {
			return inside, nil, nil
		}
		keys = new(wrapped)
		if err := json.Unmarshal(inside, keys); err != nil {
			return nil, nil, fmt.Errorf("%w: %w: %w", errNonsense, errNoJSON, err)
		}
		if keys.Success != nil && !*keys.Success {
			return nil, nil, fmt.Errorf(`%w: "success" is false: %.200q`, errNonsense, keys.Message)
		}
		if keys.inside() == nil || d.identified(inside, keys) {
			return inside, keys, nil
		}
		inside = keys.inside()
	}
	return nil, nil, fmt.Errorf(`%w: "data" inside "data"`, errNonsense)
}

// one decodes the answer to a lookup of id: a profile, a list of one, or null for nobody.
func (d *decoder) one(body []byte, id string) (*profile.Profile, error) {
	inside, keys, err := d.unwrap(body)
	switch {
	case err != nil:
		return nil, err
	case string(inside) == "null":
		return nil, profile.ErrNotFound
	case keys == nil:
		if inside, err = onlyOne(inside); err != nil {
			return nil, err
		}
	case !d.identified(inside, keys):
		return nil, fmt.Errorf("%w: an object without %s; it has %s",
			errNonsense, cmp.Or(d.idField, "id"), fieldsOf(inside))
	}
	p, err := d.profile(inside)
	if err != nil {
		return nil, err
	}
	if p.ID != id {
		return nil, d.another(p, id)
	}
	return p, nil
}

func onlyOne(list json.RawMessage) (json.RawMessage, error) {
	var all []json.RawMessage
	if err := json.Unmarshal(list, &all); err != nil {
		return nil, fmt.Errorf("%w: %w: %w", errNonsense, errNoJSON, err)
	}
	switch len(all) {
	case 0:
		return nil, profile.ErrNotFound
	case 1:
		return all[0], nil
	default:
		return nil, fmt.Errorf("%w: %d profiles instead of one", errNonsense, len(all))
	}
}

// errLeftOut is why an id that the answer says nothing about is an error and not a missing user.
var errLeftOut = errors.New("the answer says nothing about it")

// bulkAnswer collects what an answer says about the ids that were asked for.
type bulkAnswer struct {
	decoder   *decoder
	batch     profile.Batch
	undecided map[string]bool // ids that nothing was said about yet
	broken    bool            // it has a profile that cannot be told whose it is
}

func newBulkAnswer(d *decoder, ids []string) *bulkAnswer {
	b := &bulkAnswer{decoder: d, batch: profile.Batch{Found: make(map[string]*profile.Profile, len(ids)), Errors: map[string]error{}},
		undecided: make(map[string]bool, len(ids))}
	for _, id := range ids {
		b.undecided[id] = true
	}
	return b
}

// bulk decodes the answer to a lookup of ids, which are distinct:
// {"users":{id:profile},"missing":[],"errors":{}}, or a list of profiles, alone or as "users". In a
// list, who is not there does not exist.
func (d *decoder) bulk(body []byte, ids []string) (profile.Batch, error) {
	b := newBulkAnswer(d, ids)
	var s strictAnswer
	if d.idField == "" && json.Unmarshal(body, &s) == nil && s.complete() {
		b.takeStrict(&s)
		return b.batch, nil
	}
	err := b.takeLoose(body)
	return b.batch, err
}

// strictAnswer is the contract's answer to the letter. It is decoded in one go, where takeLoose
// goes over every profile three times.
type strictAnswer struct {
	Success *bool                       `json:"success"`
	Data    json.RawMessage             `json:"data"`
	Users   map[string]*profile.Profile `json:"users"`
	Missing []string                    `json:"missing"`
	Errors  map[string]string           `json:"errors"`
}

// complete makes the profiles what Client promises of them and reports whether all of them can be
// taken.
func (s *strictAnswer) complete() bool {
	if s.Users == nil || s.Data != nil || s.Success != nil && !*s.Success {
		return false
	}
	for id, p := range s.Users {
		if p == nil || p.ID != id {
			return false
		}
		if p.Complete(); p.Check() != nil {
			return false
		}
		if len(p.Attrs) == 0 {
			p.Attrs = nil
		}
	}
	return true
}

func (b *bulkAnswer) takeStrict(s *strictAnswer) {
	for id, p := range s.Users {
		b.take(id, p, nil)
	}
	b.takeRest(s.Missing, s.Errors)
}

// takeLoose takes the answer of a service that takes liberties, or a broken one.
func (b *bulkAnswer) takeLoose(body []byte) error {
	inside, keys, err := b.decoder.unwrap(body)
	if err != nil {
		return err
	}
	if keys != nil {
		if keys.Users == nil {
			return fmt.Errorf("%w: an object without users or data; it has %s",
				errNonsense, fieldsOf(inside))
		}
		inside = bytes.TrimSpace(keys.Users)
	}
	if len(inside) > 0 && inside[0] == '{' {
		return b.takeMap(inside, keys)
	}
	return b.takeList(inside)
}

// takeList takes profiles that tell by themselves whose they are.
func (b *bulkAnswer) takeList(list json.RawMessage) error {
	var all []json.RawMessage
	if err := json.Unmarshal(list, &all); err != nil || all == nil {
		return fmt.Errorf("%w: want a list of profiles, or an object with users", errNonsense)
	}
	for _, raw := range all {
		p, err := b.decoder.profile(raw)
		if err != nil {
			b.takeBroken(raw, broken(err))
			continue
		}
		b.take(p.ID, p, nil)
	}
	for id := range b.undecided {
		if b.broken { // the one that is broken may be this one
			b.batch.Errors[id] = fmt.Errorf("%w: %w", profile.ErrUnavailable, errLeftOut)
			continue
		}
		b.batch.Missing = append(b.batch.Missing, id)
	}
	return nil
}

// takeMap takes profiles by id; keys has who is missing or failed.
func (b *bulkAnswer) takeMap(users json.RawMessage, keys *wrapped) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(users, &all); err != nil {
		return fmt.Errorf("%w: %w: %w", errNonsense, errNoJSON, err)
	}
	for id, raw := range all {
		p, err := b.decoder.profile(raw)
		if err == nil && p.ID != id {
			if b.decoder.idField != "" && b.undecided[p.ID] {
				id = p.ID // the service's key is another of its fields
			} else {
				err = fmt.Errorf("its profile has id %q", p.ID)
			}
		}
		if err != nil {
			err = broken(err)
		}
		b.take(id, p, err)
	}
	var failed map[string]string
	_ = json.Unmarshal(keys.Errors, &failed) // in another shape they say nothing about single ids
	b.takeRest(keys.Missing, failed)
	return nil
}

// takeRest takes who is missing or failed; those who are left then were left out.
func (b *bulkAnswer) takeRest(missing []string, failed map[string]string) {
	for _, id := range missing {
		if b.undecided[id] {
			delete(b.undecided, id)
			b.batch.Missing = append(b.batch.Missing, id)
		}
	}
	for id, why := range failed {
		b.take(id, nil, errors.New(why))
	}
	for id := range b.undecided {
		b.batch.Errors[id] = fmt.Errorf("%w: %w", profile.ErrUnavailable, errLeftOut)
	}
}

// broken marks what is wrong with a profile. It keeps no other sentinel of err: an id that is wrong
// in an answer is no fault of who asked.
func broken(err error) error {
	return fmt.Errorf("%w: %w: %v", profile.ErrMalformed, errNonsense, err)
}

// take notes a profile, or why there is none; the first word about an id counts, others' ids do
// not.
func (b *bulkAnswer) take(id string, p *profile.Profile, err error) {
	if !b.undecided[id] {
		return
	}
	delete(b.undecided, id)
	if err != nil {
		b.batch.Errors[id] = fmt.Errorf("%w: user %q: %w", profile.ErrUnavailable, id, err)
		return
	}
	b.batch.Found[id] = p
}

// takeBroken notes a profile that cannot be used, for its user when it still tells who that is.
func (b *bulkAnswer) takeBroken(raw json.RawMessage, err error) {
	if id, ok := b.decoder.id(raw); ok {
		b.take(id, nil, err)
		return
	}
	b.broken = true
}

// decodeHealth is liberal: a service that answers with 2xx is well.
func decodeHealth(body []byte) Health {
	var h Health
	_ = json.Unmarshal(body, &h)
	if h.Status == "" {
		h.Status = "ok"
	}
	return h
}
