package profile

import "strconv"

// KeyPrefix is the beginning of a profile's Redis key; the user's id follows.
const KeyPrefix = "user:profile:"

// Names of the fields of the Redis hash. All but ext are plain text and a public contract with
// other services.
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

// AppendHash appends the fields and values that the patch carries, without its version.
func (t *Patch) AppendHash(dst []any) []any {
	for i, part := range t.parts() {
		if *part != nil {
			dst = append(dst, partNames[i], **part)
		}
	}
	return dst
}
