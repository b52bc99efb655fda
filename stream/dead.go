package stream

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	defaultMaxDead = 10_000
	deadSuffix     = ":dead"
	maxDeadPage    = 1000

	// Of an entry that cannot be put back, being too large for an event in the first place, only
	// the beginning is kept.
	maxDeadFields = 32
	maxDeadValue  = 1 << 10
	maxReason     = 512
)

// Fields of an entry of the dead-letter stream, beside those of the original entry. An original
// field of one of these names gets originalPrefix before it.
const (
	fieldEntry      = "entry"      // id of the original entry
	fieldReason     = "reason"     // why it is here
	fieldDeliveries = "deliveries" // how often it was tried
	fieldCut        = "cut"        // there, if it was too large to be kept whole
	originalPrefix  = "original:"
)

// DeadConfig configures DeadLetters.
type DeadConfig struct {
	// Client reads and writes both streams. Required. It may be shared.
	Client redis.UniversalClient
	// Stream is the key of the stream whose dead letters they are; theirs is the same with ":dead".
	// Default Name.
	Stream string
	// MaxLen is how many dead entries are kept, about. Default 10,000.
	MaxLen int64
}

// DeadLetters is the stream of entries that no Worker could apply. Its methods may be called
// concurrently.
type DeadLetters struct{ cfg DeadConfig }

// DeadLetter is one of them.
type DeadLetter struct {
	// ID is its id in the dead-letter stream, for Replay.
	ID string `json:"id"`
	// Entry is the id that it had in the stream.
	Entry string `json:"entry"`
	// Reason says why it is here.
	Reason string `json:"reason"`
	// Deliveries is how often it was tried.
	Deliveries int64 `json:"deliveries"`
	// Cut is true if it was too large to be kept whole. It cannot be put back.
	Cut bool `json:"cut,omitempty"`
	// At is when it was moved here, by the clock of the Redis server.
	At time.Time `json:"at"`
	// Fields are those of the original entry.
	Fields map[string]string `json:"fields"`
}

// NewDeadLetters returns the dead letters of a stream; it starts nothing and has nothing to close.
func NewDeadLetters(cfg DeadConfig) (*DeadLetters, error) {
	cfg.Stream = cmp.Or(cfg.Stream, Name)
	cfg.MaxLen = cmp.Or(cfg.MaxLen, defaultMaxDead)
	switch {
	case cfg.Client == nil:
		return nil, fmt.Errorf("%w: DeadConfig.Client is nil", errConfig)
	case cfg.MaxLen < 1:
		return nil, fmt.Errorf("%w: DeadConfig.MaxLen is %d; want at least 1", errConfig, cfg.MaxLen)
	}
	return &DeadLetters{cfg}, nil
}

func (d *DeadLetters) key() string { return d.cfg.Stream + deadSuffix }

// List returns at most count dead letters, oldest first, that follow the one of id after; "" begins
// with the oldest. count is at most 1000. Errors wrap ErrMalformed for a bad id, or are the
// client's.
// After "+" come the newest, the newest first.
func (d *DeadLetters) List(ctx context.Context, after string, count int) ([]DeadLetter, error) {
	if after == "+" && count > 0 {
		entries, err := d.cfg.Client.XRevRangeN(ctx, d.key(), "+", "-", int64(min(count, maxDeadPage))).Result()
		if err != nil {
			return nil, fmt.Errorf("stream: list dead letters: %w", err)
		}
		return letters(entries), nil
	}
	from, ok := entryID{}, true
	if after != "" {
		from, ok = parseEntryID(after)
		from = from.next()
	}
	if !ok || count < 1 {
		return nil, fmt.Errorf("stream: list dead letters: %w: %d after %q", ErrMalformed, count, after)
	}
	entries, err := d.cfg.Client.XRangeN(ctx, d.key(), from.String(), "+", int64(min(count, maxDeadPage))).Result()
	if err != nil {
		return nil, fmt.Errorf("stream: list dead letters: %w", err)
	}
	return letters(entries), nil
}

func letters(entries []redis.XMessage) []DeadLetter {
	all := make([]DeadLetter, len(entries))
	for i, e := range entries {
		all[i] = letterOf(e)
	}
	return all
}

// Replay puts the dead letter of id back into the stream, as a new entry, and removes it here. It
// returns the id of the new entry. The event keeps its age, so that it creates nothing that is long
// gone. When the reply is lost in between, it may be in both; events are idempotent. Errors wrap
// ErrNoEntry, ErrTooLarge for one that was cut, ErrMalformed, or are the client's.
func (d *DeadLetters) Replay(ctx context.Context, id string) (string, error) {
	letter, err := d.get(ctx, id)
	if err != nil {
		return "", fmt.Errorf("stream: replay %q: %w", id, err)
	}
	values := []any{fieldReplayOf, letter.Entry}
	for name, value := range letter.Fields {
		if name != fieldReplayOf || letter.Entry == "" {
			values = append(values, name, value)
		}
	}
	added, err := d.cfg.Client.XAdd(ctx, &redis.XAddArgs{Stream: d.cfg.Stream, Values: values}).Result()
	if err != nil {
		return "", fmt.Errorf("stream: replay %q: %w", id, err)
	}
	if err := d.cfg.Client.XDel(ctx, d.key(), id).Err(); err != nil {
		return added, fmt.Errorf("stream: replay %q: added as %q, not removed: %w", id, added, err)
	}
	return added, nil
}

func (d *DeadLetters) get(ctx context.Context, id string) (DeadLetter, error) {
	if _, ok := parseEntryID(id); !ok {
		return DeadLetter{}, fmt.Errorf("%w: no entry id", ErrMalformed)
	}
	entries, err := d.cfg.Client.XRange(ctx, d.key(), id, id).Result()
	if err != nil {
		return DeadLetter{}, err
	}
	if len(entries) == 0 {
		return DeadLetter{}, ErrNoEntry
	}
	letter := letterOf(entries[0])
	if letter.Cut {
		return letter, fmt.Errorf("%w: it was not kept whole", ErrTooLarge)
	}
	return letter, nil
}

// add moves a copy of an entry to the dead letters.
func (d *DeadLetters) add(ctx context.Context, entry redis.XMessage, reason string, deliveries int64) error {
	values := []any{fieldEntry, entry.ID, fieldReason, reason[:min(len(reason), maxReason)], fieldDeliveries, deliveries}
	if of, ok := parseEntryID(text(entry.Values[fieldReplayOf])); ok {
		values[1] = of.String() // it was put back before, and is still as old as it was then
	}
	values = appendFields(values, entry.Values)
	err := d.cfg.Client.XAdd(context.WithoutCancel(ctx), &redis.XAddArgs{Stream: d.key(), MaxLen: d.cfg.MaxLen, Approx: true, Values: values}).Err()
	if err != nil {
		return fmt.Errorf("stream: move %q to the dead letters: %w", entry.ID, err)
	}
	return nil
}

// appendFields appends the original fields, or the beginning of them when they are too large for an
// event.
func appendFields(dst []any, fields map[string]any) []any {
	cut := len(fields) > maxDeadFields
	for _, v := range fields {
		cut = cut || len(text(v)) > maxPayload
	}
	if cut {
		dst = append(dst, fieldCut, 1)
	}
	n := 0
	for name, v := range fields {
		value := text(v)
		if cut {
			name, value = name[:min(len(name), maxDeadValue)], value[:min(len(value), maxDeadValue)]
		}
		if n++; n <= maxDeadFields {
			dst = append(dst, originalName(name), value)
		}
	}
	return dst
}

// originalName returns the name under which an original field is kept.
func originalName(name string) string {
	switch {
	case name == fieldEntry, name == fieldReason, name == fieldDeliveries, name == fieldCut, strings.HasPrefix(name, originalPrefix):
		return originalPrefix + name
	}
	return name
}

func letterOf(e redis.XMessage) DeadLetter {
	id, _ := parseEntryID(e.ID)
	l := DeadLetter{
		ID: e.ID, At: id.time(), Entry: text(e.Values[fieldEntry]), Reason: text(e.Values[fieldReason]),
		Cut: text(e.Values[fieldCut]) != "", Fields: make(map[string]string, len(e.Values)),
	}
	l.Deliveries, _ = strconv.ParseInt(text(e.Values[fieldDeliveries]), 10, 64)
	for name, v := range e.Values {
		if originalName(name) == name {
			l.Fields[name] = text(v)
		} else if original, ok := strings.CutPrefix(name, originalPrefix); ok {
			l.Fields[original] = text(v)
		}
	}
	return l
}
