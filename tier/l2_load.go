package tier

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// The bulk half of L2: what a load does. One id goes through go-redis's auto-pipelining, several go in one pipeline.

// overlapFrom is from how many ids on a read goes in two halves, so that one is decoded while Redis works on the other. Below
// that the second trip costs more than it saves.
const overlapFrom = 32

// get reads the profiles of ids; out[i] answers ids[i] and is nil when Redis has none. fails[i] is why one could not be
// read or decoded; an error of Redis itself is the same in all that it struck.
func (l *L2) get(ctx context.Context, ids []string) (out []*entry, fails []error) {
	out, fails = make([]*entry, len(ids)), make([]error, len(ids))
	if len(ids) < overlapFrom {
		l.getPart(ctx, ids, out, fails)
		return out, fails
	}
	half := len(ids) / 2
	panicked := make(chan any, 1)
	go func() {
		defer func() { panicked <- recover() }()
		l.getPart(ctx, ids[half:], out[half:], fails[half:])
	}()
	l.getPart(ctx, ids[:half], out[:half], fails[:half])
	if r := <-panicked; r != nil {
		panic(r) // here it is caught like any other panic of a load
	}
	return out, fails
}

// getPart reads ids in one pipeline.
func (l *L2) getPart(ctx context.Context, ids []string, out []*entry, fails []error) {
	if err := l.health.ask(ctx); err != nil {
		for i := range fails {
			fails[i] = err
		}
		return
	}
	pipe := l.client.Pipeline()
	cmds := make([]*redis.StringSliceCmd, len(ids))
	for i, id := range ids {
		cmds[i] = hgetall(ctx, id)
		_ = pipe.Process(ctx, cmds[i])
	}
	l.health.begin()
	_, err := pipe.Exec(ctx) // every command holds its own error as well
	l.health.note(err)
	for i, cmd := range cmds {
		out[i], fails[i] = decodeHash(ids[i], cmd)
	}
}

// getOne is get for one id.
func (l *L2) getOne(ctx context.Context, id string) (*entry, error) {
	if err := l.health.ask(ctx); err != nil {
		return nil, err
	}
	cmd := hgetall(ctx, id)
	l.health.begin()
	err := l.readOne(ctx, cmd)
	l.health.note(err)
	if err != nil {
		return nil, fmt.Errorf("tier: read %q from Redis: %w", id, err)
	}
	return decodeHash(id, cmd)
}

// readOne reads alone while nobody else reads: a pipeline of one costs two switches of goroutine and saves nothing.
func (l *L2) readOne(ctx context.Context, cmd redis.Cmder) error {
	defer l.reading.Add(-1)
	if l.reading.Add(1) == 1 {
		return l.client.Process(ctx, cmd)
	}
	return l.auto.Submit(ctx, cmd).WaitContext(ctx)
}

// hgetall is the command whose reply is the flat list of names and values that RESP2 sends: go-redis's own HGETALL makes a
// map of it first, which takes as long as all the rest of the decoding.
func hgetall(ctx context.Context, id string) *redis.StringSliceCmd {
	return redis.NewStringSliceCmd(ctx, "hgetall", profile.Key(id))
}

// decodeHash makes an entry of a hash; nil when there is none.
func decodeHash(id string, cmd *redis.StringSliceCmd) (*entry, error) {
	fields, err := cmd.Result()
	if err != nil {
		return nil, fmt.Errorf("tier: read %q from Redis: %w", id, err)
	}
	if len(fields) == 0 {
		return nil, nil
	}
	e := new(entry)
	e.profile.ID = id
	for i := 0; i+1 < len(fields); i += 2 {
		if err := e.profile.SetHashField(fields[i], fields[i+1]); err != nil {
			return nil, fmt.Errorf("tier: decode %q: %w", id, err)
		}
	}
	return checked(e)
}

// checked refuses what another service wrote too large to keep.
func checked(e *entry) (*entry, error) {
	if err := e.profile.Check(); err != nil {
		return nil, fmt.Errorf("tier: decode: %w", err)
	}
	return e, nil
}

// verdict is what begin said about one id.
type verdict struct {
	kind  verdictKind
	entry *entry
	wait  time.Duration
	token string
	err   error
}

type verdictKind int

const (
	leased  verdictKind = iota // this node loads; token is its lease
	present                    // entry holds the record
	absent                     // the user is known not to exist
	busy                       // another has the lease with this token, for at most wait
)

// begin asks for the right to load each id; known[i] is the lowest version that the caller of ids[i] accepts.
func (l *L2) begin(ctx context.Context, ids []string, known []int64) []verdict {
	out := make([]verdict, len(ids))
	token := l.token()
	s := bulkScript{script: begin, size: 1}
	s.shared = []any{token, l.conf.Lease.Milliseconds(), l.guard(), l.conf.Negative.Milliseconds()}
	s.each = func(args []any, i int) []any { return append(args, known[i]) }
	late := ctx.Err() != nil // then nothing is sent
	for i, r := range l.runAll(ctx, s, ids) {
		if !late {
			l.lost.note(token, r.err)
		}
		out[i].token = token
		if out[i].read(ids[i], r); out[i].kind == busy && l.lost.has(out[i].token) {
			out[i].kind = leased
		}
	}
	return out
}

func (v *verdict) read(id string, r reply) {
	answer, _ := r.value.([]any)
	code, ok := r.value.(int64)
	if len(answer) > 1 {
		code, ok = answer[0].(int64)
	}
	if needs := verdictKind(code); r.err != nil || !ok || needs == present && len(answer) < 2 || needs == busy && len(answer) < 3 {
		v.err = fmt.Errorf("tier: lease for %q: %w", id, cmp.Or(r.err, errReply))
		return
	}
	switch v.kind = verdictKind(code); v.kind {
	case present:
		v.entry, v.err = decodeReply(id, answer[1:])
	case busy:
		ms, _ := answer[1].(int64)
		v.wait = time.Duration(ms) * time.Millisecond
		v.token, _ = answer[2].(string)
	}
}

func decodeReply(id string, pairs []any) (*entry, error) {
	e := new(entry)
	e.profile.ID = id
	for i := 0; i+1 < len(pairs); i += 2 {
		name, _ := pairs[i].(string)
		value, _ := pairs[i+1].(string)
		if err := e.profile.SetHashField(name, value); err != nil {
			return nil, fmt.Errorf("tier: decode %q: %w", id, err)
		}
	}
	return checked(e)
}

// filling is one answer of the origin on its way into L2: a profile; none, when the user does not exist; or a failure,
// which only ends the lease so that the next reader may try.
type filling struct {
	id, token string
	profile   *profile.Profile
	failed    bool
}

// appendArgs appends the arguments of a fill.
func (f *filling) appendArgs(args []any, ttl int64) []any {
	head := len(args)
	args = append(args, f.token, ttl, 0, 0)
	switch {
	case f.failed:
		args[head+2] = noAnswer
	case f.profile != nil:
		args = profile.AppendHash(args, f.profile)
		args[head+2], args[head+3] = f.profile.UpdatedAt, len(args)-head-fillHead
	}
	return args
}

// noAnswer stands for the version in a fill that only ends its lease.
const noAnswer = -1

// fillArgs is room for the arguments of one fill: fillHead, and the hash.
const (
	fillArgs = 20
	fillHead = 4
)

// errReply reports a reply of a script that is none of those it makes.
var errReply = errors.New("tier: the script's reply makes no sense")

// errRefused reports a fill whose lease was gone or whose profile is older than what is known; errOlder is the latter alone.
var (
	errRefused = errors.New("tier: fill refused")
	errOlder   = fmt.Errorf("%w: Redis knows of a newer version", errRefused)
)

// fill stores the answers, whose ids are distinct. The i-th error is nil when stored, wraps errRefused when refused, else is Redis's.
func (l *L2) fill(ctx context.Context, fills []filling) []error {
	if len(fills) == 0 {
		return nil
	}
	ids, errs := make([]string, len(fills)), make([]error, len(fills))
	for i, f := range fills {
		ids[i] = f.id
	}
	s := bulkScript{script: fill, shared: []any{l.conf.Negative.Milliseconds(), l.guard()}, size: fillArgs}
	s.each = func(args []any, i int) []any { return fills[i].appendArgs(args, l.ttl()) }
	var unfilled []filling
	for i, r := range l.runAll(ctx, s, ids) {
		l.lost.note(fills[i].token, r.err)
		var refused redis.Error
		if errors.As(r.err, &refused) && !fills[i].failed {
			unfilled = append(unfilled, filling{id: ids[i], token: fills[i].token, failed: true})
		}
		switch n, ok := r.value.(int64); {
		case r.err != nil || !ok:
			errs[i] = fmt.Errorf("tier: fill %q: %w", ids[i], cmp.Or(r.err, errReply))
		case n == -1:
			errs[i] = fmt.Errorf("tier: fill %q: %w", ids[i], errOlder)
		case n != 1:
			errs[i] = fmt.Errorf("tier: fill %q: %w", ids[i], errRefused)
		}
	}
	// A Redis that is full, or a key of another type, refuses the record but not the end of the lease, for which others wait.
	l.fill(ctx, unfilled)
	return errs
}
