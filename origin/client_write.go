package origin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Written is what the service says about a change that it committed.
type Written struct {
	// Profile is the user after the change, nil after a delete, and when another service than this
	// package's left it out.
	Profile *profile.Profile
	// Version is the user's version from this change on, 0 when the service left it out.
	Version int64
	// Relayed tells whether the change was announced already; if not, that will follow.
	Relayed bool
}

// Create adds a user; p.UpdatedAt is the origin's to set. ErrExists when the id is taken.
//
// No write is repeated after an error: one that wraps profile.ErrUnavailable may have been
// committed or not.
func (c *Client) Create(ctx context.Context, p *profile.Profile) (Written, error) {
	op := fmt.Sprintf("create %q", p.ID)
	if err := CheckNewID(p.ID); err != nil {
		return Written{}, &Error{Op: op, Err: err}
	}
	body := struct {
		ID string `json:"id"`
		Update
	}{p.ID, updateOf(p)}
	return c.write(ctx, &call{op: op, method: http.MethodPost, path: "/"}, body)
}

// updateOf is an update that sets all that p has.
func updateOf(p *profile.Profile) Update {
	u := Update{Nom: &p.Nom, Prenom: &p.Prenom, Avatar: &p.Avatar, Matricule: &p.Matricule, Ministere: &p.Ministere, Sexe: &p.Sexe}
	if name := p.CustomName(); name != "" {
		u.FullName = &name
	}
	if len(p.Attrs) > 0 {
		u.Attrs = make(map[string]*string, len(p.Attrs))
		for k, v := range p.Attrs {
			u.Attrs[k] = &v
		}
	}
	return u
}

// Put changes the fields that u gives, if u.IfMatch is nil or has the user's version. Errors wrap
// profile.ErrNotFound, ErrVersion, or profile.ErrMalformed with the fields in Error.Fields.
func (c *Client) Put(ctx context.Context, id string, u Update) (Written, error) {
	op := fmt.Sprintf("change %q", id)
	if err := CheckNewID(id); err != nil {
		return Written{}, &Error{Op: op, Err: err}
	}
	defer c.malformed.forget(id)
	return c.write(ctx, &call{op: op, method: http.MethodPut, path: "/" + id, ifMatch: u.IfMatch}, u)
}

// Delete removes a user, if ifMatch is nil or has the user's version. Errors wrap
// profile.ErrNotFound or ErrVersion.
func (c *Client) Delete(ctx context.Context, id string, ifMatch []int64) (Written, error) {
	op := fmt.Sprintf("delete %q", id)
	if err := CheckNewID(id); err != nil {
		return Written{}, &Error{Op: op, Err: err}
	}
	return c.write(ctx, &call{op: op, method: http.MethodDelete, path: "/" + id, ifMatch: ifMatch}, nil)
}

// write sends a change, once.
func (c *Client) write(ctx context.Context, call *call, body any) (w Written, err error) {
	if body != nil {
		if call.body, err = json.Marshal(body); err != nil {
			return Written{}, &Error{Op: call.op, Err: err}
		}
	}
	call.limit, call.timeout = maxOneBody, c.cfg.Timeout
	call.decode = func(status int, body []byte) error {
		w = c.decoder.written(body)
		w.Relayed = status != http.StatusAccepted
		return nil
	}
	if err := c.do(ctx, call); err != nil {
		return Written{}, err
	}
	return w, nil
}

// written is liberal: a service that answers a write with 2xx made it, whatever else it says.
func (d *decoder) written(body []byte) Written {
	inside, _, err := d.unwrap(body)
	if err != nil {
		return Written{}
	}
	if p, err := d.profile(inside); err == nil && p.UpdatedAt != 0 {
		return Written{Profile: p, Version: p.UpdatedAt}
	}
	var gone Deletion
	_ = json.Unmarshal(inside, &gone)
	return Written{Version: gone.Version}
}

// Deletion is the answer to a DELETE.
type Deletion struct {
	ID      string `json:"id"`
	Version int64  `json:"version"`
}
