// Package record turns profiles into rows of a table and back, the same for every database.
package record

import (
	"database/sql"
	"encoding/json"
	"fmt"

	"strings"
	"unicode/utf8"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Each calls visit for each row, and closes rows.
func Each(rows *sql.Rows, visit func(*profile.Profile)) error {
	defer rows.Close()
	for rows.Next() {
		p, err := Scan(rows)
		if err != nil {
			return err
		}
		visit(p)
	}
	return rows.Err()
}

// Scan reads one row of columns.
func Scan(row interface{ Scan(...any) error }) (*profile.Profile, error) {
	p := new(profile.Profile)
	var fullName, attrs sql.NullString
	err := row.Scan(&p.ID, &p.Nom, &p.Prenom, &fullName, &p.Avatar, &p.Matricule, &p.Ministere, &p.Sexe, &attrs, &p.UpdatedAt)
	if err != nil {
		return nil, err
	}
	p.FullName = fullName.String
	p.Complete()
	if attrs.Valid {
		if err := json.Unmarshal([]byte(attrs.String), &p.Attrs); err != nil {
			return nil, fmt.Errorf("attrs of %q: %w", p.ID, err)
		}
	}
	return p, nil
}

// Args are the values of columns for p.
func Args(p *profile.Profile) ([]any, error) {
	var fullName, attrs any
	if name := p.CustomName(); name != "" {
		fullName = name
	}
	if len(p.Attrs) > 0 {
		text, err := json.Marshal(p.Attrs)
		if err != nil {
			return nil, err
		}
		attrs = string(text)
	}
	return []any{p.ID, p.Nom, p.Prenom, fullName, p.Avatar, p.Matricule, p.Ministere, p.Sexe, attrs, p.UpdatedAt}, nil
}

// Check returns nil for a profile that every store can keep: valid, and its texts UTF-8 without
// NUL, which PostgreSQL refuses.
func Check(p *profile.Profile) error {
	if err := p.Check(); err != nil {
		return err
	}
	for _, s := range []string{p.Nom, p.Prenom, p.FullName, p.Avatar, p.Matricule, p.Ministere, p.Sexe} {
		if !storableText(s) {
			return fmt.Errorf("%w: user %q: a field is not UTF-8, or has a NUL byte", profile.ErrMalformed, p.ID)
		}
	}
	for k, v := range p.Attrs {
		if !storableText(k) || !storableText(v) {
			return fmt.Errorf("%w: user %q: attribute %q is not UTF-8, or has a NUL byte", profile.ErrMalformed, p.ID, k)
		}
	}
	return nil
}

func storableText(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

// Columns are those of personnel in the order of scanProfile.
const Columns = "id, nom, prenom, full_name, avatar, matricule, ministere, sexe, attrs, updated_at"
