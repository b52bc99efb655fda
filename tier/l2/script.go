package l2

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// perCall is how many users one script call serves. The call itself costs the server about as much
// as what it does for one user. 32 keep it busy for about 100 µs, which is how long others wait.
const perCall = 32

// bulkScript is a script that serves several users in one call: keys of each, shared arguments,
// then arguments of each. It replies with a list.
type bulkScript struct {
	script *redis.Script
	shared []any
	// each appends the arguments of the i-th user, at most about size.
	each func(args []any, i int) []any
	size int
}

// reply is what a script said about one user.
type reply struct {
	value any
	err   error
}

// runAll runs a script for all ids. In a cluster each id is a call of its own, because the keys of
// two users lie in different slots.
func (r *Redis) runAll(ctx context.Context, s bulkScript, ids []string) []reply {
	out := make([]reply, len(ids))
	if err := r.health.ask(ctx); err != nil {
		for i := range out {
			out[i].err = err
		}
		return out
	}
	per := perCall
	if _, ok := r.client.(*redis.ClusterClient); ok {
		per = 1
	}
	r.runGroups(ctx, s, per, ids, out, 0, len(ids))
	return out
}

// runGroups makes one call for each per of the ids between first and last, in one pipeline when
// there are several. A call that the server refuses is made again for each of its ids, so that one
// broken record does not fail the others.
func (r *Redis) runGroups(
	ctx context.Context, s bulkScript, per int, ids []string, out []reply, first, last int,
) {
	var calls []scriptCall
	for from := first; from < last; from += per {
		calls = append(calls, s.call(ids, from, min(from+per, last)))
	}
	for n, cmd := range r.call(ctx, s.script, calls) {
		from := first + n*per
		to := min(from+per, last)
		replies, err := cmd.Slice()
		if err == nil && len(replies) != to-from {
			err = fmt.Errorf("l2: the script answered about %d users; asked about %d",
				len(replies), to-from)
		}
		var refused redis.Error
		if errors.As(err, &refused) && to-from > 1 {
			r.runGroups(ctx, s, 1, ids, out, from, to)
			continue
		}
		if wrongType(err) && r.heal(ctx, ids[from]) {
			r.runGroups(ctx, s, 1, ids, out, from, to)
			continue
		}
		for i := from; i < to; i++ {
			if out[i].err = err; err == nil {
				out[i].value = replies[i-from]
			}
		}
	}
}

// call is the call for the ids from one place to another.
func (s *bulkScript) call(ids []string, from, to int) scriptCall {
	c := scriptCall{
		keys: make([]string, 0, keysEach*(to-from)),
		args: make([]any, 0, len(s.shared)+s.size*(to-from)),
	}
	c.args = append(c.args, s.shared...)
	for i := from; i < to; i++ {
		c.keys = appendKeys(c.keys, ids[i])
		c.args = s.each(c.args, i)
	}
	return c
}

// scriptCall is what one call of a script is given.
type scriptCall struct {
	keys []string
	args []any
}

// call makes calls of one script. A server that has lost it gets it, and is called again.
func (r *Redis) call(ctx context.Context, s *redis.Script, calls []scriptCall) []*redis.Cmd {
	if len(calls) == 1 {
		began := r.health.begin()
		cmd := s.Run(ctx, r.client, calls[0].keys, calls[0].args...)
		r.health.note(began, cmd.Err())
		return []*redis.Cmd{cmd}
	}
	out := r.pipeline(ctx, s, calls)
	for _, cmd := range out {
		if unloaded(cmd.Err()) && s.Load(ctx, r.client).Err() == nil {
			return r.callAgain(ctx, s, calls, out)
		}
	}
	return out
}

// callAgain makes those calls again that met a server without the script.
func (r *Redis) callAgain(
	ctx context.Context, s *redis.Script, calls []scriptCall, out []*redis.Cmd,
) []*redis.Cmd {
	var lost []scriptCall
	for i, cmd := range out {
		if unloaded(cmd.Err()) {
			lost = append(lost, calls[i])
		}
	}
	again := r.pipeline(ctx, s, lost)
	for i, cmd := range out {
		if unloaded(cmd.Err()) {
			out[i], again = again[0], again[1:]
		}
	}
	return out
}

func (r *Redis) pipeline(ctx context.Context, s *redis.Script, calls []scriptCall) []*redis.Cmd {
	out := make([]*redis.Cmd, len(calls))
	pipe := r.client.Pipeline()
	for i, c := range calls {
		out[i] = s.EvalSha(ctx, pipe, c.keys, c.args...)
	}
	began := r.health.begin()
	_, err := pipe.Exec(ctx) // every command holds its own error as well
	r.health.note(began, err)
	return out
}

// unloaded reports that the server has lost a script: it was restarted, or another took its place.
func unloaded(err error) bool {
	return err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT")
}
