package l2

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Fill is one answer of the origin on its way into Redis: a profile; none, when the user does not
// exist; or a failure, which only ends the lease so that the next reader may try.
type Fill struct {
	// ID is the user's id, Token the lease that Begin gave for it.
	ID, Token string
	// Profile is the origin's answer; nil when the user does not exist.
	Profile *profile.Profile
	// Failed says that the origin did not answer.
	Failed bool
	// Vouched says that the caller was told of every change for a minute, and of none above
	// Profile. Then it is taken for 10 s though Redis knows of a higher version, which nobody has
	// announced since.
	Vouched bool
}

var (
	// ErrRefused reports a fill whose lease was gone or whose profile is older than what is known.
	ErrRefused = errors.New("l2: fill refused")
	// ErrOlder is the ErrRefused of a profile that is older than what is known.
	ErrOlder = fmt.Errorf("%w: Redis knows of a newer version", ErrRefused)
)

// noAnswer stands for the version in a fill that only ends its lease.
const noAnswer = -1

// fillArgs is room for the arguments of one fill: fillHead, and the hash.
const (
	fillArgs = 21
	fillHead = 5
)

// appendArgs appends the arguments of a fill.
func (f *Fill) appendArgs(args []any, ttl int64) []any {
	head := len(args)
	args = append(args, f.Token, ttl, 0, 0, 0)
	if f.Vouched {
		args[head+3] = 1
	}
	switch {
	case f.Failed:
		args[head+2] = noAnswer
	case f.Profile != nil:
		args = profile.AppendHash(args, f.Profile)
		args[head+2], args[head+4] = f.Profile.UpdatedAt, len(args)-head-fillHead
	}
	return args
}

// Fill stores the answers, whose ids are distinct, and ends their leases. The i-th error is nil
// when stored, wraps ErrRefused when refused, else is Redis's.
func (r *Redis) Fill(ctx context.Context, fills []Fill) []error {
	if len(fills) == 0 {
		return nil
	}
	ids, errs := make([]string, len(fills)), make([]error, len(fills))
	for i, f := range fills {
		ids[i] = f.ID
	}
	s := bulkScript{script: fill, size: fillArgs}
	s.shared = []any{r.conf.Negative.Milliseconds(), r.guard()}
	s.each = func(args []any, i int) []any { return fills[i].appendArgs(args, r.ttl()) }
	var unfilled []Fill
	for i, reply := range r.runAll(ctx, s, ids) {
		r.lost.note(fills[i].Token, reply.err)
		if err := reply.filled(); err != nil {
			errs[i] = fmt.Errorf("l2: fill %q: %w", ids[i], err)
		}
		var refused redis.Error
		if errors.As(reply.err, &refused) && !fills[i].Failed {
			unfilled = append(unfilled, Fill{ID: ids[i], Token: fills[i].Token, Failed: true})
		}
	}
	// A Redis that is full, or a key of another type, refuses the record but not the end of the
	// lease, for which others wait.
	r.Fill(ctx, unfilled)
	return errs
}

// filled returns what a fill's reply says.
func (r reply) filled() error {
	switch n, ok := r.value.(int64); {
	case r.err != nil || !ok:
		return cmp.Or(r.err, errReply)
	case n == -1:
		return ErrOlder
	case n != 1:
		return ErrRefused
	}
	return nil
}
