package postgres

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// divisionByZero is the code of the error by which a statement refuses a version that does not
// grow.
const divisionByZero = "22012"

// statement is a text that is being written, with its parameters.
type statement struct {
	args []any
	// kind and now are parameters of the outbox's row.
	kind, now string
}

func newStatement(kind profile.Kind, now int64) *statement {
	st := new(statement)
	st.kind, st.now = st.arg(int16(kind), "smallint"), st.arg(now, "bigint")
	return st
}

// arg adds a parameter and returns its place.
func (st *statement) arg(v any, typ string) string {
	st.args = append(st.args, v)
	return fmt.Sprintf("$%d::%s", len(st.args), typ)
}

// editing is the one statement that makes an edit and writes its outbox row: of the row as the
// database has it then, with what its triggers and its generated columns made of it. It returns
// seq, id, version and the row.
func (u *usersTable) editing(st *statement, e edit) (string, error) {
	if e.kind == profile.Deleted {
		return u.remove(st, e), nil
	}
	floor := st.arg(e.floor, "bigint")
	if e.kind == profile.Created {
		change, err := u.insert(st, e.after)
		return u.announced(st, change, "greatest("+floor+", (SELECT d.version FROM edgecache_deleted d WHERE d.id = w.c0))"), err
	}
	change, err := u.update(st, e.before, e.after)
	return u.announced(st, change, floor), err
}

func (u *usersTable) remove(st *statement, e edit) string {
	id, version := st.arg(e.before.ID, "text"), st.arg(e.version, "bigint")
	return "WITH w AS (DELETE FROM " + u.name + u.isID(id) + " RETURNING 1) " + outboxInsert +
		"SELECT " + strings.Join([]string{st.kind, id, version, "NULL", st.now}, ", ") + " FROM w" + outboxReturning
}

const (
	outboxInsert    = "INSERT INTO edgecache_outbox (kind, user_id, version, profile, committed_at) "
	outboxReturning = " RETURNING seq, user_id, version, profile"
)

// announced is a change of one row with the outbox row that announces it. A version that is not
// above floor divides by zero, which undoes all: what a trigger set it to is known only here.
func (u *usersTable) announced(st *statement, change, floor string) string {
	reads, packed := u.named()
	return "WITH w AS (" + change + " RETURNING " + reads + ") " + outboxInsert +
		"SELECT " + st.kind + ", c0, c9 / (c9 > " + floor + ")::int, " + packed + ", " + st.now + " FROM w" + outboxReturning
}

// named are the columns of a row as they are read, with the names c0 to c9, and the row of these as
// the outbox keeps it.
func (u *usersTable) named() (reads, packed string) {
	var exprs, names []string
	for at, read := range u.reads() {
		names = append(names, fmt.Sprintf("c%d", at))
		exprs = append(exprs, read+" AS "+names[at])
	}
	return strings.Join(exprs, ", "), "convert_to(json_build_array(" + strings.Join(names, ", ") + ")::text, 'UTF8')"
}

// insert adds a user. Attributes that are not given are left to their columns' defaults.
func (u *usersTable) insert(st *statement, p *profile.Profile) (string, error) {
	var names, values []string
	set := func(c *column, v any, typ string) {
		names, values = append(names, c.source), append(values, u.write(c, st.arg(v, typ)))
	}
	for at, text := range texts(p) {
		c := &u.columns[at]
		switch {
		case !c.writable(), at == atID && text == "":
		case at == atFullName && p.CustomName() == "" && !c.notNull:
			set(c, nil, "text")
		default:
			set(c, text, "text")
		}
	}
	for i := range u.extras {
		if v, ok := p.Attrs[u.extras[i].attribute()]; ok && u.extras[i].writable() {
			set(&u.extras[i], v, "text")
		}
	}
	if c := &u.columns[atAttrs]; c.writable() {
		object, err := u.newAttrs(p)
		if err != nil {
			return "", err
		}
		set(c, object, "text")
	}
	set(&u.columns[atUpdated], p.UpdatedAt, "bigint")
	return "INSERT INTO " + u.name + " (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(values, ", ") + ")", nil
}

// newAttrs is the object of the attributes that have no column, nil for none.
func (u *usersTable) newAttrs(p *profile.Profile) (any, error) {
	rest := maps.Clone(p.Attrs)
	for i := range u.extras {
		delete(rest, u.extras[i].attribute())
	}
	if len(rest) == 0 {
		if u.columns[atAttrs].notNull {
			return "{}", nil
		}
		return nil, nil
	}
	text, err := json.Marshal(rest)
	return string(text), err
}

// update writes the fields that differ, so that what other programs keep in the rest stays as it
// is.
func (u *usersTable) update(st *statement, before, after *profile.Profile) (string, error) {
	var sets []string
	set := func(c *column, value string) { sets = append(sets, c.source+" = "+value) }
	old := texts(before)
	for at, text := range texts(after) {
		c := &u.columns[at]
		if at == atID || !c.writable() || text == old[at] {
			continue
		}
		value := u.write(c, st.arg(text, "text"))
		// a name that follows the others stays null
		if at == atFullName && after.CustomName() == "" {
			value = "CASE WHEN " + c.source + " IS NOT NULL THEN " + value + " END"
		}
		set(c, value)
	}
	put, gone := changedAttrs(before.Attrs, after.Attrs)
	for i := range u.extras {
		c, name := &u.extras[i], u.extras[i].attribute()
		if v, ok := put[name]; ok && c.writable() {
			set(c, u.write(c, st.arg(v, "text")))
		} else if slices.Contains(gone, name) && c.writable() {
			set(c, u.write(c, orEmpty(c, "NULL::text", "''")))
		}
		delete(put, name)
		gone = slices.DeleteFunc(gone, func(g string) bool { return g == name })
	}
	if c := &u.columns[atAttrs]; c.writable() && len(put)+len(gone) > 0 {
		value, err := u.patchAttrs(st, put, gone)
		if err != nil {
			return "", err
		}
		set(c, value)
	}
	set(&u.columns[atUpdated], u.write(&u.columns[atUpdated], st.arg(after.UpdatedAt, "bigint")))
	return "UPDATE " + u.name + " SET " + strings.Join(sets, ", ") + u.isID(st.arg(before.ID, "text")), nil
}

// patchAttrs is the object with some attributes put and others gone; what is no text in it stays.
func (u *usersTable) patchAttrs(st *statement, put map[string]string, gone []string) (string, error) {
	text, err := json.Marshal(put)
	if err != nil {
		return "", err
	}
	c := &u.columns[atAttrs]
	value := "((" + u.object() + " || " + st.arg(string(text), "jsonb") + ") - " + st.arg(gone, "text[]") + ")"
	if !c.notNull {
		value = "nullif(" + value + ", '{}'::jsonb)"
	}
	return value + "::" + c.typ, nil
}

// changedAttrs are the attributes that differ.
func changedAttrs(before, after map[string]string) (put map[string]string, gone []string) {
	put, gone = map[string]string{}, []string{}
	for name, v := range after {
		if old, ok := before[name]; !ok || old != v {
			put[name] = v
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			gone = append(gone, name)
		}
	}
	return put, gone
}

// texts are the fields that are texts, in the order of the columns.
func texts(p *profile.Profile) []string {
	return []string{p.ID, p.Nom, p.Prenom, p.FullName, p.Avatar, p.Matricule, p.Ministere, p.Sexe}
}

// given are the texts that an update gives, in the order of the columns; nil for those that it does
// not.
func given(up *origin.Update) []*string {
	return []*string{nil, up.Nom, up.Prenom, up.FullName, up.Avatar, up.Matricule, up.Ministere, up.Sexe}
}

// refuse names the fields that an update would change and that the table cannot take, nil when
// there are none.
func (u *usersTable) refuse(now *profile.Profile, up *origin.Update) error {
	var errs origin.FieldErrors
	old := texts(now)
	for at, text := range given(up) {
		if c := &u.columns[at]; text != nil && !c.writable() && *text != old[at] {
			errs = append(errs, origin.FieldError{Field: c.field, Detail: c.fixed})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(up.Attrs)) {
		old, had := now.Attrs[name]
		v := up.Attrs[name]
		if v == nil && !had || v != nil && had && *v == old {
			continue
		}
		errs = append(errs, u.refuseAttr(name)...)
	}
	return orNil(errs)
}

// refuseNew is refuse for a new user.
func (u *usersTable) refuseNew(p *profile.Profile) error {
	var errs origin.FieldErrors
	for at, text := range texts(p) {
		c := &u.columns[at]
		same := text == "" || at != atID && c.source == u.columns[atID].source && text == p.ID || at == atFullName && p.CustomName() == ""
		if !c.writable() && !same {
			errs = append(errs, origin.FieldError{Field: c.field, Detail: c.fixed})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Attrs)) {
		errs = append(errs, u.refuseAttr(name)...)
	}
	return orNil(errs)
}

func (u *usersTable) refuseAttr(name string) origin.FieldErrors {
	c := u.extra(name)
	if c == nil {
		c = &u.columns[atAttrs]
	}
	if c.writable() {
		return nil
	}
	return origin.FieldErrors{{Field: "attrs." + name, Detail: c.fixed}}
}

func orNil(errs origin.FieldErrors) error {
	if len(errs) == 0 {
		return nil
	}
	return errs
}

// fieldOf is the field of a column, or the column's own name.
func (u *usersTable) fieldOf(name string) string {
	for _, c := range append(slices.Clone(u.columns), u.extras...) {
		if c.source == quoteName(name) {
			return c.field
		}
	}
	return name
}
