package origin

import (
	"strings"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Update is a partial change: nil leaves a field as it is.
type Update struct {
	// Nom is the family name.
	Nom *string `json:"nom,omitempty"`
	// Prenom is the given name.
	Prenom *string `json:"prenom,omitempty"`
	// FullName is the name to display when it is not Prenom and Nom; "" makes it follow them again.
	FullName *string `json:"fullName,omitempty"`
	// Avatar is the URL or path of the picture.
	Avatar *string `json:"avatar,omitempty"`
	// Matricule is the registration number.
	Matricule *string `json:"matricule,omitempty"`
	// Ministere is the ministry.
	Ministere *string `json:"ministere,omitempty"`
	// Sexe is "M", "F" or "".
	Sexe *string `json:"sexe,omitempty"`
	// Attrs is merged into the attributes key by key (RFC 7396): a value sets its key, nil removes
	// it, others stay.
	Attrs map[string]*string `json:"attrs,omitempty"`
	// IfMatch makes the change conditional: the user's version must be one of these. nil is
	// unconditional.
	IfMatch []int64 `json:"-"`
}

// texts pairs the plain fields of an update with those of a profile, FullName excepted.
func (u *Update) texts(p *profile.Profile) [6]struct {
	to   *string
	from *string
} {
	return [6]struct {
		to   *string
		from *string
	}{
		{&p.Nom, u.Nom}, {&p.Prenom, u.Prenom}, {&p.Avatar, u.Avatar},
		{&p.Matricule, u.Matricule}, {&p.Ministere, u.Ministere}, {&p.Sexe, u.Sexe},
	}
}

// Apply returns old with u's fields, owning its strings. The full name goes on following the names
// unless it was, or is now, given separately.
func (u *Update) Apply(old *profile.Profile) *profile.Profile {
	p := old.Clone()
	p.FullName = p.CustomName()
	for _, f := range u.texts(p) {
		if f.from != nil {
			*f.to = strings.Clone(*f.from)
		}
	}
	if u.FullName != nil {
		p.FullName = strings.Clone(*u.FullName)
	}
	p.Attrs = mergeAttrs(p.Attrs, u.Attrs)
	p.Complete()
	return p
}

func mergeAttrs(attrs map[string]string, changes map[string]*string) map[string]string {
	if attrs == nil && len(changes) > 0 {
		attrs = make(map[string]string, len(changes))
	}
	for k, v := range changes {
		if v == nil {
			delete(attrs, k)
			continue
		}
		attrs[strings.Clone(k)] = strings.Clone(*v)
	}
	if len(attrs) == 0 {
		return nil
	}
	return attrs
}

// Empty reports whether u changes nothing.
func (u *Update) Empty() bool {
	p := new(profile.Profile)
	for _, f := range u.texts(p) {
		if f.from != nil {
			return false
		}
	}
	return u.FullName == nil && len(u.Attrs) == 0
}

// UpdateFields are the fields that an update may carry.
const UpdateFields = "nom, prenom, fullName, avatar, matricule, ministere, sexe, attrs"
