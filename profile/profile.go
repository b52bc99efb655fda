// Package profile is the record that edgecache keeps: a user's profile, the rules of its id and
// version, and its three encodings (msgpack, JSON, Redis hash). Nothing else in edgecache knows the
// wire.
package profile

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// MaxIDLen is the longest user id, in bytes.
	MaxIDLen = 128
	// MaxSize is the largest encoded profile that is read or written, in bytes, in any encoding.
	MaxSize = 64 << 10
	// MaxVersion is the highest version: the largest integer that JSON readers and Redis's Lua keep
	// exactly.
	MaxVersion = 1<<53 - 1
)

var (
	// ErrInvalidID reports an id that is not 1-128 bytes of [A-Za-z0-9._:@-].
	ErrInvalidID = errors.New("profile: invalid id")
	// ErrMalformed reports bytes or a field that are no valid profile.
	ErrMalformed = errors.New("profile: malformed")
	// ErrTooLarge reports more than MaxSize bytes.
	ErrTooLarge = errors.New("profile: too large")
	// ErrNotFound reports a user that the source of truth does not know.
	ErrNotFound = errors.New("profile: not found")
	// ErrUnavailable reports that the one that had to answer was not reached in time.
	ErrUnavailable = errors.New("profile: unavailable")
)

// Profile is what a chat node shows next to a message. A *Profile that comes out of a cache is
// shared by all its readers: read it, never change it; Clone gives a copy of your own.
type Profile struct {
	// ID is the user's id: 1-128 bytes of [A-Za-z0-9._:@-].
	ID string `json:"id"`
	// Nom is the family name.
	Nom string `json:"nom"`
	// Prenom is the given name.
	Prenom string `json:"prenom"`
	// FullName is the name to display; Complete sets it from Prenom and Nom when it is empty.
	FullName string `json:"fullName"`
	// Avatar is the URL or path of the user's picture.
	Avatar string `json:"avatar"`
	// Matricule is the registration number.
	Matricule string `json:"matricule"`
	// Ministere is the ministry that the user belongs to.
	Ministere string `json:"ministere"`
	// Sexe is "M", "F" or empty.
	Sexe string `json:"sexe"`
	// UpdatedAt is the version: milliseconds since 1970, strictly increasing per user, 0 when
	// unknown.
	UpdatedAt int64 `json:"updatedAt"`
	// Attrs holds further attributes; nil when there are none.
	Attrs map[string]string `json:"attrs,omitempty"`
}

// Batch is the source of truth's answer to a bulk lookup: every id asked for is in exactly one of
// the three.
type Batch struct {
	// Found holds the profiles by id.
	Found map[string]*Profile
	// Missing lists the ids that do not exist.
	Missing []string
	// Errors holds, by id, why one could not be answered.
	Errors map[string]error
}

// CheckID returns nil for a valid id, else an error that wraps ErrInvalidID and names the value and
// the rule.
func CheckID(id string) error {
	if len(id) == 0 {
		return fmt.Errorf("%w: it is empty; want 1-%d bytes of [A-Za-z0-9._:@-]", ErrInvalidID, MaxIDLen)
	}
	if len(id) > MaxIDLen {
		return fmt.Errorf("%w: %q… has %d bytes; want 1-%d", ErrInvalidID, id[:32], len(id), MaxIDLen)
	}
	for i := range len(id) {
		if !idBytes[id[i]] {
			return fmt.Errorf("%w: %q has byte %q at %d; want only [A-Za-z0-9._:@-]", ErrInvalidID, id, id[i:i+1], i)
		}
	}
	return nil
}

// idBytes marks the bytes that an id may have.
var idBytes = func() (ok [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:@-") {
		ok[c] = true
	}
	return ok
}()

// CheckVersion returns nil for 0 <= v <= MaxVersion, else an error that wraps ErrMalformed.
func CheckVersion(v int64) error {
	if v < 0 || v > MaxVersion {
		return fmt.Errorf("%w: updatedAt %d; want 0-%d (milliseconds since 1970)", ErrMalformed, v, int64(MaxVersion))
	}
	return nil
}

// Check returns nil for a profile that may be stored. Its errors wrap ErrInvalidID, ErrMalformed or
// ErrTooLarge and name the field.
func (p *Profile) Check() error {
	if err := CheckID(p.ID); err != nil {
		return err
	}
	if err := CheckVersion(p.UpdatedAt); err != nil {
		return err
	}
	if err := p.checkText(); err != nil {
		return err
	}
	if len(p.Attrs) > maxAttrs {
		return fmt.Errorf("%w: profile %q has %d attrs; at most %d", ErrTooLarge, p.ID, len(p.Attrs), maxAttrs)
	}
	if n := p.msgpackSize(); n > MaxSize {
		return fmt.Errorf("%w: profile %q takes %d bytes; at most %d", ErrTooLarge, p.ID, n, MaxSize)
	}
	return nil
}

// textNames are the JSON names of texts.
var textNames = [8]string{"id", "nom", "prenom", "fullName", "avatar", "matricule", "ministere", "sexe"}

// checkText refuses what is not UTF-8: JSON cannot hold it, so readers would be shown something
// else.
func (p *Profile) checkText() error {
	for i, s := range p.texts() {
		if !utf8.ValidString(*s) {
			return fmt.Errorf("%w: profile %q: %s is not UTF-8", ErrMalformed, p.ID, textNames[i])
		}
	}
	for k, v := range p.Attrs {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fmt.Errorf("%w: profile %q: attrs %.64q is not UTF-8", ErrMalformed, p.ID, k)
		}
	}
	return nil
}

// Complete sets FullName to Prenom, a space and Nom when it is empty.
func (p *Profile) Complete() {
	if p.FullName == "" {
		p.FullName = strings.TrimSpace(p.Prenom + " " + p.Nom)
	}
}

// Clone returns a deep copy that owns its strings.
func (p *Profile) Clone() *Profile {
	c := *p
	for _, s := range c.texts() {
		*s = strings.Clone(*s)
	}
	c.Attrs = nil
	if len(p.Attrs) > 0 {
		c.Attrs = make(map[string]string, len(p.Attrs))
		for k, v := range p.Attrs {
			c.Attrs[strings.Clone(k)] = strings.Clone(v)
		}
	}
	return &c
}

// texts lists the text fields in the order of the msgpack layout.
func (p *Profile) texts() [8]*string {
	return [8]*string{&p.ID, &p.Nom, &p.Prenom, &p.FullName, &p.Avatar, &p.Matricule, &p.Ministere, &p.Sexe}
}

// Patch is an update that carries only some of the plain fields; nil leaves a field as it is.
type Patch struct {
	ID        string
	Version   int64
	FullName  *string
	Avatar    *string
	Matricule *string
	Ministere *string
	Sexe      *string
}

// partNames are the JSON names of parts, which are those of the Redis hash as well.
var partNames = [5]string{FieldFullName, FieldAvatar, FieldMatricule, FieldMinistere, FieldSexe}

// parts lists the fields that a patch may carry.
func (t *Patch) parts() [5]**string {
	return [5]**string{&t.FullName, &t.Avatar, &t.Matricule, &t.Ministere, &t.Sexe}
}

// Agrees reports whether p is as the patch says, in the fields that it carries.
func (t *Patch) Agrees(p *Profile) bool {
	is := p.Parts()
	for i, part := range t.parts() {
		if *part != nil && **part != **is.parts()[i] {
			return false
		}
	}
	return true
}

// Parts returns the fields of the profile that a patch may carry, without id and version. They
// point into p.
func (p *Profile) Parts() Patch {
	return Patch{
		FullName: &p.FullName, Avatar: &p.Avatar, Matricule: &p.Matricule,
		Ministere: &p.Ministere, Sexe: &p.Sexe,
	}
}

// TextOf returns what finds the text of a profile that has this name in JSON, in any case of
// letters; nil when none has.
func TextOf(name string) func(*Profile) *string {
	for i, known := range textNames {
		if strings.EqualFold(known, name) {
			return func(p *Profile) *string { return p.texts()[i] }
		}
	}
	return nil
}

// CustomName returns the full name when it is not the one that its names give, else "". Only such a
// name is stored.
func (p *Profile) CustomName() string {
	derived := Profile{Nom: p.Nom, Prenom: p.Prenom}
	derived.Complete()
	if p.FullName == derived.FullName {
		return ""
	}
	return p.FullName
}
