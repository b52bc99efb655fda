package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Backlog is how far the workers of a group have come.
type Backlog struct {
	// Length is how many entries the stream holds, LastID the id of the last that was ever added.
	Length int64  `json:"length"`
	LastID string `json:"lastId"`
	// Delivered is the id of the last entry that went to a worker.
	Delivered string `json:"delivered"`
	// Pending is how many entries were delivered and are not done, Oldest the id of the first of
	// them, "" for none.
	Pending int64  `json:"pending"`
	Oldest  string `json:"oldest"`
	// Consumers are the workers of the group by name, those that are gone for less than an hour
	// included.
	Consumers map[string]Consumer `json:"consumers"`
	// Dead is how many entries the dead-letter stream holds.
	Dead int64 `json:"dead"`
}

// Consumer is one worker of a group.
type Consumer struct {
	// Pending is how many entries it was given and has not done.
	Pending int64 `json:"pending"`
	// Idle is how long ago it last asked for entries.
	Idle profile.Millis `json:"idleMs"`
}

// Inspect returns the backlog of a group of a stream; "" stands for "events:users" and
// "edgecache:worker". It changes nothing and needs no Worker. Errors wrap ErrNoEntry when there is
// no such stream or group, or are the client's.
func Inspect(ctx context.Context, client redis.UniversalClient, stream, group string) (Backlog, error) {
	stream = cmp.Or(stream, Name)
	group = cmp.Or(group, defaultGroup)
	info, err := stateOf(client.Do(ctx, "XINFO", "STREAM", stream))
	if err != nil {
		return Backlog{}, fmt.Errorf("stream: inspect %q: %w", stream, err)
	}
	b := Backlog{Length: info.length, LastID: info.last.String()}
	if err := errors.Join(b.group(ctx, client, stream, group), b.pending(ctx, client, stream, group)); err != nil {
		return Backlog{}, fmt.Errorf("stream: inspect group %q of %q: %w", group, stream, err)
	}
	if b.Dead, err = client.XLen(ctx, stream+deadSuffix).Result(); err != nil {
		return Backlog{}, fmt.Errorf("stream: inspect %q: %w", stream+deadSuffix, err)
	}
	return b, nil
}

// LastID returns the highest id that a stream ever gave, "0-0" when there is no stream; "" stands
// for "events:users". Errors are the client's.
func LastID(ctx context.Context, client redis.UniversalClient, stream string) (string, error) {
	stream = cmp.Or(stream, Name)
	info, err := stateOf(client.Do(ctx, "XINFO", "STREAM", stream))
	if err != nil {
		return "", fmt.Errorf("stream: last id of %q: %w", stream, err)
	}
	return info.last.String(), nil
}

func (b *Backlog) group(ctx context.Context, client redis.UniversalClient, stream, group string) error {
	groups, err := client.XInfoGroups(ctx, stream).Result()
	if err != nil && !isReply(err) {
		return err
	}
	for _, g := range groups {
		if g.Name == group {
			b.Delivered = g.LastDeliveredID
			return nil
		}
	}
	return ErrNoEntry
}

func (b *Backlog) pending(ctx context.Context, client redis.UniversalClient, stream, group string) error {
	p, err := client.XPending(ctx, stream, group).Result()
	if err != nil {
		return err
	}
	b.Pending, b.Oldest = p.Count, p.Lower
	consumers, err := client.XInfoConsumers(ctx, stream, group).Result()
	if err != nil {
		return err
	}
	b.Consumers = make(map[string]Consumer, len(consumers))
	for _, c := range consumers {
		b.Consumers[c.Name] = Consumer{Pending: c.Pending, Idle: profile.Millis(c.Idle)}
	}
	return nil
}
