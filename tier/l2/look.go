package l2

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Held is what Redis holds of one user, as Look found it. Times are counted by the clock of the
// Redis server, in milliseconds.
type Held struct {
	// Profile is the record; nil when there is none, or none that decodes.
	Profile *profile.Profile `json:"profile,omitempty"`
	// Trust is "sealed" for a record as edgecache wrote it, "hint" for a whole one that another
	// service wrote or changed, "partial" for one of those that lacks something; "" without one.
	Trust string `json:"trust,omitempty"`
	// Broken says why the record does not decode; "" when it does, or there is none.
	Broken string `json:"broken,omitempty"`
	// TTL is how long the record is kept still; -1 for one that is kept for ever.
	TTL int64 `json:"ttlMs,omitempty"`
	// Floor is the highest version that Redis was told of lately: none below it is stored.
	Floor int64 `json:"floor,omitempty"`
	// Absent is for how long the user is known not to exist still.
	Absent int64 `json:"absentMs,omitempty"`
	// Hint is the last hint for which the origin was asked, Said the last that a worker heard of.
	Hint string `json:"hint,omitempty"`
	Said string `json:"said,omitempty"`
	// Guard is how long Floor, Absent, Hint and Said are kept still.
	Guard int64 `json:"guardMs,omitempty"`
	// Lease is the right of a node to load the user; nil when nobody has it.
	Lease *LeaseHeld `json:"lease,omitempty"`
}

// LeaseHeld is a lease that somebody has.
type LeaseHeld struct {
	// Token is the node's, which tells its leases from those of others.
	Token string `json:"token"`
	// Own says that the lease is of the node that looked.
	Own bool `json:"own"`
	// Left is when another node may take it.
	Left int64 `json:"leftMs"`
	// Hint is the one that it was taken after, "" for none.
	Hint string `json:"hint,omitempty"`
}

// looks are the commands of one Look.
type looks struct {
	now               *redis.TimeCmd
	record            *redis.StringSliceCmd
	guard             *redis.MapStringStringCmd
	lease             *redis.StringCmd
	recordTTL, keptTo *redis.DurationCmd
}

// Look reads what Redis holds of a user, and changes nothing: not even a key of another type is
// repaired. It asks a Redis that counts as down as well. Errors wrap profile.ErrInvalidID, or are
// Redis's.
func (r *Redis) Look(ctx context.Context, id string) (Held, error) {
	if err := profile.CheckID(id); err != nil {
		return Held{}, fmt.Errorf("l2: look: %w", err)
	}
	k := keys(id)
	pipe := r.client.Pipeline()
	l := looks{
		now: pipe.Time(ctx), record: hgetall(ctx, id), guard: pipe.HGetAll(ctx, k[1]),
		lease: pipe.Get(ctx, k[2]), recordTTL: pipe.PTTL(ctx, k[0]), keptTo: pipe.PTTL(ctx, k[1]),
	}
	_ = pipe.Process(ctx, l.record)
	var refused redis.Error
	_, err := pipe.Exec(ctx)
	if err == nil || errors.As(err, &refused) { // else nothing was answered
		err = l.now.Err()
	}
	if err != nil {
		return Held{}, fmt.Errorf("l2: look at %q: %w", id, err)
	}
	return l.held(r, id), nil
}

// held reads the replies.
func (l *looks) held(r *Redis, id string) Held {
	var h Held
	h.read(id, l.record)
	if h.Profile != nil || h.Broken != "" {
		h.TTL = millis(l.recordTTL.Val())
	}
	now := l.now.Val().UnixMilli()
	if guard := l.guard.Val(); len(guard) > 0 {
		h.Floor, _ = strconv.ParseInt(guard["floor"], 10, 64)
		h.Absent = left(guard["absent"], now, r.conf.Negative)
		h.Hint, h.Said, h.Guard = guard["hint"], guard["said"], millis(l.keptTo.Val())
	}
	h.Lease = r.leaseOf(l.lease.Val(), now)
	return h
}

// read takes the record.
func (h *Held) read(id string, cmd *redis.StringSliceCmd) {
	worth, err := decodeHash(id, cmd, func(int) *profile.Profile {
		h.Profile = new(profile.Profile)
		return h.Profile
	}, 0)
	switch {
	case wrongType(err):
		h.Broken = "there is a key of another type in its place"
	case err != nil:
		h.Profile, h.Broken = nil, err.Error()
	case h.Profile != nil:
		h.Trust = worth.Trust.String()
	}
}

// millis is a TTL in milliseconds; -1 for none.
func millis(ttl time.Duration) int64 {
	if ttl < 0 {
		return -1
	}
	return ttl.Milliseconds()
}

// left returns how many milliseconds of a time are left, as the scripts count: one that is longer
// than it can have been meant to be has passed.
func left(until string, now int64, most time.Duration) int64 {
	at, _ := strconv.ParseInt(until, 10, 64)
	if ms := at - now; ms > 0 && ms <= most.Milliseconds() {
		return ms
	}
	return 0
}

// leaseStamp is how many digits at the beginning of a lease are its time.
const leaseStamp = 13

func (r *Redis) leaseOf(value string, now int64) *LeaseHeld {
	if len(value) < leaseStamp {
		return nil
	}
	ms := left(value[:leaseStamp], now, r.conf.Lease)
	if ms == 0 {
		return nil
	}
	token, hint, _ := strings.Cut(value[leaseStamp:], ":")
	return &LeaseHeld{Token: token, Own: strings.HasPrefix(token, r.node), Left: ms, Hint: hint}
}
