package profile

import (
	"fmt"
	"strconv"
	"unsafe"
)

// KeyPrefix is the beginning of a profile's Redis key; the user's id follows.
const KeyPrefix = "user:profile:"

// Names of the fields of the Redis hash. All but ext are plain text and a public contract with other services.
const (
	FieldFullName  = "fullName"
	FieldAvatar    = "avatar"
	FieldMatricule = "matricule"
	FieldMinistere = "ministere"
	FieldSexe      = "sexe"
	FieldUpdatedAt = "updatedAt"
	FieldExt       = "ext"
)

// Key returns the Redis key of the profile of id.
func Key(id string) string { return KeyPrefix + id }

// AppendHash appends the fields and values of p's Redis hash in turn, as HSET takes them: 7 pairs.
func AppendHash(dst []any, p *Profile) []any {
	return append(dst,
		FieldFullName, p.FullName,
		FieldAvatar, p.Avatar,
		FieldMatricule, p.Matricule,
		FieldMinistere, p.Ministere,
		FieldSexe, p.Sexe,
		FieldUpdatedAt, strconv.FormatInt(p.UpdatedAt, 10),
		FieldExt, AppendExt(nil, p))
}

// AppendHash appends the fields and values that the patch carries, its version among them.
func (t *Patch) AppendHash(dst []any) []any {
	dst = append(dst, FieldUpdatedAt, strconv.FormatInt(t.Version, 10))
	for i, part := range t.parts() {
		if *part != nil {
			dst = append(dst, partNames[i], **part)
		}
	}
	return dst
}

// SetHashField takes one field of a Redis hash into p. Fields that it does not know, which another service may have
// written, are ignored. The strings of p then point into value. Errors wrap ErrMalformed or ErrTooLarge.
func (p *Profile) SetHashField(name, value string) error {
	switch name {
	case FieldFullName:
		p.FullName = value
	case FieldAvatar:
		p.Avatar = value
	case FieldMatricule:
		p.Matricule = value
	case FieldMinistere:
		p.Ministere = value
	case FieldSexe:
		p.Sexe = value
	case FieldUpdatedAt:
		return p.setVersion(value)
	case FieldExt:
		return p.decodeExt(unsafe.Slice(unsafe.StringData(value), len(value)))
	}
	return nil
}

func (p *Profile) setVersion(value string) error {
	v, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return fmt.Errorf("%w: updatedAt %.40q; want milliseconds since 1970 in decimal", ErrMalformed, value)
	}
	if err := CheckVersion(v); err != nil {
		return err
	}
	p.UpdatedAt = v
	return nil
}
