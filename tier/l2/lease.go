package l2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// LeaseReply is what Begin says about one id.
type LeaseReply struct {
	// Kind says what the caller is to do; it means nothing beside an Err.
	Kind LeaseKind
	// Token is the caller's lease when Kind is Leased.
	Token string
	// Worth says what the record is worth when Kind is Present.
	Worth Standing
	// Wait is how long the lease of another node lasts, at most, when Kind is Busy.
	Wait time.Duration
	// Err is Redis's error, or why the record that is there could not be decoded, which wraps
	// profile.ErrMalformed or profile.ErrTooLarge.
	Err error
}

// LeaseKind is the kind of a LeaseReply.
type LeaseKind int

const (
	// Leased means that the caller is to load the profile.
	Leased LeaseKind = iota
	// Present means that Redis has the record, which is where the caller made room for it.
	Present
	// Absent means that the user is known not to exist.
	Absent
	// Busy means that another has the lease with this token, and loads the profile.
	Busy
)

// String returns "leased", "present", "absent", "busy", and "kind(n)" for any other value.
func (k LeaseKind) String() string {
	if names := [...]string{"leased", "present", "absent", "busy"}; k >= 0 && int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind(%d)", int(k))
}

// errReply reports a reply of a script that is none of those it makes.
var errReply = errors.New("l2: the script's reply makes no sense")

// Ask is a question for one user's profile.
type Ask struct {
	// ID is the user's id.
	ID string
	// MinVersion is the lowest version that the caller accepts.
	MinVersion int64
	// Hint is the last hint that the caller knows of, for which the origin must have been asked
	// since; "" for none. See Hint.
	Hint string
	// Refused is "x" and the Seal of a record that the caller does not take, "" for none: the
	// record is not present as long as it has that seal.
	Refused string
}

// Begin asks for the right to load what asks are for, of distinct users. It is a read as well: a
// record that is there is decoded into room(i).
func (r *Redis) Begin(ctx context.Context, asks []Ask, room Room) []LeaseReply {
	out, ids := make([]LeaseReply, len(asks)), make([]string, len(asks))
	for i := range asks {
		ids[i] = asks[i].ID
	}
	token := r.token()
	s := bulkScript{script: begin, size: 3}
	s.shared = []any{
		token, r.conf.Lease.Milliseconds(), r.guard(), r.conf.Negative.Milliseconds(),
	}
	s.each = func(args []any, i int) []any {
		return append(args, asks[i].MinVersion, asks[i].Hint, asks[i].Refused)
	}
	late := ctx.Err() != nil // then nothing is sent
	for i, reply := range r.runAll(ctx, s, ids) {
		if !late {
			r.lost.note(token, reply.err)
		}
		out[i].Token = token
		record, err := out[i].read(reply)
		if err != nil {
			out[i].Err = fmt.Errorf("l2: lease for %q: %w", ids[i], err)
		} else if out[i].Kind == Busy && r.lost.has(out[i].Token) {
			out[i].Kind = Leased
		} else if out[i].Kind == Present {
			out[i].Worth, out[i].Err = decodeReply(ids[i], record, room(i))
		}
	}
	return out
}

// read takes a reply of the script, and returns the record in it.
func (v *LeaseReply) read(r reply) (record []any, err error) {
	answer, _ := r.value.([]any)
	code, ok := r.value.(int64)
	if len(answer) > 1 {
		code, ok = answer[0].(int64)
	}
	v.Kind = LeaseKind(code)
	needs := map[LeaseKind]int{Present: 2, Busy: 3}[v.Kind]
	switch {
	case r.err != nil || !ok || len(answer) < needs:
		return nil, cmp.Or(r.err, errReply)
	case v.Kind == Present:
		return answer[1:], nil
	case v.Kind == Busy:
		ms, _ := answer[1].(int64)
		v.Wait = time.Duration(ms) * time.Millisecond
		v.Token, _ = answer[2].(string)
	}
	return nil, nil
}

// decodeReply decodes the names and values that a script returned.
func decodeReply(id string, pairs []any, p *profile.Profile) (Standing, error) {
	p.ID = id
	record := profile.Record{Profile: p}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, _ := pairs[i].(string)
		value, _ := pairs[i+1].(string)
		if err := record.Set(name, value); err != nil {
			return Standing{}, fmt.Errorf("l2: decode %q: %w", id, err)
		}
	}
	return judged(&record)
}
