package l2

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Room gives the memory for the profile of the i-th of the ids asked about, a zero value. It is
// called for those alone that Redis has, at most once for each, and by two goroutines at a time,
// for different ids.
type Room func(i int) *profile.Profile

// overlapFrom is from how many ids on a read goes in two halves, so that one is decoded while Redis
// works on the other. Below that the second trip costs more than it saves.
const overlapFrom = 32

// Standing is what a record in Redis is worth; the zero value for one that is as edgecache wrote
// it, or is not there.
type Standing struct {
	// Trust says who wrote it.
	Trust profile.Trust
	// Seal tells it from what edgecache writes in its place: see Ask.Refused.
	Seal string
}

// Read reads the profiles of ids into the room that the caller makes for them. worth[i] is for the
// record of ids[i], fails[i] is why that
// of ids[i] could not be read, an error of Redis that is the same in all that it struck, or
// decoded, which wraps profile.ErrMalformed or profile.ErrTooLarge; what room(i) gave is of no use
// then.
func (r *Redis) Read(
	ctx context.Context, ids []string, room Room,
) (worth []Standing, fails []error) {
	worth, fails = make([]Standing, len(ids)), make([]error, len(ids))
	if len(ids) < overlapFrom {
		r.readPart(ctx, part{ids, worth, fails, 0}, room)
		return worth, fails
	}
	half := len(ids) / 2
	panicked := make(chan any, 1)
	go func() {
		defer func() { panicked <- recover() }()
		r.readPart(ctx, part{ids[half:], worth[half:], fails[half:], half}, room)
	}()
	r.readPart(ctx, part{ids[:half], worth[:half], fails[:half], 0}, room)
	if why := <-panicked; why != nil {
		panic(why) // where the caller can recover it
	}
	return worth, fails
}

// part is what one pipeline reads: ids, where what they are worth and their failures go, and the
// place of the first.
type part struct {
	ids   []string
	worth []Standing
	fails []error
	first int
}

// readPart reads ids in one pipeline.
func (r *Redis) readPart(ctx context.Context, p part, room Room) {
	if err := r.health.ask(ctx); err != nil {
		for i := range p.fails {
			p.fails[i] = err
		}
		return
	}
	pipe := r.client.Pipeline()
	for _, id := range p.ids {
		_ = pipe.Process(ctx, hgetall(ctx, id))
	}
	began := r.health.begin()
	cmds, err := pipe.Exec(ctx) // every command holds its own error as well
	r.health.note(began, err)
	for i, cmd := range cmds {
		if wrongType(cmd.Err()) {
			p.fails[i] = r.unread(ctx, p.ids[i], cmd.Err())
			continue
		}
		hash, _ := cmd.(*redis.StringSliceCmd)
		p.worth[i], p.fails[i] = decodeHash(p.ids[i], hash, room, p.first+i)
	}
}

// ReadOne is Read for one id, which is the 0-th.
func (r *Redis) ReadOne(ctx context.Context, id string, room Room) (Standing, error) {
	if err := r.health.ask(ctx); err != nil {
		return Standing{}, err
	}
	cmd := hgetall(ctx, id)
	began := r.health.begin()
	err := r.process(ctx, cmd)
	r.health.note(began, err)
	if err != nil {
		return Standing{}, r.unread(ctx, id, err)
	}
	return decodeHash(id, cmd, room, 0)
}

// process sends a command by itself while nobody else reads: a pipeline of one costs two switches
// of goroutine and saves nothing.
func (r *Redis) process(ctx context.Context, cmd redis.Cmder) error {
	defer r.reading.Add(-1)
	if r.reading.Add(1) == 1 {
		return r.client.Process(ctx, cmd)
	}
	return r.auto.Submit(ctx, cmd).WaitContext(ctx)
}

// hgetall is the command whose reply is the flat list of names and values that RESP2 sends:
// go-redis's own HGETALL makes a map of it first, which takes as long as all the rest of the
// decoding.
func hgetall(ctx context.Context, id string) *redis.StringSliceCmd {
	return redis.NewStringSliceCmd(ctx, "hgetall", profile.Key(id))
}

// decodeHash decodes a hash into the room of the i-th profile; one that is not there needs none.
func decodeHash(id string, cmd *redis.StringSliceCmd, room Room, i int) (Standing, error) {
	fields, err := cmd.Result()
	if err != nil {
		return Standing{}, fmt.Errorf("l2: read %q from Redis: %w", id, err)
	}
	if len(fields) == 0 {
		return Standing{}, nil
	}
	record := profile.Record{Profile: room(i)}
	record.Profile.ID = id
	for i := 0; i+1 < len(fields); i += 2 {
		if err := record.Set(fields[i], fields[i+1]); err != nil {
			return Standing{}, fmt.Errorf("l2: decode %q: %w", id, err)
		}
	}
	return judged(&record)
}

// tooEarly is how far a clock of another service may be ahead of this one's.
const tooEarly = time.Minute

// latest is the highest time that a service whose clock is right writes now, in milliseconds since
// 1970.
func latest() int64 { return time.Now().Add(tooEarly).UnixMilli() }

// judged ends the reading of a record, and refuses what another service wrote too large to keep.
func judged(r *profile.Record) (Standing, error) {
	var worth Standing
	if worth.Trust = r.Trust(latest); worth.Trust != profile.Sealed {
		worth.Seal = r.Seal
	}
	if err := r.Profile.Check(); err != nil {
		return Standing{}, fmt.Errorf("l2: decode: %w", err)
	}
	return worth, nil
}
